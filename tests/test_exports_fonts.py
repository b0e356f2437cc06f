"""Fonts of notices: one that has every character, or an error that names what is lacking."""

from pathlib import Path

import pytest

from rsd.errors import StorageError, UsageError
from rsd.exports import fonts

pytest.importorskip("fontTools")


def made(path: Path, characters: str, family: str = "Made", folder: str = "") -> Path:
    """A font with square glyphs for some characters."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 500), (500, 500), (500, 0)):
        pen.lineTo(point)
    pen.closePath()
    glyph = pen.glyph()
    names = [".notdef", *(f"u{ord(c):04X}" for c in characters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(c): f"u{ord(c):04X}" for c in characters})
    builder.setupGlyf(dict.fromkeys(names, glyph))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def none_installed(monkeypatch):
    monkeypatch.setattr(fonts, "installed", lambda: iter(()))


def test_a_font_with_every_character_is_taken(tmp_path):
    path = made(tmp_path / "a.ttf", "abc通", family="Some Family")
    assert fonts.choose({"a", "通", "\n", " "}, path) == fonts.Font("Some Family", path)


def test_the_first_that_has_all_is_taken(tmp_path, monkeypatch):
    paths = [made(tmp_path / "a.ttf", "a"), made(tmp_path / "b.ttf", "a通", "B"),
             made(tmp_path / "c.ttf", "a通知", "C")]
    monkeypatch.setattr(fonts, "installed", lambda: iter(paths))
    assert fonts.choose({"a", "通"}).family == "B"
    assert fonts.choose({"a", "知"}).family == "C"
    with pytest.raises(UsageError, match=r"b\.ttf.*U\+9F98"):
        fonts.choose({"a", "通", "龘"})


def test_without_a_font_it_fails_and_says_what_to_do(none_installed):
    with pytest.raises(UsageError) as caught:
        fonts.choose(set("abc通知书"))
    text = str(caught.value)
    assert "U+901A" in text
    assert "fonts-noto-cjk" in text
    assert "--font" in text
    assert "notice_font" in text
    assert caught.value.exit_code == 2


def test_western_texts_need_no_file(none_installed):
    assert fonts.choose(set("Notice, m/s² – “x” é°C")) == fonts.Font(fonts.EMBEDDED, None)
    for character in "Ω通€\u0100":  # sure to be in it is only what is listed
        with pytest.raises(UsageError):
            fonts.choose({character})


def test_a_wanted_font_is_never_replaced_in_silence(tmp_path):
    path = made(tmp_path / "a.ttf", "abc")
    with pytest.raises(UsageError, match=r"a\.ttf.*U\+0064 LATIN SMALL LETTER D"):
        fonts.choose(set("abcd"), path)


def test_many_lacking_characters_are_counted(tmp_path):
    with pytest.raises(UsageError, match="and 18 more"):
        fonts.choose(set("abcdefghijklmnopqrstuvwxyz"), made(tmp_path / "a.ttf", "1"))


def test_of_a_collection_the_simplified_chinese_is_taken(tmp_path):
    from fontTools.ttLib import TTCollection, TTFont

    parts = [made(tmp_path / "j.ttf", "a", "Noto Sans CJK JP"),
             made(tmp_path / "s.ttf", "a通", "Noto Sans CJK SC")]
    collection = TTCollection()
    collection.fonts = [TTFont(part) for part in parts]
    collection.save(tmp_path / "all.ttc")
    assert fonts.choose({"通"}, tmp_path / "all.ttc").family == "Noto Sans CJK SC"


def test_what_is_no_font_is_said(tmp_path):
    (tmp_path / "x.ttf").write_bytes(b"no font at all")
    (tmp_path / "x.ttc").write_bytes(b"no font at all")
    for name in ("x.ttf", "x.ttc"):
        with pytest.raises(UsageError, match="no font that can be read"):
            fonts.choose({"a"}, tmp_path / name)
    with pytest.raises(StorageError, match="no such file"):
        fonts.choose({"a"}, tmp_path / "missing.ttf")


def test_the_package_of_the_registry_has_the_characters_of_notices():
    paths = list(fonts.installed())
    if not paths:
        pytest.skip("no font with Chinese characters is installed here")
    assert set("机动车排气污染物超标通知书闽D°²：（）·…") <= fonts.covered(paths[0])

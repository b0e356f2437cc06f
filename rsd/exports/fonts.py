"""A font for notices that has every character of their text, or an error that says what to do.

A character that a font lacks would be printed as an empty box: on a notice that is not to happen.
So the characters are compared with the font's own table before anything is written, and no other
font is ever taken in silence.
"""

from __future__ import annotations

import importlib.util
import unicodedata
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from rsd.errors import StorageError, UsageError

T = TypeVar("T")

EMBEDDED = "Libertinus Serif"
"""A family that typst brings along (OFL), for texts that need nothing beyond western Europe."""

_PACKAGE, _PACKAGE_FILE = "pylopdf_fonts_zh_cn", "NotoSansSC-Regular.otf"
"""Noto Sans SC (OFL) as a package of the registry; only the file is read, nothing is imported."""

_SYSTEM = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",  # Debian fonts-noto-cjk
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",  # Fedora
    "/usr/share/fonts/google-noto-sans-cjk-fonts/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",  # Arch
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",  # Debian fonts-wqy-microhei
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",  # Debian fonts-wqy-zenhei
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",  # Debian fonts-droid-fallback
    "/usr/share/fonts/truetype/arphic/uming.ttc",  # Debian fonts-arphic-uming
    "/System/Library/Fonts/STHeiti Light.ttc",  # macOS
)
_REMEDY = ("Install one (apt-get install fonts-noto-cjk, or pip install 'rsd-engine[notices]'), or "
           "name a font file with --font FILE or the lake's setting notice_font.")
_SHOWN = 8  # characters that an error names


@dataclass(frozen=True)
class Font:
    """What typst is to set in: a family, and the file that it is in (None: typst's own)."""

    family: str
    path: Path | None


def choose(characters: Set[str], wanted: Path | None = None) -> Font:
    """Return a font that has all characters: the wanted one, else the first that is found.

    Raises:
        UsageError: the wanted font lacks some, or none that is found has all; no font is in the
            file.
        StorageError: the wanted file cannot be read.
    """
    needed = {c for c in characters if not c.isspace()}
    if wanted is not None:
        if missing := needed - covered(wanted):
            raise _lacking(missing, str(wanted))
        return Font(family_of(wanted), wanted)
    if all(_is_western(c) for c in needed):
        return Font(EMBEDDED, None)
    least, nearest = needed, "no font with Chinese characters"
    for path in installed():
        missing = needed - covered(path)
        if not missing:
            return Font(family_of(path), path)
        if len(missing) < len(least):
            least, nearest = missing, str(path)
    raise _lacking(least, nearest)


def _lacking(missing: set[str], where: str) -> UsageError:
    named = [f"U+{ord(c):04X} {unicodedata.name(c, 'unnamed')}" for c in sorted(missing)[:_SHOWN]]
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return UsageError("no font has every character of the notices; none was written", where=where,
                      found="no glyph for " + ", ".join(named) + more, remedy=_REMEDY)


def _is_western(character: str) -> bool:
    """Say whether typst's own font is sure to have a character."""
    return " " <= character <= "~" or "\xa1" <= character <= "\xff" or character in "–—‘’“”•…"


def installed() -> Iterator[Path]:
    """Yield the fonts with Chinese characters that are found here, best first."""
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / _PACKAGE_FILE).is_file():
            yield path
    yield from (path for path in map(Path, _SYSTEM) if path.is_file())


@cache
def covered(path: Path) -> frozenset[str]:
    """Return the characters that the font in a file has."""
    return _read(path, lambda font: frozenset(map(chr, font.getBestCmap() or {})))


@cache
def family_of(path: Path) -> str:
    """Return the name of the family that the font in a file belongs to."""
    return _read(path, lambda font: str(font["name"].getBestFamilyName()))


def _read(path: Path, ask: Callable[..., T]) -> T:
    """Ask the font in a file; of a collection the one for simplified Chinese, else the first."""
    from fontTools.ttLib import TTCollection, TTFont, TTLibError

    try:
        with path.open("rb") as stream:
            if path.suffix.lower() not in (".ttc", ".otc"):
                return ask(TTFont(stream, lazy=True))
            fonts = list(TTCollection(stream, lazy=True))
            simplified = [f for f in fonts if str(f["name"].getBestFamilyName()).endswith(" SC")]
            return ask((simplified or fonts)[0])
    except OSError as error:
        raise StorageError("the font cannot be read", where=str(path),
                           found=(error.strerror or str(error)).lower(),
                           remedy="Check the file's name and rights.") from error
    except (TTLibError, KeyError, ValueError, AssertionError) as error:
        raise UsageError("this is no font that can be read", where=str(path),
                         found=str(error).partition("\n")[0],
                         expected="an OpenType or TrueType file (.otf, .ttf, .ttc)") from error

"""Arbitrary texts in outputs: nothing runs, nothing escapes, and everything comes back."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Iterator

import polars as pl

from fuzz.draw import Draw
from rsd.exports.safety import (
    csv_blocks,
    csv_safe,
    json_blocks,
    printable,
    printable_frame,
    text_of_bytes,
)

STARTS = tuple("=+-@＝＋－＠\t\r\n")
TEXTS = ('=HYPERLINK("http://a.example";"x")', "+1", "-2+3", "@SUM(A1)", "＝1", "\t=1", "\rx",
         " =1", "\ufeff=1", "\u202e=1", "\x00=1", "'=1", "''+1", "\x1b[31mred\x1b[0m",
         "\x1b]0;title\x07x", "\x1b]8;;http://a\x1b\\link", "\x1bPq#0\x1b\\x", "\x9b2Jx",
         "a\r\nINFO", "\u2066\u200b", "<script>", "闽D12345", 'a,"b"', "\u2028", "\\", "\U000e0041")
WORDS = tuple(t.encode() for t in (*TEXTS[:20], "\x1b", "\x9b", "\x07", "\x1b\\", "'", "=",
                                   "\u200b"))


def seeds() -> Iterator[bytes]:
    """Formulas, escape sequences and invisible marks."""
    yield b"\n".join(t.encode() for t in TEXTS)
    for text in TEXTS:
        yield text.encode()
    yield bytes(range(256))


def check(data: bytes) -> None:
    """The texts of the bytes through CSV, JSON, console and quarantine."""
    texts = Draw(data).text().split("\x1f")[:20]
    frame = pl.DataFrame({"t": texts, "n": list(range(len(texts)))},
                         schema={"t": pl.String, "n": pl.Int64})
    check_csv(frame, texts)
    check_json(frame, data)
    for text, shown in zip(texts, printable_frame(frame)["t"].to_list(), strict=True):
        check_console(printable(text))
        check_console(shown)
        assert shown == printable(text)
        assert printable(shown) == shown
    check_bytes(data)


def check_csv(frame: pl.DataFrame, texts: list[str]) -> None:
    """Each text is there once, starts no formula, and comes back by one rule."""
    written = b"".join(csv_blocks(frame)).decode()
    rows = list(csv.reader(io.StringIO(written, newline="")))[1:]
    assert [row[1] for row in rows] == [str(n) for n in range(len(texts))]
    guarded = csv_safe(pl.DataFrame({"t": [row[0] for row in rows]}, schema={"t": pl.String}))["t"]
    for (found, _), again, text in zip(rows, guarded.to_list(), texts, strict=True):
        assert not found.startswith(STARTS)
        visible = "".join(c for c in found if unicodedata.category(c) not in {"Cc", "Cf", "Zs"})
        assert not visible.startswith(STARTS)
        assert found in (text, f"'{text}")
        assert (found[1:] if found and again != found else found) == text


def check_json(frame: pl.DataFrame, data: bytes) -> None:
    """JSON says exactly the texts."""
    written = b"".join(json_blocks(frame.with_columns(raw=pl.lit(data, pl.Binary))))
    rows = json.loads(written)
    assert [row["t"] for row in rows] == frame["t"].to_list()
    assert all(row["raw"] == text_of_bytes(data) for row in rows)


def check_console(text: str) -> None:
    """One line, without controls, sequences or invisible marks."""
    assert "\n" not in text
    assert not [c for c in text if unicodedata.category(c) in {"Cc", "Cs"}]
    assert not [c for c in text if unicodedata.bidirectional(c) in
                {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}]


def check_bytes(data: bytes) -> None:
    """Bytes of a quarantined record show no control but tab and line ends."""
    shown = text_of_bytes(data)
    assert not [c for c in shown if ord(c) < 32 and c not in "\t\n\r"]
    try:
        assert all(c in shown for c in data.decode() if c.isprintable())
    except UnicodeDecodeError:
        assert "\\x" in shown

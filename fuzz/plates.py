"""Plates of arbitrary texts: what normalising, judging, masking and hashing must never do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from collections.abc import Iterator

import polars as pl

from fuzz.draw import Draw
from rsd.privacy import (
    VehicleKey,
    is_military_plate_expr,
    mask_plate,
    mask_plate_expr,
    normalise_plate_expr,
    plate_status_expr,
    vehicle_ids,
)

KEY = VehicleKey(bytes(range(32)))
COLOURS = (None, "blue", "yellow", "green", "unknown", "")
PLATES = ("闽D12345", "闽Ｄ１２３４５", " 闽d·12345 ", "闽D1234挂", "粤BD12345", "粤B12345D",
          "WJ闽12345",
          "军A12345", "使123456", "123456使", "VA12345", "无牌", "00000", "A", "", "*******",
          "闽D\u200b12345", "闽D\u202e12345\u202c", "\u3000闽D12345\ufeff", "é", "e\u0301",
          "İ", "ß",
          "\U00020000D12345", "闽D12345\n", "\x1f闽D12345", "ﬀ", "①23456", "闽D\u061c12345")
UNSEEN = ("\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2069"
          "\ufeff")
WORDS = tuple(p.encode() for p in (*PLATES[:16], "·", "•", "\u200b", "\u202e", "\u3000", "\ufeff",
                                   "\u061c", "\u180e", "挂", "\0", "ａ", "ı"))


def seeds() -> Iterator[bytes]:
    """Plates of every kind, and texts that are none."""
    for k, plate in enumerate(PLATES):
        yield bytes([k]) + plate.encode()
    yield b"\0" + "\n".join(PLATES).encode()


def check(data: bytes) -> None:
    """Normalise, judge, mask and hash the lines of a text."""
    draw = Draw(data)
    colour = draw.pick(COLOURS)
    raw = draw.text().split("\n")[:20]
    frame = pl.DataFrame({"raw": raw}, schema={"raw": pl.String}).with_columns(
        plate=normalise_plate_expr("raw")).with_columns(
        again=normalise_plate_expr("plate"), status=plate_status_expr("plate"),
        military=is_military_plate_expr("plate"), masked=mask_plate_expr("plate"),
        masked_raw=mask_plate_expr("raw"))
    for row in frame.iter_rows(named=True):
        check_normal(row["raw"], row["plate"])
        assert row["again"] == row["plate"]
        assert row["masked"] == mask_plate(row["plate"])
        check_mask(row["plate"], row["masked"])
        check_mask(row["raw"], row["masked_raw"])
        assert not row["military"] or row["status"] == "recognised"
        if row["status"] == "recognised":
            assert row["plate"] is not None
            assert 7 <= len(row["plate"]) <= 8
            assert all("0" <= c <= "9" or "A" <= c <= "Z" or "一" <= c <= "龥"
                       for c in row["plate"])
    check_ids(frame["plate"].to_list(), colour)


def check_normal(raw: str, plate: str | None) -> None:
    """Blanks, dots and unseen marks go, width and case are folded; nothing else is touched."""
    # rarer format characters (U+061C …) may stay or go; tests/test_fuzz_targets.py says why
    found = "".join(c for c in plate or "" if unicodedata.category(c) != "Cf")
    assert found == "".join(map(_folded, raw))
    assert not set(plate or "") & set(UNSEEN)
    assert plate is None or plate


def _folded(char: str) -> str:
    if unicodedata.category(char) in {"Zs", "Zl", "Zp", "Cf"} or char in "\t\n\x0b\x0c\r\x85":
        return ""
    if "DOT" in (name := unicodedata.name(char, "")) and char in "·‧∙⋅・･":
        return ""
    if name == "BULLET":
        return ""
    narrow = unicodedata.normalize("NFKC", char) if "！" <= char <= "～" else char
    return narrow.upper() if narrow.isascii() else narrow


def check_mask(plate: str | None, masked: str | None) -> None:
    """A mask shows at most three of at least six characters, and never the plate."""
    if plate is None:
        assert masked is None
        return
    assert masked is not None
    assert len(masked) == len(plate)
    shown = {0, 1, len(plate) - 1} if len(plate) >= 6 else set()
    assert all(m == (p if k in shown else "*")
               for k, (p, m) in enumerate(zip(plate, masked, strict=True)))
    hidden = [c for k, c in enumerate(plate) if k not in shown]
    if any(c != "*" for c in hidden):
        assert plate not in masked


def check_ids(plates: list[str | None], colour: str | None) -> None:
    """Pseudonyms are HMAC-SHA-256 of the standard library, one a vehicle, null without a plate."""
    frame = pl.DataFrame({"plate": plates, "plate_color": [colour] * len(plates)},
                         schema={"plate": pl.String, "plate_color": pl.String})
    found = vehicle_ids(KEY, frame).to_list()
    for plate, name in zip(plates, found, strict=True):
        if plate is None:
            assert name is None
            continue
        message = "\x1f".join(("lake", plate, "unknown" if colour is None else colour)).encode()
        digest = hmac.digest(KEY.secret, message, hashlib.sha256)[:16]
        text = base64.b32encode(digest).decode().rstrip("=")
        assert name == f"v1.{KEY.key_id}.{text}"
        assert plate not in name or len(plate) < 6
    assert len(set(found)) == len(set(plates))

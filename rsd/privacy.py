"""Plates behind one door: the key, the pseudonyms, the mask, and what counts as a plate.

A pseudonym is ``v1.<key id>.<base32 of 16 bytes>`` of HMAC-SHA-256 (RFC 2104) over purpose, plate
and plate colour: the same characters on a blue and a yellow plate are two vehicles. Another
purpose gives another pseudonym, so that a research export cannot be joined with the lake.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

try:
    from _sha2 import sha256 as _sha256  # type: ignore[import-not-found] # Python 3.12 and later
except ImportError:
    try:
        from _sha256 import sha256 as _sha256  # type: ignore[import-not-found]
    except ImportError:
        from hashlib import sha256 as _sha256

from rsd.errors import IntegrityError, PolicyRefusal, StorageError, UsageError
from rsd.storage import disk

KEY_SIZE = 32  # bytes, the block that SHA-256 gives: a longer key adds nothing (RFC 2104, 3)
PURPOSE = "lake"

_ID_SIZE = 16  # bytes of the HMAC that an id keeps: 128 bit
_SEPARATOR = "\x1f"  # stands in no plate after normalisation
_ALPHABET = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", np.uint8)  # RFC 4648, base32
_BLOCK = 64  # bytes, the block that SHA-256 reads (FIPS 180-4)


@dataclass(frozen=True)
class VehicleKey:
    """The secret that pseudonyms are made with; its text form never shows it."""

    secret: bytes = field(repr=False)

    @property
    def key_id(self) -> str:
        """Eight characters that say which key made an id, and nothing about the key itself."""
        return str(_in_base32([hashlib.sha256(b"rsd key id" + self.secret).digest()], 5)[0])

    @classmethod
    def create(cls, path: Path) -> VehicleKey:
        """Make a new random key in a file that only its owner may read.

        UsageError if the file exists: another key would make every vehicle a new one.
        """
        key = cls(secrets.token_bytes(KEY_SIZE))
        with disk.guard(path, "the vehicle key cannot be written"):
            disk.ensure_folder(path.parent, 0o700)
            try:
                disk.publish(path, key.secret, 0o600)
            except FileExistsError:
                raise UsageError("a vehicle key exists already", where=str(path),
                                 remedy="Keep it: with another every vehicle is a new one.",
                                 ) from None
        return key

    @classmethod
    def load(cls, path: Path) -> VehicleKey:
        """Read the key.

        Raises StorageError when it is missing or may not be read (mend the disk or the rights);
        PolicyRefusal when others may read it: nothing failed, rsd declines, as it must, to make
        pseudonyms that others can undo; IntegrityError when it is no key of ours.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise StorageError("no vehicle key", where=str(path),
                               remedy="Restore it, or set RSD_KEY_FILE to where it is.") from None
        except OSError as error:
            raise disk.storage_error(error.errno, path, "the vehicle key cannot be read") from error
        try:
            _refuse_exposed(os.fstat(descriptor), path)
            with disk.guard(path, "the vehicle key cannot be read"):
                secret = disk.read_up_to(descriptor, KEY_SIZE + 1)
        finally:
            os.close(descriptor)
        if len(secret) != KEY_SIZE:
            size = "more" if len(secret) > KEY_SIZE else str(len(secret))
            raise IntegrityError("no vehicle key", where=str(path), found=f"{size} bytes",
                                 expected=f"{KEY_SIZE} bytes", remedy="Restore it from a backup.")
        return cls(secret)


def _refuse_exposed(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UsageError("no vehicle key", where=str(path), found="no regular file")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise PolicyRefusal("others may read the vehicle key", where=str(path),
                            found=f"mode {mode:04o}", expected="0600",
                            remedy=f"Run: chmod 600 {path}")


# --- plates as texts ----------------------------------------------------------------------------

_FULL_WIDTH = {chr(c): chr(c - 0xFEE0).upper() for c in range(0xFF01, 0xFF5F)}
_LOWER = {chr(c): chr(c).upper() for c in range(ord("a"), ord("z") + 1)}
_BLANK = [chr(c) for c in (*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B),
                           0x2028, 0x2029, 0x202F, 0x205F, 0x3000)]
_DOTS = list("·•‧∙⋅・･")
_UNSEEN = [chr(c) for c in (
    0xAD, 0x061C, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070),
    0xFEFF, *range(0xFFF9, 0xFFFC), *range(0xE0001, 0xE0080))]  # zero width, direction marks, tags
_WITHOUT_UNSEEN = dict.fromkeys(map(ord, _UNSEEN))
_REPLACED = _FULL_WIDTH | _LOWER | dict.fromkeys([*_BLANK, *_DOTS, *_UNSEEN], "")

_PROVINCE = "[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼]"
_LETTER, _SERIAL = "[A-HJ-NP-Z]", "[A-HJ-NP-Z0-9]"  # no I, no O
_CIVIL = (
    f"{_PROVINCE}{_LETTER}{_SERIAL}{{5}}",
    f"{_PROVINCE}{_LETTER}{_SERIAL}{{4}}[挂学警港澳领]",
    f"{_PROVINCE}{_LETTER}[A-HJK]{_SERIAL}[0-9]{{4}}",  # small new-energy vehicle
    f"{_PROVINCE}{_LETTER}[0-9]{{5}}[A-HJK]",  # large new-energy vehicle
    "[0-9]{6}使",
    "使[0-9]{6}",
)
_MILITARY = (f"WJ{_PROVINCE}?{_SERIAL}{{5}}", f"[军空海北沈兰济南广成]{_LETTER}{_SERIAL}{{5}}",
             f"[BCGHJKLNSV]{_LETTER}[0-9]{{5}}")
_CIVIL_PLATE, _MILITARY_PLATE = (f"^(?:{'|'.join(forms)})$" for forms in (_CIVIL, _MILITARY))
_HYPHENS = "\\-‐‑‒–—－.．"
_GAPS = r"\s\x00-\x1f\x7f-\x9f\ufffd" + "".join([*_DOTS, *_UNSEEN])
_GAP, _BREAK = f"[{_GAPS}]{{0,4}}", f"[{_GAPS}{_HYPHENS}]{{0,4}}"  # a break: before the serial
_ANY_LETTER, _ANY_SERIAL = "[A-Za-zＡ-Ｚａ-ｚ]", "[A-Za-z0-9Ａ-Ｚａ-ｚ０-９]"
_ARMS = "[军空海北沈兰济南广成]"
# A plate of China is one wherever it stands: a lost comma glues it to its neighbours, and a person
# writes a hyphen into it. Those of Latin letters and digits alone are none to be told from numbers
# of sites. One text for two engines of regular expressions, Python's and Polars'.
_CHINESE_INSIDE = re.compile("|".join((
    f"{_PROVINCE[:-1]}使]{_GAP}{_ANY_LETTER}{_BREAK}{_ANY_SERIAL}(?:{_GAP}{_ANY_SERIAL}){{3,5}}",
    f"[WwＷｗ]{_GAP}[JjＪｊ]{_GAP}{_PROVINCE}{_BREAK}{_ANY_SERIAL}(?:{_GAP}{_ANY_SERIAL}){{4}}",
    f"{_ARMS}{_GAP}{_ANY_LETTER}{_BREAK}{_ANY_SERIAL}(?:{_GAP}{_ANY_SERIAL}){{4}}",
    f"使(?:{_GAP}[0-9０-９]){{6}}",
    f"(?:[0-9０-９]{_GAP}){{6}}使",
)))
_SHORTEST_MASKED = 6  # shorter texts show nothing: three of five characters would be too many


def normalise_plate_expr(plate: str | pl.Expr) -> pl.Expr:
    """Return plates without blanks, middle dots and unseen marks, half-width, upper-case.

    Nothing is corrected: an O stays an O. What is blank becomes null.
    """
    text = _expr(plate).str.replace_many(list(_REPLACED), list(_REPLACED.values()))
    return pl.when(text != "").then(text)


def plate_status_expr(plate: str | pl.Expr) -> pl.Expr:
    """Return ``recognised`` for a normalised plate of a Chinese format, else ``unreadable``.

    A null, "无牌", "未识别", "00000" and foreign plates have none of the formats. Source: public
    platform code (civil formats); the military ones are from memory, unverified.
    """
    text = _expr(plate)
    is_plate = text.str.contains(_CIVIL_PLATE) | text.str.contains(_MILITARY_PLATE)
    return pl.when(is_plate).then(pl.lit("recognised")).otherwise(pl.lit("unreadable"))


def plain_plate_expr(text: str | pl.Expr) -> pl.Expr:
    """Return whether texts are civil Chinese plates as they stand: no normalisation changes them.
    """
    return _expr(text).str.contains(_CIVIL_PLATE)


def is_military_plate_expr(plate: str | pl.Expr) -> pl.Expr:
    """Say which normalised plates are military or armed police: exempt from export.

    Formats from memory, unverified.
    """
    return _expr(plate).str.contains(_MILITARY_PLATE).fill_null(value=False)


def mask_plate(plate: str | None) -> str | None:
    """Return a plate of which the first two characters and the last stay.

    Each hidden character is one asterisk. A text below six characters is hidden whole.

    >>> mask_plate("闽D12345")
    '闽D****5'
    """
    if plate is None or len(plate) < _SHORTEST_MASKED:
        return plate if plate is None else "*" * len(plate)
    return f"{plate[:2]}{'*' * (len(plate) - 3)}{plate[-1]}"


def mask_plate_expr(plate: str | pl.Expr) -> pl.Expr:
    """Return plates masked as `mask_plate` does."""
    text = _expr(plate)
    length = text.str.len_chars().cast(pl.Int64)
    middle = _stars(text.str.slice(2, pl.max_horizontal(length - 3, pl.lit(0))))
    masked = pl.concat_str(text.str.head(2), middle, text.str.tail(1))
    return pl.when(length < _SHORTEST_MASKED).then(_stars(text)).otherwise(masked)


def mask_chinese_plates(text: str) -> str:
    """Return a text of ours, such as a file's name, without any plate of China.

    >>> mask_chinese_plates("dump01_闽D12345.csv")
    'dump01_闽D****5.csv'
    """
    return _CHINESE_INSIDE.sub(lambda plate: mask_plate(plate.group()) or "", text)


def seen(text: str) -> str:
    """Return a text without marks that nobody sees: zero width, direction, tags."""
    return text.translate(_WITHOUT_UNSEEN)


def holds_chinese_plate(texts: pl.Series) -> pl.Series | None:
    """Say which texts have a plate of China inside; None, at no cost, where all are ASCII."""
    if texts.str.len_bytes().sum() == texts.str.len_chars().sum():
        return None
    return texts.str.contains(_CHINESE_INSIDE.pattern).fill_null(value=False)


def chinese_plates_in(texts: pl.Series) -> pl.Series:
    """Return, a text, the list of what could be plates of China in it, as it is spelt."""
    return texts.str.extract_all(_CHINESE_INSIDE.pattern)


def _stars(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all("(?s).", "*")


def _expr(column: str | pl.Expr) -> pl.Expr:
    return pl.col(column) if isinstance(column, str) else column


# --- pseudonyms ---------------------------------------------------------------------------------


def vehicle_ids(key: VehicleKey, plates: pl.DataFrame, purpose: str = PURPOSE) -> pl.Series:
    """Return the pseudonym of each row of ``plates``, null where the plate is null.

    ``plates`` has ``plate`` (normalised) and ``plate_color``; a null colour is ``unknown``. Only
    distinct values are hashed. The series, named ``vehicle_id``, has the order of the rows.
    """
    keys = plates.select("plate", pl.col("plate_color").cast(pl.String).fill_null("unknown"))
    distinct = keys.drop_nulls("plate").unique()
    named = distinct.with_columns(hash_vehicles(key, distinct, purpose))
    joined = keys.join(named, on=["plate", "plate_color"], how="left", maintain_order="left")
    return joined["vehicle_id"]


def hash_vehicles(key: VehicleKey, vehicles: pl.DataFrame, purpose: str = PURPOSE) -> pl.Series:
    """Return the pseudonym of each row, hashing every one: for rows that are distinct already.

    ``plate`` and ``plate_color`` may not be null. Else as `vehicle_ids`.
    """
    parts = [pl.lit(purpose), pl.col("plate"), pl.col("plate_color")]
    message = pl.concat_str(parts, separator=_SEPARATOR).cast(pl.Binary)
    digests = _hmac_sha256(key.secret, vehicles.select(message).to_series().to_list())
    return _in_base32(digests, _ID_SIZE, f"v1.{key.key_id}.").alias("vehicle_id")


def _hmac_sha256(secret: bytes, messages: Sequence[bytes]) -> list[bytes]:
    # RFC 2104 with the two key blocks hashed once, and the interpreter's own SHA-256: for two
    # blocks a message OpenSSL's overhead weighs more than its speed (1.1 us against 0.75;
    # 1.8 us for hmac.digest, which starts from the key each time).
    block = secret.ljust(_BLOCK, b"\0")
    inner = _sha256(bytes(b ^ 0x36 for b in block)).copy
    outer = _sha256(bytes(b ^ 0x5C for b in block)).copy

    digests = []
    for message in messages:  # in line: a call for each would cost a sixth more
        first = inner()
        first.update(message)
        second = outer()
        second.update(first.digest())
        digests.append(second.digest())
    return digests


def _in_base32(values: Sequence[bytes], size: int, prefix: str = "") -> pl.Series:
    """Return the first bytes of each value in base32 without padding, behind a prefix.

    >>> _in_base32([b"hello world"], 5, "v1.").to_list()
    ['v1.NBSWY3DP']
    """
    if not values:
        return pl.Series([], dtype=pl.String)
    characters = -(-8 * size // 5)
    octets = np.frombuffer(b"".join(values), np.uint8).reshape(len(values), -1)[:, :size]
    padded = np.pad(octets.astype(np.uint16), ((0, 0), (0, 1)))
    at = np.arange(characters) * 5
    window = padded[:, at // 8] << 8 | padded[:, at // 8 + 1]  # the 16 bits around each 5
    text = np.empty((len(values), len(prefix) + characters), np.uint8)
    text[:, :len(prefix)] = np.frombuffer(prefix.encode(), np.uint8)
    text[:, len(prefix):] = _ALPHABET[window >> (11 - at % 8) & 31]
    return pl.Series(text).cast(pl.List(pl.UInt8)).cast(pl.Binary).cast(pl.String)

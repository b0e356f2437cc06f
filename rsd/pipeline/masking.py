"""Raw records shown to people who may not see a plate."""

from __future__ import annotations

import re

from rsd.privacy import mask_plate

_GAP = r"[\s·\x00-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff\ufffd]{0,4}"
# A plate of China is one wherever it stands: a lost comma glues it to its neighbours.
_CHINESE = re.compile("[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使]"
                      f"{_GAP}[A-Za-zＡ-Ｚａ-ｚ](?:{_GAP}[A-Za-z0-9Ａ-Ｚａ-ｚ０-９]){{4,6}}")
_RUN = re.compile(r"(?<![^\W_])[^\W_]{1,4}[ ·\-][^\W_]{2,6}(?![^\W_])|"
                  r"(?<![^\W_])[^\W_]{5,10}(?![^\W_])")
_HARMLESS = re.compile(r"[A-D]\d{9}|\d{2}T\d{2}|\d{1,2}-\d{2}T\d{2}")


def mask_plates_in_text(text: str) -> str:
    """Return a raw record with everything masked that could be a plate.

    A damaged record's columns cannot be trusted, so the place of a text says nothing: whatever
    mixes letters with digits and has a plate's length is masked, inside file names too. Site codes
    and times stay.

    >>> mask_plates_in_text("A350203001,闽D12345,AB12 CDE,K33,tp_闽D12345.jpg,36.5")
    'A350203001,闽D****5,AB*****E,K33,tp_闽D****5.jpg,36.5'
    """
    return _RUN.sub(_masked, mask_chinese_plates(text))


def mask_chinese_plates(text: str) -> str:
    """Return a text of ours, such as a file's name, without any plate of China.

    >>> mask_chinese_plates("dump01_闽D12345.csv")
    'dump01_闽D****5.csv'
    """
    return _CHINESE.sub(lambda plate: mask_plate(plate.group()) or "", text)


def _masked(match: re.Match[str]) -> str:
    run = match.group()
    mixed = any(c.isdigit() for c in run) and any(c.isalpha() for c in run)
    if not mixed or _HARMLESS.fullmatch(run):
        return run
    return mask_plate(run) or ""

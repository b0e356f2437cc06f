"""Raw records shown to people who may not see a plate."""

from __future__ import annotations

import re

from rsd.privacy import mask_chinese_plates, mask_plate

__all__ = ["mask_chinese_plates", "mask_plates_in_text"]

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


def _masked(match: re.Match[str]) -> str:
    run = match.group()
    mixed = any(c.isdigit() for c in run) and any(c.isalpha() for c in run)
    if not mixed or _HARMLESS.fullmatch(run):
        return run
    return mask_plate(run) or ""

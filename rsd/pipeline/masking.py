"""Raw records shown to people who may not see a plate."""

from __future__ import annotations

import re

from rsd.privacy import mask_chinese_plates, mask_plate, seen

__all__ = ["mask_chinese_plates", "mask_plates_in_text"]

_RUN = re.compile(r"(?<![^\W_])[^\W_]{1,4}[ ·•‧∙⋅・･\-‐‑–－]{1,2}[^\W_]{2,6}(?![^\W_])|"
                  r"(?<![^\W_])[^\W_]{5,10}(?![^\W_])")
_WORD = re.compile(r"[^\W_]+")
_HARMLESS = re.compile(r"[A-D]\d{9}|\d{2}T\d{2}|\d{1,2}-\d{2}T\d{2}")


def mask_plates_in_text(text: str) -> str:
    """Return a raw record with everything masked that could be a plate.

    A damaged record's columns cannot be trusted, so the place of a text says nothing: whatever
    mixes letters with digits and has a plate's length is masked, inside file names too. Site codes
    and times stay.

    >>> mask_plates_in_text("A350203001,闽D12345,AB12 CDE,K33,tp_闽D12345.jpg,36.5")
    'A350203001,闽D****5,AB*****E,K33,tp_闽D****5.jpg,36.5'
    """
    text = mask_chinese_plates(seen(text))
    shown, begin = list[str](), 0
    while match := _RUN.search(text, begin):
        masked = _masked(match.group())
        # of a harmless run the second word may begin another one: "car AB 1234"
        end = match.end() if masked != match.group() else _end_of_word(text, match.start())
        shown.append(text[begin:match.start()] + (
            masked if end == match.end() else text[match.start():end]))
        begin = end
    return "".join([*shown, text[begin:]])


def _end_of_word(text: str, begin: int) -> int:
    word = _WORD.match(text, begin)
    return word.end() if word else begin + 1


def _masked(run: str) -> str:
    mixed = any(c.isdigit() for c in run) and any(c.isalpha() for c in run)
    if not mixed or _HARMLESS.fullmatch(run):
        return run
    return mask_plate(run) or ""

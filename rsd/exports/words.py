"""What lists and notices say in the reader's language.

English headings are the columns' own names, which programs rely on. Chinese ones, and the words of
values, stand in ``zh.toml``; what is not there stays as it is.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from rsd.errors import UsageError
from rsd.exports.evidence import PLACES
from rsd.reasons import REASONS

LANGUAGES = ("en", "zh")
_TEXTS = (pl.String, pl.Categorical, pl.Enum)
_FOLDER = Path(__file__).parent
_REASONS = {reason.code: reason.meaning for reason in REASONS}


@dataclass(frozen=True)
class Words:
    """The words of one language: ``headings``, ``values`` by column, ``texts`` by key."""

    language: str
    headings: Mapping[str, str]
    values: Mapping[str, Mapping[str, str]]
    texts: Mapping[str, str]

    def heading(self, name: str) -> str:
        """Return the heading of a column; ``first_`` and ``second_`` are put before it in words."""
        if name in self.headings:
            return self.headings[name]
        for place in PLACES:
            rest = name.removeprefix(f"{place}_")
            if rest != name and rest in self.headings:
                return self.headings[place] + self.headings[rest]
        return name

    def text(self, key: str, **facts: object) -> str:
        """Return a sentence with facts put into its braces; KeyError for an unknown key."""
        return self.texts[key].format(**facts)

    def value(self, column: str, value: str) -> str:
        """Return the word for a value of a column, the value itself where there is none."""
        return self.values.get(column, {}).get(value, value)

    def missing(self, code: str) -> str:
        """Return in words what `rsd.exports.evidence` names as missing."""
        place, _, what = code.partition(".")
        return self.value("place", place) + self.texts["colon"] + self.value("missing", what)

    def translated(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return ``frame`` with values, reasons and what is missing in words; names stay."""
        ready = [pl.col(name).cast(pl.String).replace(dict(known))
                 for name, known in self.values.items()
                 if name in frame.columns and isinstance(frame.schema[name], _TEXTS)]
        if "reasons" in frame.columns:
            known = dict(self.values["reasons"])
            ready.append(pl.col("reasons").list.eval(pl.element().replace(known)))
        if "evidence_missing" in frame.columns:
            codes = frame["evidence_missing"].explode(empty_as_null=False).drop_nulls().unique()
            known = {code: self.missing(code) for code in codes}
            ready.append(pl.col("evidence_missing").list.eval(pl.element().replace(known)))
        return frame.with_columns(*ready)


@cache
def words(language: str) -> Words:
    """Return the words of a language of `LANGUAGES`; UsageError for another."""
    if language not in LANGUAGES:
        raise UsageError("no such language", found=repr(language), expected=", ".join(LANGUAGES))
    english = _read("en")
    own = english if language == "en" else _read(language)
    values: dict[str, Any] = {"reasons": _REASONS, **own.get("values", {})}
    return Words(language, own.get("headings", {}), values, english["texts"] | own["texts"])


def _read(language: str) -> dict[str, Any]:
    return tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8"))

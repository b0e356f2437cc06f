"""Code tables: what a vendor writes → our names."""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_CODES = Path(__file__).parent / "codes.toml"

CodeValue = str | int | bool | None


@dataclass(frozen=True)
class CodeTable:
    """What a vendor writes → our names; a trailing ``*`` in a key matches by prefix."""

    name: str
    source: str
    values: Mapping[str, CodeValue]
    unknown: frozenset[str]
    default: CodeValue

    def decode(self, text: str | None) -> tuple[CodeValue, bool]:
        """Return our value of a code and whether the table knows it; blank is known and null."""
        key = "" if text is None else fold(text)
        if key not in self.values and key.endswith(".0"):  # a spreadsheet's way to write a code
            key = key[:-2]
        if not key:
            return ("unknown" if self.default == "unknown" else None), True
        if key in self.values:
            return self.values[key], True
        if key in self.unknown:
            return ("unknown" if isinstance(self.default, str) else None), True
        for length in range(len(key), 0, -1):
            if (hit := self.values.get(f"{key[:length]}*")) is not None:
                return hit, True
        return self.default, False


def fold(name: str) -> str:
    """Return a column name or code as it is compared: no case, no width, no outer space.

    >>> fold(" ＣＯ2JG ")
    'co2jg'
    """
    return unicodedata.normalize("NFKC", name).strip().casefold()


@cache
def code_tables() -> Mapping[str, CodeTable]:
    """Return all code tables by name."""
    raw = tomllib.loads(_CODES.read_text(encoding="utf-8"))
    return {
        name: CodeTable(
            name,
            table["source"],
            {fold(k): v for k, v in table["values"].items()},
            frozenset(fold(k) for k in table["unknown"]),
            table["default"] or None,
        )
        for name, table in raw.items()
    }

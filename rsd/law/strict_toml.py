"""A TOML file read strictly: every fault is said with file, key, what was found and expected."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from rsd.errors import UsageError

_LARGEST = 1e300
"""Beyond it a number of a file is a slip, and a whole one would overflow a double."""


class StrictTable:
    """A TOML table that is asked for its keys and, in the end, for those nobody asked for."""

    def __init__(self, content: dict[str, Any], file: str, name: str) -> None:
        self.content, self.file, self.name = content, file, name
        self.asked: set[str] = set()

    def error(self, key: str, what: str, expected: str, remedy: str = "") -> UsageError:
        """Return (not raise) the error that speaks of a key."""
        where = f"{self.file}, key {f'{self.name}.{key}' if self.name else key}"
        found = repr(self.content[key]) if key in self.content else None
        return UsageError(what, where=where, found=found, expected=expected,
                          remedy=remedy or "Mend the value in the file.")

    def get(self, key: str, kind: type | tuple[type, ...], expected: str) -> Any:
        """Return a required key's value of a given type."""
        self.asked.add(key)
        if key not in self.content:
            raise self.error(key, "the key is missing", expected, "Add it to the file.")
        value = self.content[key]
        # a TOML boolean is a Python int, a TOML date-time a Python date: neither will do
        alien = isinstance(value, bool | datetime) and kind is not bool
        if alien or not isinstance(value, kind):
            raise self.error(key, "the value has the wrong type", expected)
        return value

    def text(self, key: str, one_of: Iterable[str] | None = None) -> str:
        """Return a text that is not blank, one of the choices where there are any."""
        choices = None if one_of is None else tuple(one_of)
        expected = "a text" if choices is None else f"one of {', '.join(choices)}"
        value: str = self.get(key, str, expected)
        if (choices is not None and value not in choices) or not value.strip():
            raise self.error(key, "the value is not allowed", expected)
        return value

    def flag(self, key: str) -> bool:
        """Return true or false."""
        return bool(self.get(key, bool, "true or false"))

    def number(self, key: str) -> float:
        """Return a finite number that is not negative."""
        value = self.get(key, (int, float), "a number that is not negative")
        if not 0 <= value <= _LARGEST:
            raise self.error(key, "the number is not allowed", "a number that is not negative")
        return float(value)

    def whole(self, key: str) -> int:
        """Return a whole number that is not negative."""
        value = int(self.get(key, int, "a whole number that is not negative"))
        if value < 0:
            raise self.error(key, "the number is not allowed", "a number that is not negative")
        return value

    def day(self, key: str) -> date:
        """Return a date without time."""
        value: date = self.get(key, date, "a date as 2017-07-27, without quotes")
        return value

    def texts(self, key: str, one_of: Iterable[str] | None = None) -> tuple[str, ...]:
        """Return a list of texts; () where the key is absent. An empty list is refused."""
        self.asked.add(key)
        if key not in self.content:
            return ()
        values = self.get(key, list, "a list of texts")
        choices = None if one_of is None else tuple(one_of)
        bad = [v for v in values if not isinstance(v, str) or (choices and v not in choices)]
        if bad or not values:
            allowed = f"texts out of {', '.join(choices)}" if choices else "a list of texts"
            raise self.error(key, "the list is not allowed", allowed)
        return tuple(values)

    def table(self, key: str) -> StrictTable:
        """Return a required table."""
        content = self.get(key, dict, f"a table [{key}]")
        return StrictTable(content, self.file, f"{self.name}.{key}" if self.name else key)

    def tables(self, key: str) -> list[StrictTable]:
        """Return a list of tables; [] where the key is absent."""
        self.asked.add(key)
        name = f"{self.name}.{key}" if self.name else key
        items = self.get(key, list, f"tables [[{name}]]") if key in self.content else []
        if not all(isinstance(item, dict) for item in items):
            raise self.error(key, "the value has the wrong type", f"tables [[{name}]]")
        return [StrictTable(item, self.file, f"{name}[{k}]") for k, item in enumerate(items, 1)]

    def refuse_unknown(self) -> None:
        """Raise for a key that nobody asked for."""
        for key in sorted(set(self.content) - self.asked):
            raise self.error(key, "the key is unknown", f"one of {', '.join(sorted(self.asked))}",
                             "Remove it, or correct its spelling.")

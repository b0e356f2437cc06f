"""A TOML file read strictly: every fault is said with file, line, key, what was found and expected.

The parser of the standard library keeps no positions, so the lines of keys and table headers are
looked up in the text by the path that names them, as ``period[2].limit[1].value``.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from rsd.errors import StorageError, UsageError

_LARGEST = 1e300
"""Beyond it a number of a file is a slip, and a whole one would overflow a double."""


_HEADER = re.compile(r"\s*(\[\[?)\s*([\w.\- ]+?)\s*\]")
_KEY = re.compile(r"\s*([\w-]+)\s*=")
_MULTILINE = re.compile(r"\"\"\"|'''")


def read_table(path: Path) -> tuple[StrictTable, bytes]:
    """Return a file's root table and the file's bytes.

    Raises `StorageError` for a file that cannot be read, `UsageError` for one that is no TOML.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read the file: {error.strerror}", where=str(path),
                           remedy="Check that the file exists and may be read.") from error
    try:
        text = data.decode("utf-8-sig")
        content = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"this is no TOML in UTF-8 ({error})", where=str(path),
                         remedy="Mend the line; the built-in files are examples.") from error
    return StrictTable(content, str(path), "", lines_of(text)), data


def lines_of(text: str) -> dict[str, int]:
    """Map the path of each key and table header of a TOML text to its line, from 1.

    Keys of inline tables and of values over several lines are not there.

    >>> lines_of("a = 1\\n[[b]]\\nc = 2\\n[[b.d]]\\ne = 3")
    {'a': 1, 'b[1]': 2, 'b[1].c': 3, 'b[1].d[1]': 4, 'b[1].d[1].e': 5}
    """
    found: dict[str, int] = {}
    counts: Counter[str] = Counter()
    table, within_text = "", False
    for number, line in enumerate(text.splitlines(), 1):
        if not within_text:
            header, key = _HEADER.match(line), _KEY.match(line)
            if header:
                table = _resolved(header[2], header[1] == "[[", counts)
                found.setdefault(table, number)
            elif key:
                found.setdefault(f"{table}.{key[1]}" if table else key[1], number)
        within_text ^= len(_MULTILINE.findall(line)) % 2 == 1
    return found


def _resolved(name: str, is_array: bool, counts: Counter[str]) -> str:
    """Name a header's table with the numbers of the array items that it stands in."""
    parts = [part.strip() for part in name.split(".")]
    path = ""
    for k, part in enumerate(parts):
        path = f"{path}.{part}" if path else part
        if is_array and k == len(parts) - 1:
            counts[path] += 1
        if counts[path]:
            path = f"{path}[{counts[path]}]"
    return path


class StrictTable:
    """A TOML table that is asked for its keys and, in the end, for those nobody asked for."""

    def __init__(self, content: dict[str, Any], file: str, name: str,
                 lines: Mapping[str, int] | None = None) -> None:
        self.content, self.file, self.name = content, file, name
        self.lines = {} if lines is None else lines
        self.asked: set[str] = set()

    def path(self, key: str) -> str:
        """Return the path of a key from the root; of the table itself for an empty key."""
        return ".".join(part for part in (self.name, key) if part)

    def where(self, key: str) -> str:
        """Say file, line and path of a key; its table's line where its own is unknown."""
        path = above = self.path(key)
        while above and not {above, f"{above}[1]"} & self.lines.keys():
            above = above.rpartition(".")[0]
        line = self.lines.get(above, self.lines.get(f"{above}[1]"))
        return f"{self.file}{f', line {line}' if line else ''}, key {path}"

    def error(self, key: str, what: str, expected: str, remedy: str = "") -> UsageError:
        """Return (not raise) the error that speaks of a key."""
        found = repr(self.content[key]) if key in self.content else None
        return UsageError(what, where=self.where(key), found=found, expected=expected,
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

    def wholes(self, key: str, one_of: Iterable[int]) -> tuple[int, ...]:
        """Return a list of whole numbers out of some; () where the key is absent."""
        self.asked.add(key)
        if key not in self.content:
            return ()
        choices = tuple(one_of)
        expected = f"whole numbers out of {', '.join(map(str, choices))}"
        values = self.get(key, list, expected)
        bad = [v for v in values if type(v) is not int or v not in choices]
        if bad or not values:
            raise self.error(key, "the list is not allowed", expected)
        return tuple(values)

    def table(self, key: str) -> StrictTable:
        """Return a required table."""
        content = self.get(key, dict, f"a table [{key}]")
        return StrictTable(content, self.file, self.path(key), self.lines)

    def tables(self, key: str) -> list[StrictTable]:
        """Return a list of tables; [] where the key is absent."""
        self.asked.add(key)
        name = self.path(key)
        items = self.get(key, list, f"tables [[{name}]]") if key in self.content else []
        if not all(isinstance(item, dict) for item in items):
            raise self.error(key, "the value has the wrong type", f"tables [[{name}]]")
        return [StrictTable(item, self.file, f"{name}[{k}]", self.lines)
                for k, item in enumerate(items, 1)]

    def refuse_unknown(self) -> None:
        """Raise for a key that nobody asked for."""
        for key in sorted(set(self.content) - self.asked):
            raise self.error(key, "the key is unknown", f"one of {', '.join(sorted(self.asked))}",
                             "Remove it, or correct its spelling.")

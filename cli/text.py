"""Text on a terminal: how wide it is, and where it breaks. Chinese characters count as two."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Iterator, Sequence

TEXT_WIDTH = 100
"""Columns that running text takes at most."""


def terminal_width() -> int:
    """Return the columns of the terminal: ``COLUMNS``, else what the system says, else 80."""
    return shutil.get_terminal_size((80, 24)).columns


def width_of(text: str) -> int:
    """Return the columns that ``text`` takes on a terminal (Unicode annex 11).

    >>> width_of("ab"), width_of("环")
    (2, 2)
    """
    if text.isascii():
        return len(text)
    return sum(_columns(c) for c in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def wrap(text: str, width: int) -> list[str]:
    """Break ``text`` into lines of at most ``width`` columns, at blanks where that is possible.

    >>> wrap("not more than that", 9)
    ['not more', 'than that']
    >>> wrap("abcdef g", 4)
    ['abcd', 'ef g']
    """
    lines, line = [], ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if width_of(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        *full, line = _pieces(word, width)
        lines += full
    return [*lines, line]


def _pieces(word: str, width: int) -> Iterator[str]:
    """Yield ``word`` in pieces of at most ``width`` columns, each of a character at least."""
    piece, used = "", 0
    for character in word:
        wide = _columns(character)
        if piece and used + wide > width:
            yield piece
            piece, used = "", 0
        piece, used = piece + character, used + wide
    yield piece


def wrap_paragraphs(lines: Sequence[str], width: int = TEXT_WIDTH) -> list[str]:
    """Wrap each line; what it goes on in is indented two columns more than the line.

    >>> wrap_paragraphs(["  - one two three"], 11)
    ['  - one two', '    three']
    """
    done = []
    for line in lines:
        body = line.lstrip(" ")
        indent = " " * (len(line) - len(body))
        first, *rest = wrap(body, width - len(indent))
        going_on = wrap(" ".join(rest), width - len(indent) - 2) if rest else []
        done += [indent + first, *(f"{indent}  {more}" for more in going_on)]
    return done

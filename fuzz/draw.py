"""Choices and texts out of the bytes that a fuzzer makes up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """Take choices from the front of some bytes, one byte each; the rest is the text.

    >>> draw = Draw(bytes([1]) + b"abc")
    >>> draw.pick("xyz"), draw.rest()
    ('y', b'abc')
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def below(self, limit: int) -> int:
        """Return a number from 0 to `limit` - 1; 0 where the bytes are used up."""
        byte = self._data[self._at] if self._at < len(self._data) else 0
        self._at += 1
        return byte % limit

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[self.below(len(options))]

    def number(self, size: int) -> int:
        """Return the signed number that the next `size` bytes make."""
        piece = self._data[self._at:self._at + size]
        self._at += size
        return int.from_bytes(piece, "little", signed=True)

    def rest(self) -> bytes:
        """Return the bytes that are left."""
        rest = self._data[self._at:]
        self._at = len(self._data)
        return rest

    def text(self) -> str:
        """Return the bytes that are left as text; what is no UTF-8 becomes U+FFFD."""
        return self.rest().decode("utf-8", "replace")

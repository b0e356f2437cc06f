"""Where a 64-bit hash was met first: open addressing over arrays, many hashes at a time.

A join would build a table of everything known for each chunk; this one only grows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]

_FIRST_SLOTS = 1 << 16


class HashIndex:
    """Hash → position, the n-th inserted hash has position n - 1.

    >>> index = HashIndex()
    >>> index.insert(np.array([7, 9], np.uint64))
    >>> index.lookup(np.array([9, 8, 7], np.uint64)).tolist()
    [1, -1, 0]
    """

    def __init__(self) -> None:
        self._room = np.empty(0, np.uint64)
        self._keys = self._room  # the part of it that is filled
        self._slots = np.zeros(_FIRST_SLOTS, np.int32)  # position + 1, 0 is free

    def __len__(self) -> int:
        return self._keys.size

    def lookup(self, hashes: Hashes) -> Positions:
        """Return the position of each hash, -1 where it was never inserted."""
        found = np.full(hashes.size, -1, np.int64)
        asked = np.arange(hashes.size)
        slots = self._first_slots(hashes)
        while asked.size:
            positions = self._slots[slots].astype(np.int64) - 1
            taken = positions >= 0
            hit = taken.copy()
            hit[taken] = self._keys[positions[taken]] == hashes[asked[taken]]
            found[asked[hit]] = positions[hit]
            onward = taken & ~hit
            asked, slots = asked[onward], self._next(slots[onward])
        return found

    def insert(self, hashes: Hashes) -> None:
        """Insert hashes that differ from each other and from all that are known."""
        first = self._keys.size
        self._extend(hashes)
        if 2 * self._keys.size > self._slots.size:
            size = self._slots.size
            while size < 4 * self._keys.size:
                size *= 2
            self._slots, first = np.zeros(size, np.int32), 0
        self._place(np.arange(first, self._keys.size))

    def _extend(self, hashes: Hashes) -> None:
        first, size = self._keys.size, self._keys.size + hashes.size
        if size > self._room.size:
            self._room = np.empty(2 * size, np.uint64)
            self._room[:first] = self._keys
        self._keys = self._room[:size]
        self._keys[first:] = hashes

    def _place(self, positions: Positions) -> None:
        slots = self._first_slots(self._keys[positions])
        while positions.size:
            free = self._slots[slots] == 0
            self._slots[slots[free]] = positions[free] + 1  # of two for one slot the last stays
            homeless = self._slots[slots] != positions + 1
            positions, slots = positions[homeless], self._next(slots[homeless])

    def _first_slots(self, hashes: Hashes) -> Positions:
        return (hashes & np.uint64(self._slots.size - 1)).astype(np.int64)

    def _next(self, slots: Positions) -> Positions:
        return (slots + 1) & (self._slots.size - 1)

"""What a disk still has after a power loss, from the journal that the shim wrote.

The model is POSIX's: bytes of a file are sure once the file was fsynced, a name once its folder
was; of all else any part may be there. `Disk` plays the journal up to a step; `Disk.after_loss`
is one of the many disks that a loss at that step may leave.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

VARIANTS = ("killed", "content lost", "content zeroed", "names lost", "any")
"""``killed``: all arrived, as after kill -9. Content: names arrived, bytes without fsync did not,
or arrived as zeros. ``names lost``: neither did. ``any``: a choice by seed, for each by itself."""


@dataclass(frozen=True)
class Step:
    """One call that changed the disk."""

    op: str
    inode: int
    offset: int
    data: bytes
    path: str
    other: str


@dataclass
class _File:
    content: bytearray
    sure: bytes | None
    """What an fsync kept; None: nothing ever."""


@dataclass
class _Change:
    """A change of names in one folder: name → file, None: gone."""

    names: dict[str, int | None]


@dataclass
class Disk:
    """Names and files, those that are sure and those that are not yet."""

    root: Path
    files: dict[int, _File] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    sure_names: dict[str, int] = field(default_factory=dict)
    pending: dict[str, list[_Change]] = field(default_factory=dict)
    _of_inode: dict[int, int] = field(default_factory=dict)
    _next: int = 1

    @classmethod
    def of(cls, root: Path) -> Disk:
        """Take a folder as it stands: all of it is sure. Folders are files without content."""
        disk = cls(root)
        for path in [root, *sorted(root.rglob("*"))]:
            name = disk._relative(path)
            data = b"" if path.is_dir() else path.read_bytes()
            number = disk._new(path.lstat().st_ino, data, is_folder=path.is_dir())
            disk.files[number].sure = data
            disk.names[name] = disk.sure_names[name] = number
        return disk

    folders: set[int] = field(default_factory=set)

    def _new(self, inode: int, data: bytes = b"", *, is_folder: bool = False) -> int:
        number, self._next = self._next, self._next + 1
        self.files[number] = _File(bytearray(data), None)
        self._of_inode[inode] = number
        if is_folder:
            self.folders.add(number)
        return number

    def _relative(self, path: Path | str) -> str:
        return str(Path(path).relative_to(self.root))

    def _change(self, names: dict[str, int | None]) -> None:
        for name, number in names.items():
            if number is None:
                self.names.pop(name, None)
            else:
                self.names[name] = number
        parts: dict[str, dict[str, int | None]] = {}
        for name, number in names.items():
            parts.setdefault(str(Path(name).parent), {})[name] = number
        for folder, part in parts.items():
            self.pending.setdefault(folder, []).append(_Change(part))

    def do(self, step: Step) -> None:
        """Play one step."""
        path = self._relative(step.path)
        if step.op in ("open", "opentrunc"):
            if path not in self.names:
                self._change({path: self._new(step.inode)})
            elif step.op == "opentrunc":
                self.files[self.names[path]].content.clear()
        elif step.op == "mkdir":
            number = self._new(-self._next, is_folder=True)
            self._change({path: number})
        elif step.op == "write":
            content = self.files[self._of_inode[step.inode]].content
            content.extend(b"\0" * (step.offset - len(content)))
            content[step.offset:step.offset + len(step.data)] = step.data
        elif step.op == "truncate":
            content = self.files[self._of_inode[step.inode]].content
            del content[step.offset:]
            content.extend(b"\0" * (step.offset - len(content)))
        elif step.op == "sync":
            self._sync(step.inode, path)
        elif step.op == "unlink":
            self._change({path: None})
        elif step.op == "link":
            self._change({self._relative(step.other): self.names[path]})
        elif step.op == "rename":
            self._rename(path, self._relative(step.other))
        else:
            raise ValueError(step.op)

    def _sync(self, inode: int, path: str) -> None:
        if path in self.names and self.names[path] in self.folders:
            for change in self.pending.pop(path, []):
                _apply(self.sure_names, change)
        elif inode in self._of_inode:
            file = self.files[self._of_inode[inode]]
            file.sure = bytes(file.content)

    def _rename(self, old: str, new: str) -> None:
        moved = {old: None, new: self.names[old]}
        below = {n: k for n, k in self.names.items() if n.startswith(old + "/")}
        self._change(moved)
        for name, number in below.items():
            del self.names[name]
            self.names[new + name[len(old):]] = number

    def now(self) -> dict[str, bytes | None]:
        """Return path → content (None: a folder) as a process sees it."""
        return self._tree(self.names, {k: bytes(f.content) for k, f in self.files.items()})

    def after_loss(self, variant: str, seed: int = 0) -> dict[str, bytes | None]:
        """Return path → content as one kind of power loss leaves it."""
        if variant == "killed":
            return self.now()
        choice = random.Random(seed)
        names = dict(self.sure_names)
        for _, changes in sorted(self.pending.items()):
            for change in changes:
                if variant.startswith("content") or (variant == "any" and choice.random() < 0.5):
                    _apply(names, change)
        content = {k: self._left(f, variant, choice) for k, f in self.files.items()}
        return self._tree(names, content)

    @staticmethod
    def _left(file: _File, variant: str, choice: random.Random) -> bytes:
        now, sure = bytes(file.content), file.sure
        if sure == now:
            return now
        kind = choice.choice(("lost", "zeroed", "half", "all")) if variant == "any" else variant
        if kind.endswith("zeroed"):
            return b"\0" * len(now)
        if kind == "half":
            return now[: len(now) // 2]
        return now if kind == "all" else sure or b""

    def _tree(self, names: dict[str, int], content: dict[int, bytes]) -> dict[str, bytes | None]:
        tree: dict[str, bytes | None] = {}
        for name in sorted(names):  # a folder comes before what is in it
            parent = str(Path(name).parent)
            if name != "." and parent not in tree:
                continue  # its folder is gone, and it with it
            tree[name] = None if names[name] in self.folders else content[names[name]]
        return tree


def _apply(names: dict[str, int], change: _Change) -> None:
    for name, number in change.names.items():
        if number is None:
            names.pop(name, None)
        else:
            names[name] = number


def read_journal(path: Path) -> Iterator[Step]:
    """Yield the steps of a journal."""
    data, at = path.read_bytes(), 0
    while at < len(data):
        end = data.index(b"\n", at)
        op, inode, offset, length, names = data[at:end].decode().split(" ", 4)
        source, _, other = names.partition("\t")
        body = data[end + 1:end + 1 + int(length)]
        yield Step(op, int(inode), int(offset), body, source.removesuffix(" (deleted)"), other)
        at = end + 1 + int(length)


def write_tree(tree: dict[str, bytes | None], place: Path) -> None:
    """Make a folder of a tree; the key keeps the mode without which rsd refuses it."""
    if place.exists():
        shutil.rmtree(place)
    for name, content in tree.items():
        path = place / name
        if content is None:
            path.mkdir(mode=0o700 if path.name == "restricted" else 0o755)
        else:
            path.write_bytes(content)
            if path.name.endswith(".key") or ".key." in path.name:
                path.chmod(0o600)

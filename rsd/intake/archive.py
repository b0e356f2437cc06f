"""Zip archives: which members are dumps, under which safe names, and each one's bytes.

Nothing is ever written under a member's name; names are judged all the same, for they are shown,
stored with each quarantined record, and a name that climbs out of its folder means harm. One level:
what is itself packed is refused. The central directory alone says what there is.
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from io import BufferedReader
from typing import cast

from rsd.errors import InputRefused
from rsd.intake.packings import GZIP, MAX_UNPACKED_BYTES, Broken, Limited, Readable, Unpacked

MAX_MEMBERS = 10_000
"""Members of one archive, folders included."""
_MAX_DIRECTORY_BYTES = 16 << 20
_ENCRYPTED = 0x1 | 0x40
_UTF8_NAME = 0x800
_METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflate"}
_LOCAL = struct.Struct("<4s2xHH16x4x")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Member:
    """A member as the central directory describes it."""

    name: str
    stored_name: bytes
    offset: int
    packed: int
    unpacked: int
    crc: int
    method: int


@dataclass(frozen=True)
class Entry:
    """A member that is a dump, or why it cannot be one."""

    name: str
    member: Member | None
    refusal: str = ""


@dataclass(frozen=True)
class Listing:
    """What an archive holds: its entries in their order, and what was passed over."""

    entries: list[Entry]
    skipped: list[str]
    names: frozenset[str]


class _Guarded:
    """A file that gives no huge piece at once: the directory of an archive is read as a whole."""

    def __init__(self, raw: BufferedReader, where: str) -> None:
        self._raw, self._where = raw, where
        self.seek, self.tell, self.seekable = raw.seek, raw.tell, raw.seekable

    def read(self, size: int = -1) -> bytes:
        if size > _MAX_DIRECTORY_BYTES:
            raise _too_many(self._where, f"a directory of {size} bytes")
        return self._raw.read(size)


def _too_many(where: str, found: str) -> InputRefused:
    return InputRefused("an archive of too many members", where=where, found=found,
                        expected=f"at most {MAX_MEMBERS} members",
                        remedy="Unpack it by hand and ingest the folder.")


def listing(raw: BufferedReader, size: int, where: str) -> Listing:
    """List a zip archive.

    Args:
        raw: the open archive.
        size: its bytes on disk.
        where: its name, for errors.

    Raises:
        InputRefused: no readable directory, too many members, or more than a limit in all.
    """
    try:
        guarded = cast(BufferedReader, _Guarded(raw, where))
        with zipfile.ZipFile(guarded) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, struct.error,
            EOFError, OverflowError) as error:
        raise InputRefused("the zip archive is broken", where=where, found=str(error),
                           expected="a whole archive",
                           remedy="Ask the sender for the file again.") from error
    if len(infos) > MAX_MEMBERS:
        raise _too_many(where, str(len(infos)))
    if (total := sum(i.file_size for i in infos)) > MAX_UNPACKED_BYTES:
        raise InputRefused("the archive unpacks beyond the limit", where=where,
                           found=f"{total} bytes declared",
                           expected=f"at most {MAX_UNPACKED_BYTES >> 30} GiB",
                           remedy="If it is genuine, unpack it by hand and ingest the folder.")
    if sum(i.compress_size for i in infos) > size:
        raise InputRefused("the members of the archive overlap", where=where,
                           found="members larger together than the archive",
                           remedy="This archive was made to do harm; do not unpack it.")
    return _sorted_out(infos, where)


def _sorted_out(infos: list[zipfile.ZipInfo], where: str) -> Listing:
    named = [(_name(info), info) for info in infos]
    times = Counter(_normal(name) for name, _ in named)
    entries: list[Entry] = []
    skipped: list[str] = []
    for name, info in named:
        why = _unsafe(name) or _no_file(info)
        if not why and (_is_folder(info) or _is_hidden(name)):
            skipped.append(name)
        else:
            if not why and times[_normal(name)] > 1:
                why = "two members have this name"
            entries.append(_entry(name, info, why or _unreadable(info), where))
    return Listing(entries, skipped, frozenset(times))


def _entry(name: str, info: zipfile.ZipInfo, why: str, where: str) -> Entry:
    shown = _CONTROL.sub("\ufffd", name)
    if why:
        error = InputRefused("a member of the archive is refused", where=f"{where}/{shown}",
                             found=why, remedy="The other members were read; ask for this one as a "
                             "plain file.")
        return Entry(shown, None, str(error))
    member = Member(_normal(name), _stored_name(info), info.header_offset, info.compress_size,
                    info.file_size, info.CRC, info.compress_type)
    return Entry(member.name, member)


def _stored_name(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8_NAME else "cp437")


def _name(info: zipfile.ZipInfo) -> str:
    """Return a name as its writer meant it: Chinese systems write GBK where UTF-8 is not flagged.
    """
    for encoding in ("utf-8", "gb18030"):
        try:
            return _stored_name(info).decode(encoding)
        except UnicodeDecodeError:
            continue
    return info.orig_filename


def _normal(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _is_folder(info: zipfile.ZipInfo) -> bool:
    return info.orig_filename.endswith("/") or stat.S_ISDIR(info.external_attr >> 16)


def _is_hidden(name: str) -> bool:
    parts = _normal(name).split("/")
    return parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts)


def _unsafe(name: str) -> str:
    if _CONTROL.search(name):
        return "a name with control characters"
    if name.startswith("/"):
        return "an absolute name"
    if "\\" in name:
        return "a name with a backslash"
    if re.match(r"[A-Za-z]:", name):
        return "a name with a drive letter"
    if ".." in name.split("/"):
        return "a name that leaves its folder (..)"
    return "" if _normal(name) else "no name"


def _no_file(info: zipfile.ZipInfo) -> str:
    mode = stat.S_IFMT(info.external_attr >> 16)
    if mode == stat.S_IFLNK:
        return "a symbolic link"
    return "" if mode in (0, stat.S_IFREG, stat.S_IFDIR) else "a device, socket or pipe"


def _unreadable(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & _ENCRYPTED:
        return "an encrypted member"
    if info.compress_type not in _METHODS:
        kind = zipfile.compressor_names.get(info.compress_type, "unknown")  # type: ignore[attr-defined]
        return f"packed by method {info.compress_type} ({kind}), where deflate is read"
    return "" if info.file_size else "an empty member (0 bytes)"


class _Slice:
    """A part of a file."""

    def __init__(self, raw: BufferedReader, start: int, length: int) -> None:
        self._raw, self._left = raw, length
        raw.seek(start)

    def read(self, size: int, /) -> bytes:
        data = self._raw.read(min(size, self._left))
        self._left -= len(data)
        return data


class _Checked:
    """A member's bytes, whose number and checksum must be the declared ones."""

    def __init__(self, stream: Readable, member: Member) -> None:
        self._stream, self._member, self._given, self._crc = stream, member, 0, 0

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self._given += len(data)
        self._crc = zlib.crc32(data, self._crc)
        declared = self._member.unpacked
        if self._given > declared or (not data and self._given < declared):
            raise Broken(f"{'more than ' * bool(data)}{self._given} bytes, where the archive "
                         f"declares {declared}")
        if not data and self._crc != self._member.crc:
            raise Broken("its checksum is wrong")
        return data


def member_stream(raw: BufferedReader, member: Member, where: str) -> Readable:
    """Return the bytes of a member, checked and limited. Raises Broken for a false local header."""
    raw.seek(member.offset)
    head = raw.read(_LOCAL.size)
    if len(head) < _LOCAL.size:
        raise Broken("it ends in the middle")
    name_bytes, extra_bytes = struct.unpack("<HH", head[26:30])
    magic, flags, method = _LOCAL.unpack(head)
    if (magic != b"PK\x03\x04" or flags & _ENCRYPTED or method != member.method
            or raw.read(name_bytes) != member.stored_name):
        raise Broken("its own header is not what the directory says")
    start = member.offset + _LOCAL.size + name_bytes + extra_bytes
    packed: Readable = _Slice(raw, start, member.packed)
    if member.method == zipfile.ZIP_DEFLATED:
        packed = Unpacked(packed, GZIP, where, bare=True)
    return Limited(_Checked(packed, member), member.packed, where)

"""A dump as a stream of bytes: hashed, unpacked, as UTF-8 or GB18030, cut at line ends.

A file on disk is one dump, or an archive of several: `sources_of` tells. What a file is packed in
and whether its text is UTF-16 is told by its bytes, never by its name.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path

from rsd.errors import InputRefused, readable
from rsd.intake import archive, utf16, workbook
from rsd.intake.chunks import Chunk, cut, cut_file
from rsd.intake.packings import (
    GZIP,
    PLAIN,
    XLSX,
    ZIP,
    ZSTD,
    Broken,
    Limited,
    Readable,
    Unpacked,
    packing_of,
)

CHUNK_BYTES = 6 << 20
"""Size of a chunk: large enough to amortise a parse, small enough to keep memory flat."""
STANDARD_INPUT = "-"
"""What stands for standard input where a file is named, and in the account."""
_HEAD_BYTES = 4096
_HASH_BYTES = 1 << 20
_PACKED_WEIGHT = 8


@dataclass(frozen=True)
class Source:
    """A dump, with the hash that it is known by and what the file system said of its file.

    ``sha256`` is the hash of the file's bytes as they lie on disk, packed ones too. A member of a
    zip archive is known by the hash of its own unpacked bytes: the same archive again, the same
    member in another archive and the same file outside of any are all ``already``.

    ``size`` is what the dump takes on disk, a member its packed bytes. ``unpacked`` is what its
    archive says that it unpacks to, 0 where none says so. ``refusal`` says why a member of an
    archive cannot be read; it has no hash then.
    """

    path: Path
    sha256: str
    size: int
    modified_ns: int
    packing: str = PLAIN
    inode: tuple[int, int] = (0, 0)
    file_size: int = 0
    unpacked: int = 0
    codec: str | None = None
    label: str = ""
    member: archive.Member | None = None
    sheet: workbook.Sheet | None = None
    notices: tuple[str, ...] = ()
    refusal: str = ""

    @property
    def name(self) -> str:
        """Name of the file without its folder, a member's behind that of its archive."""
        return self.label or readable(self.path.name)

    @property
    def where(self) -> str:
        """The file for people who look for it."""
        if self.label.startswith(STANDARD_INPUT):
            return "standard input" + self.label.removeprefix(STANDARD_INPUT)
        return readable(str(self.path)) + self.label.removeprefix(readable(self.path.name))

    @property
    def is_packed(self) -> bool:
        """Whether the bytes on disk are not those of the text."""
        return self.packing != PLAIN

    @property
    def weight(self) -> int:
        """Unpacked bytes, guessed where nobody says them."""
        return self.unpacked or self.size * (_PACKED_WEIGHT if self.is_packed else 1)


def sources_of(path: Path, *, label: str = "", sha256: str | None = None) -> list[Source]:
    """Return the dumps of a file: one, or of a zip archive each of its members.

    Args:
        path: a regular file.
        label: the name in the account, by default the file's.
        sha256: the hash of the file's bytes where it is known already.

    Raises:
        InputRefused: no regular file, empty, not readable, an archive without a readable directory.
    """
    try:
        with _open_regular(path) as raw:
            status = os.fstat(raw.fileno())
            found = Source(path, sha256 or "", status.st_size, status.st_mtime_ns, PLAIN,
                           (status.st_dev, status.st_ino), status.st_size, label=label)
            if not found.size:
                raise _empty(found.where)
            found = replace(found, packing=packing_of(raw.read(16), found.where))
            raw.seek(0)
            if found.packing == ZIP:
                listed = archive.listing(raw, found.size, found.where)
                if "[Content_Types].xml" not in listed.names:
                    return _members(found, raw, listed)
                found = _with_sheet(found, raw, listed)
            else:
                found = replace(found, codec=_codec_of(found, raw))
            raw.seek(0)
            known = sha256 or hashlib.file_digest(raw, "sha256").hexdigest()
            return [replace(found, sha256=known)]
    except OSError as error:
        raise refused(path, error) from error


def fingerprint(path: Path) -> Source:
    """Return the one dump of a file.

    Raises:
        InputRefused: as `sources_of`, or an archive of several dumps.
    """
    found = sources_of(path)
    if len(found) > 1 or found[0].refusal:
        raise InputRefused("an archive of several dumps", where=str(path),
                           found=f"{len(found)} members", expected="one dump",
                           remedy=found[0].refusal or "Unpack it and name one file.")
    return found[0]


def _empty(where: str) -> InputRefused:
    return InputRefused("the file is empty", where=where, found="0 bytes",
                        expected="a header line", remedy="Ask the sender for the file again.")


def _codec_of(source: Source, raw: BufferedReader) -> str | None:
    raw.seek(0)
    try:
        return utf16.evident(_unpacked(source, raw).read(_HEAD_BYTES))
    except (Broken, InputRefused):
        return None  # which its reading says


def _with_sheet(found: Source, raw: BufferedReader, listed: archive.Listing) -> Source:
    if "xl/workbook.xml" not in listed.names:
        raise InputRefused("an Office file, but no workbook that is read", where=found.where,
                           expected=".xlsx", remedy="Save it as .xlsx or CSV (UTF-8).")
    sheet, notices = workbook.find_sheet(raw, found.size, found.where)
    parts = sum(e.member.unpacked for e in listed.entries if e.member)
    return replace(found, packing=XLSX, sheet=sheet, unpacked=parts, notices=tuple(notices))


def _members(found: Source, raw: BufferedReader, listed: archive.Listing) -> list[Source]:
    if not listed.entries:
        raise InputRefused("the archive holds no dump", where=found.where,
                           found=f"{len(listed.skipped)} folders and hidden members",
                           remedy="Ask the sender for the file again.")
    dumps = [_member(found, raw, entry) for entry in listed.entries]
    if listed.skipped:
        some = ", ".join(listed.skipped[:3]) + (" …" if len(listed.skipped) > 3 else "")
        said = f"{len(listed.skipped)} folders or hidden members of the archive were not read: "
        dumps[0] = replace(dumps[0], notices=(said + some,))
    return dumps


def _member(found: Source, raw: BufferedReader, entry: archive.Entry) -> Source:
    member = entry.member
    dump = replace(found, label=f"{found.name}/{entry.name}", member=member, size=0,
                   refusal=entry.refusal)
    if member is None:
        return dump
    dump = replace(dump, size=member.packed, unpacked=member.unpacked)
    try:
        stream, sha = _unpacked(dump, raw), hashlib.sha256()
        head = piece = stream.read(_HASH_BYTES)
        if packing_of(head, dump.where) != PLAIN:
            raise InputRefused("an archive inside an archive", where=dump.where,
                               expected="one level", remedy="Unpack the outer one by hand.")
        while piece:
            sha.update(piece)
            piece = stream.read(_HASH_BYTES)
    except Broken as error:
        return replace(dump, refusal=str(_broken(dump, error)))
    except InputRefused as error:
        return replace(dump, refusal=str(error))
    return replace(dump, sha256=sha.hexdigest(), codec=utf16.evident(head[:_HEAD_BYTES]))


def _unpacked(source: Source, raw: BufferedReader) -> Readable:
    if source.member is not None:
        return archive.member_stream(raw, source.member, source.where)
    if source.sheet is not None:
        return workbook.rendered(raw, source.sheet, source.file_size, source.where)
    if source.packing in (GZIP, ZSTD):
        return Limited(Unpacked(raw, source.packing, source.where), source.size, source.where)
    return raw


def _open_regular(path: Path) -> BufferedReader:
    # O_NONBLOCK: a named pipe must not hang the nightly run before it is seen to be no file
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        # a pipe by name has nothing to be known by again, and without a writer it has no end
        raise InputRefused("not a regular file", where=str(path),
                           remedy="Name a file, or pipe the bytes into `rsd ingest LAKE -`.")
    return os.fdopen(descriptor, "rb")


def refused(path: Path, error: OSError) -> InputRefused:
    """Return the refusal that an operating system error on a dump means."""
    if isinstance(error, FileNotFoundError):
        return InputRefused("no such file", where=str(path),
                            remedy="Check the name; a pattern that matches nothing stays as typed.")
    if isinstance(error, IsADirectoryError):
        return InputRefused("a folder, not a file", where=str(path), remedy="Name its files.")
    return InputRefused("cannot be read", where=str(path), found=str(error.strerror or error),
                        remedy="Check permissions and the disk, then run again.")


def stream_chunks(source: Source, size: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """Yield a dump's unpacked bytes in chunks that end at a line end, the last one excepted.

    Raises:
        InputRefused: broken or oversized archive, a fault of the disk, or the file changed while
            it was read.
    """
    try:
        with _open_regular(source.path) as raw:
            yield from _chunks(source, _unpacked(source, raw), size)
            after = os.fstat(raw.fileno())
    except Broken as error:
        raise _broken(source, error) from error
    except OSError as error:
        raise _unreadable(source, error) from error
    now = (after.st_size, after.st_mtime_ns, (after.st_dev, after.st_ino))
    if now != (source.file_size, source.modified_ns, source.inode):
        raise InputRefused(
            "the file changed while it was read", where=source.where,
            found=f"{after.st_size} bytes", expected=f"{source.file_size} bytes",
            remedy="Wait until it is written to its end, then run again.")


def _unreadable(source: Source, error: OSError) -> InputRefused:
    # of this one file: those beside it are read all the same
    return InputRefused("cannot be read", where=source.where, found=str(error.strerror or error),
                        remedy="Check the disk, then run again.")


def _broken(source: Source, error: Broken) -> InputRefused:
    return InputRefused(
        f"the {source.packing} archive is broken", where=source.where, found=str(error),
        expected="a whole archive whose checksum is right",
        remedy="Ask the sender for the file again; nothing of it was stored.")


def _chunks(source: Source, stream: Readable, size: int) -> Iterator[Chunk]:
    if isinstance(stream, BufferedReader) and source.codec is None:
        yield from cut_file(stream, size, source.where)
        return
    if source.codec is None:
        line = source.sheet.header_row if source.sheet is not None else 1
        for chunk in cut(stream, size, source.where):
            yield chunk if line == 1 else replace(chunk, line=line)
        return
    end = 0
    for chunk in cut(utf16.Transcoder(stream, source.codec), size, source.where):
        end += utf16.original_size(chunk.data)
        yield replace(chunk, codec=source.codec, end=end)


def beginning(source: Source, size: int) -> bytes:
    """Return the first bytes of a dump, unpacked; none where it is broken, which its reading says.

    Raises:
        InputRefused: a fault of the disk, which may be gone at the next reading.
    """
    try:
        with _open_regular(source.path) as raw:
            stream = _unpacked(source, raw)
            if source.codec is not None:
                stream = utf16.Transcoder(stream, source.codec)
            return stream.read(size)
    except OSError as error:
        raise _unreadable(source, error) from error
    except (Broken, InputRefused):
        return b""

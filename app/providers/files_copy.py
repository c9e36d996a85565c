"""A private copy of one file: whole, unpacked, within limits and deaf to later changes."""

import errno
import gzip
import mmap
import os
import stat
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Self

MEGABYTE = 1_000_000
CHUNK_BYTES = 1 << 18
# Up to here a copy is kept in memory; a larger one lies in a temporary file and costs a descriptor.
SMALL_BYTES = 1 << 19
PEEK_BYTES = 1 << 16
# A file may change twice within one step of the file system's clock.
SETTLED_NS = 2_000_000_000
_PACKED = b"\x1f\x8b"
# No link is followed, and a pipe without a writer must not hold the run up.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Text = bytes | mmap.mmap
Check = Callable[[], None]
"""A safe point: raises when the run has to end."""


class FileTrouble(Exception):
    """A file can't be used; the message is a sentence that names it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one state of a file from another."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> Self:
        """The identity that the file system tells."""
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    @property
    def is_settled(self) -> bool:
        """True when the last change is so long ago that another one would show."""
        return time.time_ns() - max(self.modified_ns, self.changed_ns) > SETTLED_NS

    @property
    def modified_at(self) -> datetime:
        """When the content was last written (aware UTC)."""
        return datetime.fromtimestamp(self.modified_ns // 1_000_000_000, UTC)


@dataclass(frozen=True, slots=True)
class FileCopy:
    """The text of a file as it was in one moment; `is_packed` proves that no end is missing."""

    name: str
    identity: Identity
    text: Text
    is_packed: bool


def identify(folder: Path, name: str) -> Identity:
    """The present state of a file; raises `FileTrouble`."""
    try:
        return Identity.of(os.stat(folder / name, follow_symlinks=False))
    except OSError as error:
        raise _unreadable(name, error) from error


def copy_file(folder: Path, name: str, *, most_bytes: int, check: Check) -> FileCopy:
    """Copy a file and unpack it on the way; raises `FileTrouble`, and what `check` raises."""
    try:
        with _open(folder, name) as file:
            before = Identity.of(os.fstat(file.fileno()))
            is_packed = _is_packed(file)
            text = _keep(_chunks(file, name, most_bytes, is_packed=is_packed, check=check))
            if Identity.of(os.fstat(file.fileno())) != before or file.tell() != before.size:
                raise FileTrouble(f"{name} changed while it was read.")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileTrouble(f"{name} is not a whole gzip file; it may be half written.") from error
    except OSError as error:
        raise _unreadable(name, error) from error
    if not text:
        raise FileTrouble(f"{name} is empty.")
    return FileCopy(name, before, text, is_packed)


def peek_file(folder: Path, name: str) -> bytes:
    """The first 64 kB of a file, unpacked; raises `FileTrouble`."""
    try:
        with _open(folder, name) as file:
            source = gzip.GzipFile(fileobj=file) if _is_packed(file) else file
            return source.read(PEEK_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileTrouble(f"{name} is not a whole gzip file; it may be half written.") from error
    except OSError as error:
        raise _unreadable(name, error) from error


def _open(folder: Path, name: str) -> IO[bytes]:
    descriptor = os.open(folder / name, _FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileTrouble(f"{name} is not a plain file.")
    return os.fdopen(descriptor, "rb")


def _is_packed(file: IO[bytes]) -> bool:
    magic = file.read(len(_PACKED))
    file.seek(0)
    return magic == _PACKED


def _chunks(
    file: IO[bytes], name: str, most_bytes: int, *, is_packed: bool, check: Check
) -> Iterator[bytes]:
    source = gzip.GzipFile(fileobj=file) if is_packed else file
    size = 0
    while chunk := source.read(CHUNK_BYTES):
        check()
        size += len(chunk)
        if size > most_bytes:
            most = f"{most_bytes // MEGABYTE} MB"
            raise FileTrouble(f"{name} has more than {most}, the most that FILES_MAX_MB allows.")
        if b"\0" in chunk:
            raise FileTrouble(f"{name} is not text in UTF-8.")
        yield chunk


def _keep(chunks: Iterator[bytes]) -> Text:
    with tempfile.SpooledTemporaryFile(max_size=SMALL_BYTES) as spool:
        for chunk in chunks:
            spool.write(chunk)
        if spool.tell() > SMALL_BYTES:
            spool.flush()
            return mmap.mmap(spool.fileno(), 0, access=mmap.ACCESS_READ)
        spool.seek(0)
        return spool.read()


def _unreadable(name: str, error: OSError) -> FileTrouble:
    if isinstance(error, FileNotFoundError):
        return FileTrouble(f"{name} is gone.")
    if error.errno == errno.ELOOP:
        return FileTrouble(f"{name} is a link, which is not followed.")
    return FileTrouble(f"{name} cannot be read: {error.strerror or type(error).__name__}.")

"""A file for what waits: in memory as long as it is small, beyond that where the system keeps
temporary files (`TMPDIR`), without a name, so that it goes with its process.
"""

from io import BytesIO
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from app.errors import StorageError

MEMORY_BYTES = 4_000_000


class SpoolFile:
    """Bytes that are added at the end and read from anywhere, as often as is wanted.

    What was added stays readable, whatever goes wrong later.
    """

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES) -> None:
        self._memory_bytes = memory_bytes
        self._file: BinaryIO = BytesIO()
        self.size = 0

    def close(self) -> None:
        """Let go of what is kept."""
        self._file.close()

    def append(self, data: bytes) -> None:
        """Add bytes; `StorageError` where there is no room, and then nothing was added."""
        try:
            if self.size + len(data) > self._memory_bytes and isinstance(self._file, BytesIO):
                self._file = _moved(self._file)
            self._file.seek(self.size)
            _write_all(self._file, data)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StorageError(f"There is no room for temporary files: {reason}.") from error
        self.size += len(data)

    def read(self, offset: int, length: int) -> bytes:
        """That many bytes from there on, fewer at the end."""
        self._file.seek(offset)
        return self._file.read(length)

    def part(self, offset: int, length: int) -> "FilePart":
        """Bytes of this file as one of their own."""
        return FilePart(self, offset, length)


class FilePart:
    """A readable file over a part of another."""

    def __init__(self, file: SpoolFile, offset: int, length: int) -> None:
        self._file, self._offset, self._end = file, offset, offset + length

    def read(self, size: int = -1) -> bytes:
        """The next bytes; all that are left with a negative size; none at the end."""
        left = self._end - self._offset
        data = self._file.read(self._offset, left if size < 0 else min(size, left))
        self._offset += len(data)
        return data


def _moved(memory: BytesIO) -> BinaryIO:
    """A file on the disk with the same bytes; without a buffer, which could fail later."""
    file = cast(BinaryIO, TemporaryFile(buffering=0))  # noqa: SIM115 - closed by its owner
    try:
        _write_all(file, memory.getvalue())
    except OSError:
        file.close()
        raise
    return file


def _write_all(file: BinaryIO, data: bytes) -> None:
    """An unbuffered file takes what there is room for, and says how much."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]

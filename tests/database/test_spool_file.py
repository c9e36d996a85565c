"""Bytes that wait: in memory, on the disk, and when there is no room for more."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.database.spool_file import SpoolFile
from app.errors import StorageError

TEXT = b"0123456789"


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file of this process may grow beyond that, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("memory_bytes", [0, 15, 10**6])
def test_what_is_added_is_read_from_anywhere_as_often_as_is_wanted(memory_bytes: int) -> None:
    file = SpoolFile(memory_bytes=memory_bytes)
    for _ in range(3):
        file.append(TEXT)
        assert file.read(0, 3) == b"012"
    assert (file.size, file.read(8, 4), file.read(28, 9)) == (30, b"8901", b"89")
    for _ in range(2):
        part = file.part(5, 20)
        assert [part.read(9), part.read(9), part.read(9), part.read(9)] == [
            b"567890123", b"456789012", b"34", b""
        ]  # fmt: skip
    assert file.part(5, 20).read() == (TEXT * 3)[5:25]
    file.close()


def test_where_no_file_can_be_made_it_says_so_and_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    file = SpoolFile(memory_bytes=15)
    file.append(TEXT)
    with pytest.raises(StorageError, match="no room for temporary files: No such file"):
        file.append(TEXT)
    assert file.part(0, file.size).read() == TEXT
    file.close()


@pytest.mark.parametrize("memory_bytes", [0, 15])
def test_what_there_was_room_for_stays_and_goes_on_when_there_is_room_again(
    memory_bytes: int,
) -> None:
    file = SpoolFile(memory_bytes=memory_bytes)
    file.append(TEXT)
    with files_of_at_most(17):
        for _ in range(2):
            with pytest.raises(StorageError, match="File too large"):
                file.append(TEXT)
        assert file.part(0, file.size).read() == TEXT
    file.append(b"abc")
    assert file.part(0, file.size).read() == TEXT + b"abc"
    file.close()

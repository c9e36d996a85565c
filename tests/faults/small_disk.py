"""A disk of a few megabytes that can be filled to its last byte: a tmpfs, mounted for one test."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHUNKS = (1 << 20, 1 << 12)


class NoDiskHere(Exception):
    """This account can't mount a file system; the message says why."""


class SmallDisk:
    """The folder where the disk is mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no byte free."""
        descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in CHUNKS:
                _write_until_full(descriptor, size)
        finally:
            os.close(descriptor)

    def free(self) -> None:
        """Give the space back."""
        self._ballast.unlink(missing_ok=True)


def _write_until_full(descriptor: int, size: int) -> None:
    try:
        while os.write(descriptor, bytes(size)) == size:
            pass
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


@contextmanager
def small_disk(folder: Path, *, megabytes: int, owner: int) -> Iterator[SmallDisk]:
    """Mounted at a new folder, which belongs to the user id; raises `NoDiskHere`."""
    if os.geteuid() != 0:
        raise NoDiskHere("only root may mount a file system; run it as root")
    folder.mkdir()
    options = f"size={megabytes}m,uid={owner},mode=700"
    mounting = _run("mount", "-t", "tmpfs", "-o", options, "tapedeck-faults", str(folder))
    if mounting.returncode != 0:
        raise NoDiskHere(f"no file system can be mounted: {mounting.stderr.strip()[:100]}")
    try:
        yield SmallDisk(folder)
    finally:
        if _run("umount", str(folder)).returncode != 0:
            _run("umount", "--lazy", str(folder))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)

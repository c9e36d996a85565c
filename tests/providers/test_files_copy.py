"""A file is copied whole or not at all, and nothing outside the folder is."""

import contextlib
import gzip
import os
from pathlib import Path

import pytest

from app.errors import RunStopped
from app.providers.files_copy import SMALL_BYTES, FileTrouble, copy_file
from tests.providers.files_setup import Asked, build_files, hours, listing

NAME = "BTC-USD_1h.csv"


def copy(folder: Path, name: str = NAME, most_bytes: int = 10_000_000) -> bytes:
    found = copy_file(folder, name, most_bytes=most_bytes, check=lambda: None)
    return bytes(found.text[:])


def trouble(folder: Path, name: str = NAME, most_bytes: int = 10_000_000) -> str:
    with pytest.raises(FileTrouble) as caught:
        copy(folder, name, most_bytes)
    return str(caught.value)


@pytest.mark.parametrize("size", [10, SMALL_BYTES, SMALL_BYTES + 1, 3_000_000])
def test_small_and_large_files_are_copied_as_they_are(tmp_path: Path, size: int) -> None:
    content = (b"0123456789abcdef\n" * (size // 17 + 1))[:size]
    (tmp_path / NAME).write_bytes(content)
    assert copy(tmp_path) == content


def test_a_packed_file_is_unpacked_whatever_its_name_says(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert copy(tmp_path) == b"a,b\n1,2\n"


def test_half_a_packed_file_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(hours(-500).encode())
    for size in (5, len(whole) // 2, len(whole) - 1):
        (tmp_path / NAME).write_bytes(whole[:size])
        assert "not a whole gzip file" in trouble(tmp_path)


def test_a_packed_file_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(hours(-500).encode()))
    whole[-6] ^= 1
    (tmp_path / NAME).write_bytes(whole)
    assert "not a whole gzip file" in trouble(tmp_path)


def test_a_bomb_is_given_up_at_the_limit(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(gzip.compress(b"1" * 30_000_000))
    assert "more than 2 MB, the most that FILES_MAX_MB allows" in trouble(
        tmp_path, most_bytes=2_000_000
    )


# Without the time of compression, which would be a part of the test's name.
@pytest.mark.parametrize("content", [b"", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert "is empty" in trouble(tmp_path)


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(hours(-3).encode("utf-16"))
    assert "not text in UTF-8" in trouble(tmp_path)


@pytest.mark.parametrize("how", ["append", "rewrite", "touch"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / NAME
    path.write_text(hours(-20_000))

    done: list[str] = []

    def change() -> None:
        if done:
            return
        done.append(how)
        if how == "touch":
            os.utime(path, (1, 1))
        else:
            with path.open("a" if how == "append" else "w") as file:
                file.write(hours(-3))

    with pytest.raises(FileTrouble, match="changed while it was read"):
        copy_file(tmp_path, NAME, most_bytes=10_000_000, check=change)


def test_a_file_that_is_replaced_while_it_is_read_is_still_whole(tmp_path: Path) -> None:
    path, other = tmp_path / NAME, tmp_path / "upload.part"
    path.write_text(hours(-20_000))
    before = path.read_bytes()
    other.write_text(hours(-3))

    def replace() -> None:
        if other.exists():
            other.rename(path)

    with contextlib.suppress(FileTrouble):
        found = copy_file(tmp_path, NAME, most_bytes=10_000_000, check=replace)
        assert found.text[:] == before
    assert copy(tmp_path) == hours(-3).encode()


def test_a_stopped_run_does_not_finish_its_copy(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(hours(-3))

    def stop() -> None:
        raise RunStopped("cancelled", "Stopped.")

    with pytest.raises(RunStopped):
        copy_file(tmp_path, NAME, most_bytes=10_000_000, check=stop)


def test_a_link_is_not_followed_even_inside_the_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text(hours(-3))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / NAME).symlink_to(outside)
    assert Asked(folder).complaint() == f"{NAME} is a link, which is not followed."


def test_a_pipe_does_not_hold_the_run_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    assert "is not a plain file" in Asked(tmp_path).complaint()


@pytest.mark.parametrize(
    "pinned", ["../outside.csv", "sub/inner.csv", "/etc/passwd", ".hidden.csv"]
)
def test_a_pinned_name_leads_nowhere_else(tmp_path: Path, pinned: str) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    for path in (tmp_path / "outside.csv", folder / "sub" / "inner.csv", folder / ".hidden.csv"):
        path.write_text(hours(-3))
    assert "No file in the folder holds" in Asked(folder, f"BTC-USD={pinned}").complaint()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_problem_of_its_market(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(hours(-3))
    (tmp_path / NAME).chmod(0)
    assert "cannot be read: Permission denied" in Asked(tmp_path).complaint()


def test_a_file_that_is_gone_by_then_is_a_problem_of_its_market(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(hours(-3))
    provider = build_files(tmp_path)
    market = listing("BTC-USD", provider)
    (tmp_path / NAME).unlink()
    (problem,) = provider.fetch_snapshots([market]).problems
    assert problem.message == f"{NAME} is gone."

"""The embedded PostgreSQL in odd folders, and the account it drops to where we are root."""

import os
import shutil
from pathlib import Path

import psutil
import pytest
from sqlalchemy import make_url

from app.database import embedded_placement
from app.database.embedded_placement import Account, socket_directory
from app.errors import StorageError
from tests.embedded import embedded, has_tape, query, server_pid, store_tape

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another account")


def test_long_path_gets_its_socket_in_a_private_temporary_folder(
    enterable_directory: Path,
) -> None:
    data_directory = enterable_directory / ("long name " * 12) / "postgres"
    with embedded(data_directory) as url:
        folder = Path(str(make_url(url).query["host"]))
        assert not folder.is_relative_to(enterable_directory)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert query(url, "SELECT 1") == 1
    assert not folder.exists()


def test_socket_folder_open_to_others_is_refused(enterable_directory: Path) -> None:
    data = enterable_directory / ("long name " * 12)
    account = Account(os.geteuid(), os.getegid())
    folder = socket_directory(data, account)
    folder.chmod(0o777)
    try:
        with pytest.raises(StorageError, match="private folder"):
            socket_directory(data, account)
    finally:
        folder.rmdir()


def test_link_that_leads_nowhere_is_not_taken_for_an_empty_database(
    empty_place: Path, enterable_directory: Path
) -> None:
    empty_place.parent.mkdir()
    empty_place.symlink_to(enterable_directory / "unmounted" / "postgres")
    with pytest.raises(StorageError, match="which is not there"):
        embedded(empty_place).start()


@AS_ROOT
def test_as_root_the_server_drops_to_another_account(empty_place: Path) -> None:
    with embedded(empty_place):
        uids = psutil.Process(server_pid(empty_place)).uids()
        assert set(uids) == {empty_place.stat().st_uid}
        assert 0 not in uids
    assert empty_place.parent.stat().st_uid == 0


@AS_ROOT
def test_as_root_in_a_closed_folder_data_lies_elsewhere_behind_a_link(
    tmp_path: Path, enterable_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_placement, "STATE_DIRECTORY", enterable_directory / "state")
    tmp_path.chmod(0o700)
    link = tmp_path / "instance" / "postgres"
    with embedded(link) as url:
        store_tape(url)
    assert link.is_symlink()
    with embedded(link) as url:
        assert has_tape(url)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


@AS_ROOT
def test_as_root_programs_in_a_closed_folder_are_copied(
    tmp_path: Path,
    data_directory: Path,
    enterable_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = embedded_placement._package()
    closed = tmp_path / "site-packages"
    for folder in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, closed / folder.name, symlinks=True)
    closed.chmod(0o700)
    monkeypatch.setattr(embedded_placement, "_package", lambda: closed / package.name)
    monkeypatch.setattr(embedded_placement, "STATE_DIRECTORY", enterable_directory / "state")
    with embedded(data_directory) as url:
        assert query(url, "SELECT 1") == 1
        program = psutil.Process(server_pid(data_directory)).exe()
    assert Path(program).is_relative_to(enterable_directory / "state")


@AS_ROOT
def test_as_root_data_copied_back_by_root_is_given_to_the_account(data_directory: Path) -> None:
    with embedded(data_directory) as url:
        store_tape(url)
    for path in (data_directory, *data_directory.rglob("*")):
        os.chown(path, 0, 0)
    with embedded(data_directory) as url:
        assert has_tape(url)


@AS_ROOT
def test_data_of_another_account_is_refused_in_plain_words(
    data_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with embedded(data_directory):
        pass
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(StorageError, match="run it as that user"):
        embedded(data_directory).start()

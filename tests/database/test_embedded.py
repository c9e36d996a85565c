"""The embedded PostgreSQL under real conditions: several owners, kills, crashes."""

import os
import pwd
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from app.errors import StorageError
from tests.embedded import (
    FORKING_OWNER,
    OWNER,
    Owner,
    crash,
    embedded,
    has_tape,
    query,
    server_pid,
    store_tape,
)

NewOwner = Callable[..., Owner]


@pytest.fixture
def new_owner() -> Iterator[NewOwner]:
    with ExitStack() as stack:

        def start(data_directory: Path, program: str = OWNER) -> Owner:
            owner = Owner(data_directory, program)
            stack.callback(owner.kill)
            return owner

        yield start


@pytest.fixture
def bystander() -> Iterator[int]:
    """The number of an innocent process of the account that the server runs under."""
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["/bin/sleep", "600"], user=user) as process:
        yield process.pid
        process.kill()


def test_server_speaks_utf8_in_utc_and_listens_on_no_network(empty_place: Path) -> None:
    names = ("server_encoding", "timezone", "listen_addresses", "max_wal_size")
    with embedded(empty_place) as url:
        assert [query(url, f"SHOW {name}") for name in names] == ["UTF8", "UTC", "", "512MB"]
        assert query(url, "SELECT lower('ÄÖ')") == "äö"


def test_data_outlives_the_server(data_directory: Path) -> None:
    with embedded(data_directory) as url:
        store_tape(url)
    assert not (data_directory / "postmaster.pid").exists()
    with embedded(data_directory) as url:
        assert has_tape(url)


def test_two_processes_starting_at_once_share_one_server(
    empty_place: Path, new_owner: NewOwner
) -> None:
    owners = [new_owner(empty_place), new_owner(empty_place)]
    urls = {owner.answer() for owner in owners}
    assert len(urls) == 1
    assert query(urls.pop(), "SELECT count(*) FROM pg_database WHERE datname = 'tapedeck'") == 1


def test_server_stops_with_its_last_owner_only(data_directory: Path, new_owner: NewOwner) -> None:
    first, second = new_owner(data_directory), new_owner(data_directory)
    url = first.answer()
    second.answer()
    first.end()
    assert query(url, "SELECT 1") == 1
    second.end()
    assert not (data_directory / "postmaster.pid").exists()


def test_next_start_attaches_to_the_server_of_a_killed_owner(
    data_directory: Path, new_owner: NewOwner
) -> None:
    killed = new_owner(data_directory)
    killed.answer()
    running = server_pid(data_directory)
    killed.kill()
    with embedded(data_directory) as url:
        assert server_pid(data_directory) == running
        assert query(url, "SELECT 1") == 1
    assert not (data_directory / "postmaster.pid").exists()


def test_crashed_server_whose_number_another_process_has_now_is_recovered(
    data_directory: Path, new_owner: NewOwner, bystander: int
) -> None:
    killed = new_owner(data_directory)
    store_tape(killed.answer())
    crash(data_directory)
    killed.kill()
    for stale in (data_directory / "postmaster.pid", data_directory / ".s.PGSQL.5432.lock"):
        _, rest = stale.read_text().split("\n", 1)
        stale.write_text(f"{bystander}\n{rest}")
    with embedded(data_directory) as url:
        assert has_tape(url)
    assert psutil.Process(bystander).status() != psutil.STATUS_ZOMBIE


def test_starting_again_revives_a_crashed_server(data_directory: Path) -> None:
    server = embedded(data_directory)
    with server as url:
        crashed = server_pid(data_directory)
        crash(data_directory)
        assert server.start() == url
        assert server_pid(data_directory) != crashed
        assert query(url, "SELECT 1") == 1
    assert not (data_directory / "postmaster.pid").exists()


def test_half_made_database_of_a_killed_start_is_made_anew(empty_place: Path) -> None:
    half_made = empty_place.with_name("postgres.new")
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")
    with embedded(empty_place) as url:
        assert query(url, "SELECT current_database()") == "tapedeck"
    assert not half_made.exists()


def test_forked_child_owns_its_own_share(data_directory: Path, new_owner: NewOwner) -> None:
    forking = new_owner(data_directory, FORKING_OWNER)
    assert forking.answer() == "released"
    with embedded(data_directory) as url:
        assert query(url, "SELECT 1") == 1
    assert (data_directory / "postmaster.pid").exists()
    forking.end()
    assert not (data_directory / "postmaster.pid").exists()


def test_server_is_beyond_the_reach_of_the_terminal(data_directory: Path) -> None:
    with embedded(data_directory):
        server = server_pid(data_directory)
        assert os.getsid(server) == os.getpgid(server) == server


def test_postgres_variables_of_the_environment_do_not_count(
    data_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGDATA": "/nowhere", "PGPORT": "1", "PGHOST": "nowhere"}.items():
        monkeypatch.setenv(name, value)
    with embedded(data_directory) as url:
        assert query(url, "SHOW data_directory") == str(data_directory)


def test_server_inherits_no_secret(data_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPERATOR_TOKEN", "s3cret")
    with embedded(data_directory):
        assert "OPERATOR_TOKEN" not in psutil.Process(server_pid(data_directory)).environ()


def test_failing_start_shows_the_end_of_the_server_log(data_directory: Path) -> None:
    server = embedded(data_directory, shared_buffers="plenty")
    with pytest.raises(StorageError, match='invalid value for parameter "shared_buffers"'):
        server.start()


def test_folder_with_other_files_is_left_alone(empty_place: Path) -> None:
    empty_place.mkdir(parents=True)
    (empty_place / "letter.txt").write_text("dear")
    with pytest.raises(StorageError, match="holds no database"):
        embedded(empty_place).start()
    assert (empty_place / "letter.txt").read_text() == "dear"

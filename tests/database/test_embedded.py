"""The embedded PostgreSQL under real conditions: several owners, kills, crashes, odd folders."""

import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from sqlalchemy import NullPool, create_engine, make_url, text

from app.database import embedded_placement
from app.database.embedded import EmbeddedPostgres
from app.database.embedded_placement import Account, socket_directory
from app.errors import StorageError
from tests.servers import FAST_AND_LOOSE, make_enterable_directory

ROOT = Path(__file__).parents[2]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another account")

OWNER = """
import sys
from pathlib import Path
from app.database.embedded import EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1]), options={"fsync": "off"})
print(server.start(), flush=True)
sys.stdin.readline()
"""

FORKING_OWNER = """
import os, sys
from pathlib import Path
from app.database.embedded import EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1]), options={"fsync": "off"})
server.start()
ready, told = os.pipe()
if os.fork() == 0:
    server.start()
    os.write(told, b"x")
    sys.stdin.readline()
    sys.exit(0)
os.read(ready, 1)
server.release()
print("released", flush=True)
os.wait()
"""


class Owner:
    """A process of its own that starts the server and ends when told."""

    def __init__(self, data_directory: Path, program: str = OWNER) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(data_directory)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> str:
        """The line that says the server is up."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], 60)[0]
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """End in an orderly way, without an explicit release."""
        self.process.communicate("\n", timeout=60)

    def kill(self) -> None:
        """End like with kill -9."""
        self.process.kill()
        self.process.communicate(timeout=60)


NewOwner = Callable[..., Owner]


@pytest.fixture(scope="session")
def made_database() -> Iterator[Path]:
    """A database made once, as making it is what takes the time."""
    folder = make_enterable_directory()
    try:
        with embedded(folder / "postgres"):
            pass
        yield folder / "postgres"
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def data_directory(made_database: Path) -> Iterator[Path]:
    """A stopped database, perhaps with tables of other tests."""
    yield made_database
    stop_left_over(made_database)


@pytest.fixture
def empty_place(enterable_directory: Path) -> Iterator[Path]:
    """Where a database may be made; neither folder exists yet."""
    data_directory = enterable_directory / "instance" / "postgres"
    yield data_directory
    stop_left_over(data_directory)


def stop_left_over(data_directory: Path) -> None:
    """Stop the server that a killed owner has left running."""
    if (data_directory / "postmaster.pid").exists():
        with embedded(data_directory):
            pass


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


def embedded(data_directory: Path, **options: str) -> EmbeddedPostgres:
    return EmbeddedPostgres(data_directory, options={**FAST_AND_LOOSE, **options})


def query(url: str, statement: str) -> object:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        result = connection.execute(text(statement))
        return result.scalar() if result.returns_rows else None


def store_tape(url: str) -> None:
    query(url, "DROP TABLE IF EXISTS tape")
    query(url, "CREATE TABLE tape AS SELECT 42 AS number")


def has_tape(url: str) -> bool:
    return query(url, "SELECT number FROM tape") == 42


def server_pid(data_directory: Path) -> int:
    return int((data_directory / "postmaster.pid").read_text().split()[0])


def crash(data_directory: Path) -> None:
    """Kill the server as a power cut would; its other processes notice and go by themselves."""
    os.kill(server_pid(data_directory), signal.SIGKILL)


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

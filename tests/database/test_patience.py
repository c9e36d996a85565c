"""The process's own patience: slow is waited for, silent is not, and only so many may wait."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from app.database.connect import PLACEHOLDER_URL, Database
from app.database.engine import Patience
from app.database.patience import DatabaseSilent, Watch
from app.database.patient_connection import server_answers
from app.database.transactions import let_pass
from app.errors import StorageError
from app.settings import Settings

PATIENT = Patience(statement=30, lock=3, idle=30, is_gated=True)


class Operation:
    """An operation that lasts until it is cut."""

    def __init__(self, *, limit_seconds: float = 60, is_gated: bool = True) -> None:
        self.since = time.monotonic()
        self.limit_seconds = limit_seconds
        self.is_gated = is_gated
        self.was_cut = threading.Event()

    def cut(self) -> None:
        self.was_cut.set()


def waiting_out(condition: Callable[[], bool]) -> bool:
    """Whether the condition comes true in ten seconds."""
    pause = threading.Event()
    for _ in range(200):
        if condition():
            return True
        pause.wait(0.05)
    return False


def test_operation_on_a_silent_server_is_cut_and_the_next_refused_until_it_answers() -> None:
    answers = threading.Event()
    watch, stuck = Watch(answers.is_set, places=2), Operation()
    watch.begin(stuck)
    assert stuck.was_cut.wait(10)
    with pytest.raises(DatabaseSilent, match="does not answer"):
        watch.enter()
    watch.end(stuck)
    answers.set()
    assert waiting_out(lambda: not watch.is_silent)
    with watch.place():
        pass


def test_slow_operation_on_a_server_that_answers_is_waited_for() -> None:
    questions = threading.Semaphore(0)
    watch, slow = Watch(lambda: questions.release() or True, places=2), Operation()
    watch.begin(slow)
    assert questions.acquire(timeout=10)
    assert questions.acquire(timeout=10)
    assert not slow.was_cut.is_set()
    watch.end(slow)


def test_operation_beyond_its_limit_is_cut_whoever_answers() -> None:
    watch, stuck = Watch(lambda: True, places=2), Operation(limit_seconds=0.1, is_gated=False)
    watch.begin(stuck)
    assert stuck.was_cut.wait(10)
    assert not watch.is_silent


def test_run_waits_on_while_pages_are_refused() -> None:
    watch, page, run = Watch(lambda: False, places=2), Operation(), Operation(is_gated=False)
    watch.begin(page)
    watch.begin(run)
    assert page.was_cut.wait(10)
    assert not run.was_cut.is_set()


def test_place_is_refused_when_all_wait_for_the_database_and_nothing_moves() -> None:
    watch = Watch(lambda: True, places=1, line=Line(is_alive=True))
    watch.attend_requests()
    with taken_up(watch):
        refused = in_thread(watch.enter)
    assert isinstance(refused, StorageError)


def test_place_is_waited_for_while_nobody_waits_for_the_database() -> None:
    watch, entered = Watch(lambda: True, places=1), threading.Event()

    def enter() -> None:
        with watch.place():
            entered.set()

    with watch.place():
        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not entered.wait(0.3)
    waiting.join(10)
    assert entered.is_set()


class Line:
    """A line to the server that answers as told."""

    def __init__(self, *, is_alive: bool) -> None:
        self.is_alive = is_alive
        self.questions = threading.Semaphore(0)

    def prepare(self) -> None:
        """It is ready."""

    def answers(self, seconds: float) -> bool:
        self.questions.release()
        return self.is_alive

    def close(self) -> None:
        """Nothing to give back."""


def test_place_behind_a_slow_statement_is_waited_for_while_the_line_answers() -> None:
    line, entered = Line(is_alive=True), threading.Event()
    watch = attended(line)

    def enter() -> None:
        with watch.place():
            entered.set()

    with watch.place():
        slow = Operation()
        watch.begin(slow)
        waiting = threading.Thread(target=enter)
        waiting.start()
        assert all(line.questions.acquire(timeout=10) for _ in range(5))
        assert not entered.is_set()
        watch.end(slow)
    waiting.join(10)
    assert entered.is_set()


def test_place_is_refused_when_the_line_does_not_answer() -> None:
    line = Line(is_alive=False)
    watch = attended(line)
    with watch.place():
        watch.begin(Operation())
        refused = in_thread(watch.enter)
    assert isinstance(refused, StorageError)
    assert line.questions.acquire(timeout=1)


def attended(line: Line) -> Watch:
    """A watch with one place, out of which somebody came just now."""
    watch = Watch(lambda: True, places=1, line=line)
    watch.attend_requests()
    with watch.place():
        pass
    return watch


def test_two_dozen_slow_statements_at_once_all_come_to_their_end(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.database.patience.PING_SECONDS", 5)
    settings = Settings(database_url=database_url, instance_path=tmp_path, web_threads=8)
    database = Database(settings)
    options = database.engine_options(PATIENT, pool_size=24, overflow=0)
    engine = create_engine(PLACEHOLDER_URL, **options | {"pool_timeout": 30})
    database.watch.attend_requests()

    def ask(_: int) -> object:
        with engine.connect() as connection:
            return connection.execute(text("SELECT pg_sleep(0.3)")).rowcount

    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(ask, range(6)))
        # The first ones have told where the server is.
        database.watch._line.prepare()  # type: ignore[union-attr]
        assert list(pool.map(ask, range(24))) == [1] * 24
    database.watch.dismiss_requests()
    engine.dispose()


def test_transaction_that_others_wait_for_passes_the_full_door(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(database_url=database_url, instance_path=tmp_path, web_threads=3)
    database = Database(settings)
    engine = create_engine(PLACEHOLDER_URL, **database.engine_options(PATIENT))
    database.watch.attend_requests()
    monkeypatch.setattr(database.watch, "_line", None)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        with taken_up(database.watch):
            let_pass(connection)
            assert connection.execute(text("SELECT 2")).scalar() == 2
            connection.rollback()
            with pytest.raises(OperationalError, match="Too many"):
                connection.execute(text("SELECT 3"))
    engine.dispose()


def test_statement_in_the_middle_of_a_transaction_is_urgent(
    database_url: str, tmp_path: Path
) -> None:
    database = Database(Settings(database_url=database_url, instance_path=tmp_path))
    connection = database.connector(PATIENT)()
    urgent = []
    for end in (connection.commit, connection.rollback):
        for _ in range(2):
            with connection.cursor() as cursor:
                urgent.append(connection.asking.is_urgent)
                cursor.execute("SELECT 1")
        end()
    connection.close()
    assert urgent == [False, True] * 2


@contextmanager
def taken_up(watch: Watch) -> Iterator[None]:
    """The one place is taken by a thread whose statement comes to no end."""
    inside, over = threading.Event(), threading.Event()

    def stay() -> None:
        with watch.place():
            stuck = Operation()
            watch.begin(stuck)
            inside.set()
            over.wait(30)
            watch.end(stuck)

    thread = threading.Thread(target=stay)
    thread.start()
    assert inside.wait(10)
    yield
    over.set()
    thread.join()


def test_thread_with_a_place_needs_no_second_one() -> None:
    watch = Watch(lambda: True, places=1)
    with watch.place(), watch.place():
        pass
    with watch.place():
        pass


def in_thread(work: Callable[[], object]) -> BaseException | None:
    """What the work raises in a thread of its own."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except DatabaseSilent as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    return raised[0] if raised else None


def test_server_that_takes_connections_but_says_nothing_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert not server_answers({"host": "127.0.0.1", "port": mute.getsockname()[1]})


def test_server_that_refuses_has_answered(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert server_answers({"host": "127.0.0.1", "port": port})
    query = make_url(database_url).query
    address = {"host": query["host"], "port": query["port"], "dbname": "no such", "user": "x"}
    assert server_answers(address)


def test_cut_connection_is_replaced_and_the_database_used_again(
    database_url: str, tmp_path: Path
) -> None:
    database = Database(Settings(database_url=database_url, instance_path=tmp_path))
    engine = create_engine(PLACEHOLDER_URL, **database.engine_options(PATIENT))
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        failed = threading.Timer(0.2, raw.asking.cut)
        failed.start()
        with pytest.raises(OperationalError):
            connection.execute(text("SELECT pg_sleep(30)"))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
    engine.dispose()


def test_refused_operation_leaves_its_connection_usable(database_url: str, tmp_path: Path) -> None:
    database = Database(Settings(database_url=database_url, instance_path=tmp_path))
    engine = create_engine(PLACEHOLDER_URL, **database.engine_options(PATIENT))
    with engine.connect() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
        database.watch._is_silent = True
        with pytest.raises(OperationalError, match="does not answer"):
            connection.execute(text("SELECT 1"))
        database.watch._is_silent = False
        connection.rollback()
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar() == pid
    engine.dispose()


def test_server_side_cursor_and_copy_are_watched_too(database_url: str, tmp_path: Path) -> None:
    database = Database(Settings(database_url=database_url, instance_path=tmp_path))
    connection = database.connector(PATIENT)()
    with connection.cursor(name="many") as cursor:
        cursor.execute("SELECT generate_series(1, 5000)")
        database.watch._is_silent = True
        with pytest.raises(DatabaseSilent):
            cursor.fetchmany(2500)
        database.watch._is_silent = False
    connection.rollback()
    connection.close()

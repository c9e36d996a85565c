"""The faults in PostgreSQL under working runs: restarted, away, read-only, its disk full."""

import pwd
import random
import shutil
import threading
import time
from contextlib import suppress

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tests.faults.bench import (
    SLACK_SECONDS,
    Bench,
    Finding,
    await_true,
    expect_true,
    judge,
    settled,
)
from tests.faults.crew import crew
from tests.faults.frozen import OwnPostgres
from tests.faults.scenarios_web import PAGES, QUIET
from tests.faults.small_disk import NoDiskHere, SmallDisk, small_disk
from tests.faults.visitor import Answer, ask
from tests.faults.worker_setup import note_a_run
from tests.processes import serving
from tests.servers import make_enterable_directory

ONLY_PAGES = QUIET | {"WEB_WORKERS": "1", "SCHEDULER_ENABLED": "false"}
# How long the first runs without room may take to fail.
NO_ROOM_SECONDS = 15.0
_RUNS = "FROM ingestion_run WHERE trigger <> 'cli' AND status ="
_pause = threading.Event()


def server_restarts(bench: Bench, server: OwnPostgres, *, restarts: int) -> Finding:
    """PostgreSQL ended at once (immediate shutdown) and started again, runs going on."""
    bench.clear()
    plan = bench.plan()
    with crew(plan, size=3) as workers:
        for _ in range(restarts):
            _pause.wait(random.uniform(0.5, 2.0))
            server.stop_hard()
            server.start()
            workers.tend()
        evidence = settled(bench, plan)
    return judge(
        "PostgreSQL restarted (immediate)", f"{restarts} restarts; {evidence.figures}", evidence
    )


def server_down_over_ticks(bench: Bench, server: OwnPostgres, *, tick: float = 4.0) -> Finding:
    """PostgreSQL away over two ticks and a half."""
    bench.clear()
    plan = bench.plan(tick=tick)
    with crew(plan, size=3):
        expect_true(bench, "SELECT count(*) > 0 FROM schedule_tick WHERE status = 'ran'")
        server.stop_hard()
        _pause.wait(2.6 * plan.tick)
        server.start()
        back = time.monotonic()
        expect_true(bench, "SELECT count(*) > 1 FROM schedule_tick WHERE status = 'ran'")
        late = time.monotonic() - back
        evidence = settled(bench, plan)
    figures = f"newest tick run {late:.1f} s after the return; {evidence.figures}"
    finding = judge("PostgreSQL away over two ticks", figures, evidence)
    if evidence.ticks.get("missed", 0) < 2:
        finding.problems.append("the older tick is not recorded as missed")
    if late > SLACK_SECONDS:
        finding.problems.append(f"the newest tick was run only after {late:.1f} s")
    return finding


def read_only(bench: Bench) -> Finding:
    """A database that takes no writes for a while."""
    bench.clear()
    plan = bench.plan()
    engine = bench.engine()
    name = engine.url.database
    with crew(plan, size=2), engine.connect() as connection:
        expect_true(bench, "SELECT count(*) > 0 FROM ingestion_run WHERE status = 'succeeded'")
        for state in ("on", "off"):
            connection.execute(text("SET default_transaction_read_only = off"))
            setting = f'ALTER DATABASE "{name}" SET default_transaction_read_only = {state}'
            connection.execute(text(setting))
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
            _pause.wait(4)
        before = connection.execute(text("SELECT count(*) FROM ingestion_run")).scalar_one()
        expect_true(bench, f"SELECT count(*) > {int(before) + 1} FROM ingestion_run")
        evidence = settled(bench, plan)
    engine.dispose()
    return judge("PostgreSQL read-only for 4 s", evidence.figures, evidence)


def disk_full(bench: Bench, server: OwnPostgres, *, times: int) -> Finding:
    """The disk of the tables full for a while, in the middle of the ticks."""
    fault = "PostgreSQL's disk full"
    space = f"small_{time.monotonic_ns()}"
    try:
        with small_disk(server.folder / space, megabytes=40, owner=server.account) as disk:
            url = server.database(space, folder=disk.folder)
            try:
                return _fill_and_free(Bench(url, bench.folder), disk, fault, times)
            finally:
                disk.free()
                server.drop_tablespace(space)
    except NoDiskHere as reason:
        return Finding(fault, "-", not_run=str(reason))


def _fill_and_free(bench: Bench, disk: SmallDisk, fault: str, times: int) -> Finding:
    note_a_run(bench.url)
    plan = bench.plan()
    seen: list[Answer] = []
    late: list[float] = []
    engine = bench.engine()
    # A connection from before: with the disk full the server may not be able to give a new one.
    with (
        crew(plan, size=2),
        serving(bench.folder, bench.url, ONLY_PAGES) as web,
        engine.connect() as observer,
    ):
        for _ in range(times):
            expect_true(bench, _more_runs("succeeded", count_runs(bench, "succeeded")))
            failed = _count(observer, "failed")
            disk.fill()
            # Long enough that not one run after the other finds room left in the last page; where
            # nobody gets a connection no run is opened, and then there is none to fail.
            await_true(bench, _more_runs("failed", failed + 2), seconds=NO_ROOM_SECONDS)
            seen += [ask(web.url, path) for path in PAGES]
            succeeded, freed_at = _count(observer, "succeeded"), time.monotonic()
            disk.free()
            expect_true(bench, _more_runs("succeeded", succeeded))
            late.append(time.monotonic() - freed_at)
        evidence = settled(bench, plan)
    engine.dispose()
    refused = sum(one.status == 503 for one in seen)
    figures = (
        f"{times} times; {len(seen)} pages meanwhile, {refused} of them 503; a run succeeded "
        f"{max(late):.1f} s after; {evidence.figures}"
    )
    finding = judge(fault, figures, evidence)
    finding.problems += [
        f"{one.path} answered {one.status}" for one in seen if one.status not in (200, 503)
    ]
    if not evidence.runs.get("failed"):
        finding.problems.append("no run failed, so nothing was shown")
    finding.problems += _unclear_reasons(bench)
    if max(late) > plan.tick + SLACK_SECONDS:
        finding.problems.append(f"the next run succeeded only {max(late):.1f} s after")
    return finding


def log_disk_full(bench: Bench, *, times: int) -> Finding:
    """The whole disk full, its log too: the server gives up, and is started when it has room."""
    fault = "PostgreSQL's disk full, its log too"
    home = make_enterable_directory()
    try:
        with small_disk(home / "small", megabytes=220, owner=pwd.getpwnam("nobody").pw_uid) as disk:
            disk.folder.chmod(0o755)
            # Of its log it keeps no more than fits on the disk.
            server = OwnPostgres(disk.folder, max_wal_size="48MB", min_wal_size="32MB")
            try:
                return _break_and_start(Bench(server.url, bench.folder), server, disk, fault, times)
            finally:
                disk.free()
                server.close()
    except NoDiskHere as reason:
        return Finding(fault, "-", not_run=str(reason))
    finally:
        shutil.rmtree(home)


def _break_and_start(
    bench: Bench, server: OwnPostgres, disk: SmallDisk, fault: str, times: int
) -> Finding:
    plan = bench.plan()
    late: list[float] = []
    with crew(plan, size=3):
        for _ in range(times):
            expect_true(bench, _more_runs("succeeded", count_runs(bench, "succeeded")))
            disk.fill()
            _write_until_it_breaks(bench)
            disk.free()
            server.start()
            started_at, succeeded = time.monotonic(), count_runs(bench, "succeeded")
            expect_true(bench, _more_runs("succeeded", succeeded))
            late.append(time.monotonic() - started_at)
        evidence = settled(bench, plan)
    figures = f"{times} times; a run succeeded {max(late):.1f} s after its start; "
    finding = judge(fault, figures + evidence.figures, evidence)
    if max(late) > plan.tick + plan.lease + SLACK_SECONDS:
        finding.problems.append(f"the next run succeeded only {max(late):.1f} s after")
    return finding


def _write_until_it_breaks(bench: Bench) -> None:
    """Need new room for the log until the server gives up: it ends itself, or begins anew."""
    engine = bench.engine()
    with suppress(DBAPIError), engine.connect() as connection:
        while True:
            connection.execute(text("SELECT pg_switch_wal(), pg_current_xact_id()"))
    engine.dispose()


def count_runs(bench: Bench, status: str) -> int:
    """How many runs of ticks have that status."""
    engine = bench.engine()
    with engine.connect() as connection:
        count = _count(connection, status)
    engine.dispose()
    return count


def _count(connection: Connection, status: str) -> int:
    statement = text(f"SELECT count(*) {_RUNS} :status")
    return int(connection.execute(statement, {"status": status}).scalar_one())


def _more_runs(status: str, count: int) -> str:
    return f"SELECT count(*) > {count} {_RUNS} '{status}'"


def _unclear_reasons(bench: Bench) -> list[str]:
    """Failed runs that do not say what the database lacked."""
    engine = bench.engine()
    statement = text(f"SELECT DISTINCT error_message {_RUNS} 'failed'")
    with engine.connect() as connection:
        said = [str(message) for message in connection.execute(statement).scalars()]
    engine.dispose()
    unclear = [message for message in said if "No space left on device" not in message]
    return [f"a failed run only says: {message}" for message in unclear]

"""Faults seen through real web processes: what pages and probes answer while they last."""

import os
import random
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg2
from sqlalchemy import make_url, text

from tests.faults.bench import Bench, Finding, await_true, settled
from tests.faults.frozen import OwnPostgres, children_of
from tests.faults.instance import instance
from tests.faults.oracle import examine
from tests.faults.visitor import Answer, Visitor, ask, seconds_until_served
from tests.faults.worker_setup import note_a_run
from tests.processes import serving

PAGES = ("/", "/runs", "/api/runs", "/api/snapshots/latest", "/readyz")
QUIET = {"INGESTION_CRON_EXPRESSION": "0 0 1 1 *"}
PAGE_SECONDS, PROBE_SECONDS, BACK_SECONDS = 4.0, 0.1, 5.0
# From so many ticks on, some kills must have struck a run.
STRUCK_FROM = 20
_OWNER = "SELECT owner FROM ingestion_run WHERE status = 'running'"
_pause = threading.Event()


def frozen(bench: Bench, server: OwnPostgres, *, seconds: float, leeway: float = 1.0) -> Finding:
    """PostgreSQL stands still. `leeway` multiplies the limits, for machines busy otherwise."""
    bench.clear()
    note_a_run(bench.url)
    with serving(bench.folder, bench.url, QUIET | {"WEB_WORKERS": "2"}) as web:
        for path in PAGES:
            seconds_until_served(web.url, path)
        with server.frozen():
            pages, probes = Visitor(web.url, PAGES), Visitor(web.url, ["/healthz"])
            pages.start()
            probes.start()
            _pause.wait(seconds)
            seen, probed = pages.finish(), probes.finish()
        back = seconds_until_served(web.url)
    slowest, worst = _slowest(seen), _slowest(probed)
    finding = Finding(
        f"PostgreSQL frozen {seconds:.0f} s",
        f"{len(seen)} pages, slowest {slowest:.1f} s; {len(probed)} probes, slowest "
        f"{worst * 1000:.0f} ms; served again after {back:.1f} s",
    )
    _expect_status(finding, seen, 503)
    _expect_status(finding, probed, 200)
    _expect(finding, "a page took", slowest, PAGE_SECONDS * leeway)
    _expect(finding, "/healthz took", worst, PROBE_SECONDS * leeway)
    _expect(finding, "the return took", back, BACK_SECONDS * leeway)
    return finding


def crowd(bench: Bench, *, times: int, visitors: int = 24, seconds: float = 0.3) -> Finding:
    """More visitors at once than there are threads; the database is slow, but well."""
    bench.clear()
    app = "tests.faults.deck:with_a_slow_page()"
    with (
        instance(bench, workers=1, tick=3600, app=app) as web,
        ThreadPoolExecutor(visitors) as pool,
    ):
        ask(web.url, "/slow/0.0")
        # A poll later the process has its line to the server.
        _pause.wait(1)
        answers: list[Answer] = []
        for _ in range(times):
            answers += pool.map(ask, [web.url] * visitors, [f"/slow/{seconds}"] * visitors)
    finding = Finding(
        f"{visitors} visitors at once, {seconds * 1000:.0f} ms of PostgreSQL each",
        f"{len(answers)} answers of one process with 8 threads, slowest {_slowest(answers):.1f} s",
    )
    _expect_status(finding, answers, 200)
    return finding


def exhausted(bench: Bench) -> Finding:
    """Somebody else holds every connection that PostgreSQL gives."""
    bench.clear()
    note_a_run(bench.url)
    held: list[psycopg2.extensions.connection] = []
    with serving(bench.folder, bench.url, QUIET | {"WEB_WORKERS": "1"}) as web:
        seconds_until_served(web.url)
        try:
            _hold_all(bench.url, held)
            during = [ask(web.url, path) for path in (*PAGES, "/healthz")]
        finally:
            for connection in held:
                connection.close()
        back = seconds_until_served(web.url)
    answers = {one.path: one.status for one in during}
    finding = Finding(
        "PostgreSQL's connections exhausted",
        f"{len(held)} held; pages {answers['/']}, healthz {answers['/healthz']}; served again "
        f"after {back:.1f} s",
    )
    _expect_status(finding, [one for one in during if one.path != "/healthz"], 503)
    _expect_status(finding, [one for one in during if one.path == "/healthz"], 200)
    _expect(finding, "the return took", back, BACK_SECONDS)
    return finding


def instances(bench: Bench, *, ticks: int, tick: float = 2.0, workers: int = 3) -> Finding:
    """Two hosts, their clocks 0.8 s apart, and a random worker killed every few seconds.

    Every third kill is of whoever works on a run just then.
    """
    bench.clear()
    kills = 0
    thinking = (0.5, 1.5)
    with (
        instance(bench, skew=-0.4, tick=tick, workers=workers, thinking=thinking) as first,
        instance(bench, skew=0.4, tick=tick, workers=workers, thinking=thinking) as second,
    ):
        wanted = f"SELECT count(*) >= {ticks} FROM schedule_tick"
        deadline = time.monotonic() + 30 + 2 * ticks * tick
        while not await_true(bench, wanted, seconds=random.uniform(1, 2) * tick):
            if time.monotonic() > deadline:
                break
            victims = children_of(random.choice([first, second]).master.pid)
            if kills % 3 == 1:
                victims = _owner_of_run(bench, first.workers() + second.workers()) or victims
            if victims:
                with suppress(ProcessLookupError):
                    os.kill(random.choice(victims), signal.SIGKILL)
                    kills += 1
        evidence = settled(bench, bench.plan(tick=tick, lease=3.0, poll=0.5))
    engine = bench.engine()
    owners = examine(engine, tick_seconds=tick)
    engine.dispose()
    finding = Finding(
        f"2 instances x {workers} workers, {ticks} ticks, workers killed",
        f"{kills} kills; {evidence.figures}",
        [*evidence.wrong, *(set(owners.wrong) - set(evidence.wrong))],
    )
    if sum(evidence.ticks.values()) < ticks:
        finding.problems.append(f"only {sum(evidence.ticks.values())} ticks have a row")
    if not evidence.runs.get("succeeded"):
        finding.problems.append("no run succeeded, so nothing was shown")
    if ticks >= STRUCK_FROM and not evidence.lost_attempts:
        finding.problems.append("no kill struck a run, so nothing was shown")
    return finding


def _owner_of_run(bench: Bench, workers: Sequence[int]) -> list[int]:
    """The worker that has the active run, once there is one."""
    await_true(bench, f"SELECT EXISTS ({_OWNER})", seconds=5)
    engine = bench.engine()
    with engine.connect() as connection:
        owner = connection.execute(text(_OWNER)).scalar()
    engine.dispose()
    return [pid for pid in workers if owner and pid == int(owner.split(":")[1])]


def _hold_all(url: str, held: list[psycopg2.extensions.connection]) -> None:
    """Take every connection, those of others too."""
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        while len(held) < 1000:
            held.append(psycopg2.connect(address))
            if len(held) == 1:
                held[0].autocommit = True
            elif len(held) % 20 == 0:
                _end_others(held)
    except psycopg2.OperationalError:
        return


def _end_others(held: list[psycopg2.extensions.connection]) -> None:
    mine = [connection.info.backend_pid for connection in held]
    with held[0].cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND NOT pid = ANY(%s)",
            (mine,),
        )


def _slowest(answers: Sequence[Answer]) -> float:
    return max(one.seconds for one in answers)


def _expect(finding: Finding, what: str, seconds: float, limit: float) -> None:
    if seconds > limit:
        finding.problems.append(f"{what} {seconds:.2f} s, and {limit:g} s is the limit")


def _expect_status(finding: Finding, answers: Sequence[Answer], status: int) -> None:
    others = {(one.path, one.status) for one in answers if one.status != status}
    finding.problems += [f"{path} answered {found}" for path, found in sorted(others)]

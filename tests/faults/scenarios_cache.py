"""A Redis in bad weather: what the cache's callers feel of it, and what web processes answer."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from multiprocessing import Pipe

from redis import Redis
from sqlalchemy import text

from tests.faults.bench import Bench, Finding
from tests.faults.cache_callers import THREADS, Felt, feel_weather
from tests.faults.crew import apart
from tests.faults.scenarios_web import QUIET
from tests.faults.tcp_proxy import Mode, TcpProxy
from tests.faults.worker_setup import note_a_run
from tests.processes import serving
from tests.servers import running_valkey

SLOW_CALLS, COST_MICROS, BACK_SECONDS = 6, 20.0, 3.0
KINDS = ("PASS", "BLACK_HOLE", "LATENCY", "REFUSE")
# What CACHE_LAG_MS allows, unless it is set.
LAG_SECONDS = 0.025
LATENCY_SECONDS = 1.0
LOOKERS = 3
LATEST = "/api/snapshots/latest?limit=1"
PAGES = (LATEST, "/", "/markets", "/api/runs", "/readyz")
_NEWEST = text("SELECT max(observed_at) FROM market_snapshot")
_pause = threading.Event()


def felt_weather(*, seconds: float) -> Finding:
    """A black hole, answers after a second, and nobody there, under threads that use the cache.

    The cache is the product's with its own limits, in a process of its own; every weather finds
    its breaker closed and its connections healthy.
    """
    here, there = Pipe()
    with running_valkey() as url, TcpProxy.before(url) as proxy, ThreadPoolExecutor(1) as pool:
        felt = pool.submit(apart, feel_weather, proxy.redis_url, url, there, KINDS, seconds)
        while not felt.done():
            if here.poll(0.05):
                proxy.set_mode(Mode[here.recv()], latency_seconds=LATENCY_SECONDS)
                here.send("done")
        found = felt.result()
    return _judge_felt(found)


def _judge_felt(found: Felt) -> Finding:
    finding = Finding("Redis in bad weather", "")
    parts = []
    for one in found.phases:
        name = one.name.replace("_", " ").lower()
        back = "" if one.name == Mode.PASS.name else f", back after {one.back_seconds:.1f} s"
        parts.append(f"{name}: {one.slow} of {one.calls} calls above 50 ms{back}")
        if one.name == Mode.PASS.name:
            continue
        if one.slow > SLOW_CALLS:
            finding.problems.append(f"{name}: {one.slow} calls took more than 50 ms")
        if one.back_seconds > BACK_SECONDS:
            finding.problems.append(f"{name}: Redis was asked again after {one.back_seconds:.1f} s")
        if not one.was_cold or not one.opened:
            finding.problems.append(f"{name}: the breaker did not go from closed to open")
    finding.figures = (
        f"{THREADS} threads; {'; '.join(parts)}; {found.errors} errors; the closed breaker costs "
        f"{found.cost_micros:.1f} µs"
    )
    if found.errors:
        finding.problems.append(f"{found.errors} calls raised an error")
    if found.cost_micros > COST_MICROS:
        finding.problems.append(f"the closed breaker costs {found.cost_micros:.1f} µs a read")
    return finding


@dataclass(slots=True)
class Watch:
    """What visitors of the web processes saw, and what they were to see at least."""

    requests: int = 0
    late_judged: int = 0
    failed: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    weather: str = "pass"
    # Since when (steady clock), and the instant of the newest snapshot that is committed.
    known: tuple[float, datetime] | None = None


def web_in_weather(bench: Bench, *, ingests: int, lag_seconds: float = LAG_SECONDS) -> Finding:
    """Two web processes asked all the time, while Redis is in each kind of trouble over ingests."""
    bench.clear()
    note_a_run(bench.url)
    watch = Watch()
    settings = QUIET | {"WEB_WORKERS": "2", "INGESTION_LOOKBACK_DAYS": "1"}
    with running_valkey() as url, TcpProxy.before(url) as proxy:
        settings |= {"REDIS_URL": proxy.redis_url}
        with serving(bench.folder, bench.url, settings) as web:
            _ingest(web.url, watch)
            with (
                _committed(bench, watch),
                _lookers(web.url, watch, lag_seconds),
                Redis.from_url(url) as admin,
            ):
                for name, begin, end in _troubles(proxy, admin):
                    watch.weather = name
                    begin()
                    for _ in range(ingests):
                        _ingest(web.url, watch)
                        _pause.wait(0.8)
                    end()
                    watch.weather = f"after {name}"
                    _ingest(web.url, watch)
                    _pause.wait(0.8)
    figures = (
        f"2 web processes: {watch.requests} requests, {len(watch.failed)} failed; "
        f"{watch.late_judged} answers begun after an ingest, {len(watch.stale)} stale"
    )
    finding = Finding("Redis in bad weather over ingests", figures, watch.failed + watch.stale)
    if not watch.late_judged:
        finding.problems.append("no answer was begun after an ingest, so nothing was shown")
    return finding


Trouble = tuple[str, Callable[[], object], Callable[[], object]]


def _troubles(proxy: TcpProxy, admin: "Redis") -> Iterator[Trouble]:
    """Each kind by name, how it begins and how it ends."""

    def well() -> None:
        proxy.set_mode(Mode.PASS)

    yield "partition", lambda: proxy.set_mode(Mode.BLACK_HOLE), well
    yield "slow", lambda: proxy.set_mode(Mode.LATENCY, latency_seconds=LATENCY_SECONDS), well
    yield "killed", lambda: proxy.set_mode(Mode.REFUSE), well
    yield "cut off", lambda: proxy.set_mode(Mode.CUT, cut_after=10), well
    yield "reset", lambda: proxy.set_mode(Mode.RESET), well
    yield (
        "read-only",
        lambda: admin.execute_command("REPLICAOF", "127.0.0.1", "1"),
        lambda: admin.execute_command("REPLICAOF", "NO", "ONE"),
    )
    spoiler = Spoiler(admin)
    yield "wrong types", spoiler.begin, spoiler.end


class Spoiler:
    """Makes a list of every value that Redis holds, again and again."""

    def __init__(self, admin: "Redis") -> None:
        self._admin = admin
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._spoil, daemon=True)

    def begin(self) -> None:
        """From now on."""
        self._thread.start()

    def end(self) -> None:
        """No more."""
        self._over.set()
        self._thread.join()

    def _spoil(self) -> None:
        while not self._over.wait(0.05):
            for name in list(self._admin.scan_iter()):
                self._admin.delete(name)
                self._admin.rpush(name, "not", "yours")


def _ingest(url: str, watch: Watch) -> None:
    """Run once."""
    status, body = _ask(url, "/api/ingest", "POST")
    if status != 200:
        watch.failed.append(f"{watch.weather}: an ingest answered {status} {body[:80]!r}")


@contextmanager
def _committed(bench: Bench, watch: Watch) -> Iterator[None]:
    """Note the newest instant as soon as it is committed: an ingest answers only a while later."""
    stop = threading.Event()

    def look() -> None:
        engine = bench.engine()
        with engine.connect() as connection:
            while not stop.wait(0.005):
                newest = connection.execute(_NEWEST).scalar_one()
                if newest and (watch.known is None or newest > watch.known[1]):
                    watch.known = (time.monotonic(), newest)
        engine.dispose()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _lookers(url: str, watch: Watch, lag_seconds: float) -> Iterator[None]:
    stop, lock = threading.Event(), threading.Lock()

    def look() -> None:
        while not stop.is_set():
            for path in PAGES:
                known, began = watch.known, time.monotonic()
                status, body = _ask(url, path)
                with lock:
                    watch.requests += 1
                    if status != 200:
                        watch.failed.append(f"{watch.weather}: {path} answered {status}")
                    elif path == LATEST and known and began > known[0] + lag_seconds:
                        watch.late_judged += 1
                        watch.stale += _stale(body, known[1], f"{watch.weather}")
            stop.wait(0.02)

    threads = [threading.Thread(target=look) for _ in range(LOOKERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _stale(body: bytes, committed: datetime, weather: str) -> list[str]:
    answer: Mapping[str, list[Mapping[str, str]]] = json.loads(body)
    shown = max(datetime.fromisoformat(one["observedAt"]) for one in answer["snapshots"])
    # What is shown may be rounded to less than what is stored.
    if (committed - shown).total_seconds() < 0.001:
        return []
    return [f"{weather}: an answer shows {shown}, and {committed} was committed"]


def _ask(url: str, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Status (0: none came) and body."""
    line = HTTPConnection(url.removeprefix("http://"), timeout=30)
    accept = "application/json" if path.startswith("/api") else "text/html"
    try:
        line.request(method, path, headers={"Accept": accept})
        answer = line.getresponse()
        return answer.status, answer.read()
    except (OSError, HTTPException) as error:
        return 0, str(error).encode()
    finally:
        line.close()

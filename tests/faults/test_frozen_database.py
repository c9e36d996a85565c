"""A database that stands still: pages say so soon, /healthz does not notice, and it comes back."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path

import pytest
import urllib3

from tests.faults.frozen import OwnPostgres, own_postgres
from tests.faults.worker_setup import note_a_run
from tests.processes import WebProcess, serving

SECONDS = 5.0
PAGE_LIMIT, HEALTH_LIMIT, BACK_LIMIT = 4.0, 0.1, 5.0
PATHS = ("/", "/runs", "/api/runs", "/api/snapshots/latest", "/readyz")


@pytest.fixture(scope="module")
def postgres() -> Iterator[OwnPostgres]:
    with own_postgres() as server:
        yield server


class Visitor(threading.Thread):
    """Asks for addresses in turn, twenty a second, and keeps what came of it."""

    def __init__(self, url: str, paths: tuple[str, ...]) -> None:
        super().__init__(daemon=True)
        self.answers: list[tuple[str, int, float]] = []
        self._host, self._paths = url.removeprefix("http://"), paths
        self._finishing = threading.Event()

    def run(self) -> None:
        with ThreadPoolExecutor(40) as pool:
            for path in cycle(self._paths):
                if self._finishing.wait(0.05):
                    break
                pool.submit(self._ask, path)

    def _ask(self, path: str) -> None:
        started, status = time.monotonic(), 0
        line = HTTPConnection(self._host, timeout=15)
        with suppress(OSError):
            line.request("GET", path)
            status = line.getresponse().status
        line.close()
        self.answers.append((path, status, time.monotonic() - started))

    def finish(self) -> list[tuple[str, int, float]]:
        self._finishing.set()
        self.join(30)
        return self.answers


def seconds_until_served(web: WebProcess) -> float:
    started = time.monotonic()
    with urllib3.PoolManager(retries=False, timeout=10) as pool:
        while time.monotonic() - started < 30:
            if pool.request("GET", f"{web.url}/api/runs").status == 200:
                return time.monotonic() - started
    raise AssertionError("the pages did not come back")


@pytest.mark.timeout(120)
def test_frozen_database_costs_pages_seconds_and_the_probe_nothing(
    postgres: OwnPostgres, tmp_path: Path
) -> None:
    note_a_run(postgres.url)
    environment = {"WEB_WORKERS": "2", "INGESTION_CRON_EXPRESSION": "0 0 1 1 *"}
    with serving(tmp_path, postgres.url, environment) as web:
        seconds_until_served(web)
        with postgres.frozen():
            pages, probes = Visitor(web.url, PATHS), Visitor(web.url, ("/healthz",))
            pages.start()
            probes.start()
            threading.Event().wait(SECONDS)
            slow = pages.finish()
            quick = probes.finish()
        back = seconds_until_served(web)
    assert {status for _, status, _ in slow} == {503}
    assert {status for _, status, _ in quick} == {200}
    slowest = max(seconds for _, _, seconds in slow)
    worst = max(seconds for _, _, seconds in quick)
    print(sorted(round(seconds * 1000) for _, _, seconds in quick)[-20:], len(quick), len(slow))
    print(f"pages {slowest:.2f} s, healthz {worst * 1000:.0f} ms, back after {back:.2f} s")
    assert (slowest <= PAGE_LIMIT, worst <= HEALTH_LIMIT, back <= BACK_LIMIT) == (True,) * 3


@pytest.mark.timeout(120)
def test_database_that_went_away_is_told_and_used_again_without_a_restart(
    postgres: OwnPostgres, tmp_path: Path
) -> None:
    note_a_run(postgres.url)
    environment = {"WEB_WORKERS": "1", "INGESTION_CRON_EXPRESSION": "0 0 1 1 *"}
    with serving(tmp_path, postgres.url, environment) as web:
        seconds_until_served(web)
        postgres.stop_hard()
        with urllib3.PoolManager(retries=False, timeout=10) as pool:
            page = pool.request("GET", f"{web.url}/", headers={"Accept": "text/html"})
            problem = pool.request("GET", f"{web.url}/api/runs")
            ready = pool.request("GET", f"{web.url}/readyz")
            assert pool.request("GET", f"{web.url}/healthz").status == 200
        postgres.start()
        back = seconds_until_served(web)
    assert (page.status, problem.status, ready.status) == (503, 503, 503)
    assert b'http-equiv="refresh"' in page.data
    assert problem.headers["Content-Type"] == "application/problem+json"
    assert int(problem.headers["Retry-After"]) > 0
    assert ready.json()["parts"]["database"] == "unreachable"
    assert back <= BACK_LIMIT

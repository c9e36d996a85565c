"""What becomes of a run whose process is killed in the middle of it."""

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3
from sqlalchemy import create_engine, text

from tests.faults.bench import Bench
from tests.faults.instance import Instance, instance
from tests.faults.worker_setup import note_a_run

SLOW = {
    "MOCK_DELAY_SECONDS": "60",
    "RUN_LEASE_SECONDS": "3",
    "RUN_HEARTBEAT_SECONDS": "0.5",
    "SCHEDULER_POLL_SECONDS": "0.5",
    "INGESTION_CRON_EXPRESSION": "0 0 1 1 *",
    "RUN_GRACE_SECONDS": "1",
    "WEB_WORKERS": "1",
}
QUICK = SLOW | {"MOCK_DELAY_SECONDS": "0"}
DATA = ("market", "listing", "market_snapshot", "market_aggregate", "market_comparison")


def ask(web: Instance, method: str, path: str, **headers: str) -> Any:
    pool = urllib3.PoolManager(retries=False, timeout=40)
    return pool.request(method, web.url + path, headers=headers)


def await_run(web: Instance, run_id: str, **wanted: object) -> dict[str, Any]:
    """The run once it has these values; each look is an answer of the real API."""
    pause = threading.Event()
    for _ in range(200):
        run: dict[str, Any] = ask(web, "GET", f"/api/runs/{run_id}").json()
        if wanted.items() <= run.items():
            return run
        pause.wait(0.1)
    raise AssertionError(f"the run is still {run['status']} at attempt {run['attempt']}")


def count_rows(database_url: str) -> dict[str, int]:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        counts = {
            table: int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())
            for table in DATA
        }
    engine.dispose()
    return counts


@contextmanager
def hosts(
    folder: Path, database_url: str, *environments: Mapping[str, str]
) -> Iterator[list[Instance]]:
    """Web processes that start side by side, each as if on a host of its own."""
    note_a_run(database_url)
    folders = [folder / f"host-{number}" for number in range(len(environments))]
    for each in folders:
        each.mkdir()
    with ExitStack() as stack, ThreadPoolExecutor(len(environments)) as pool:
        starts = [
            instance(Bench(database_url, each), app="wsgi:app", environment=environment)
            for each, environment in zip(folders, environments, strict=True)
        ]
        yield list(pool.map(stack.enter_context, starts))


def start_run(web: Instance) -> str:
    """The id of a run that this process works on."""
    answer = ask(web, "POST", "/api/ingest", Prefer="respond-async")
    assert answer.status == 202
    assert ask(web, "POST", "/api/ingest").status == 409
    run_id: str = answer.json()["runId"]
    return run_id


@pytest.mark.timeout(180)
def test_run_outlives_a_killed_process_and_a_terminated_one(
    fresh_database_url: str, tmp_path: Path
) -> None:
    with hosts(tmp_path, fresh_database_url, SLOW, SLOW) as (first, second):
        before = count_rows(fresh_database_url)
        run_id = start_run(first)
        first.kill()
        assert await_run(second, run_id, attempt=2)["status"] == "running"
        assert count_rows(fresh_database_url) == before
        bench = Bench(fresh_database_url, tmp_path)
        with instance(bench, app="wsgi:app", environment=QUICK) as third:
            second.master.terminate()
            run = await_run(third, run_id, status="succeeded")
            assert second.master.wait(timeout=60) == 0
    assert run["attempt"] == 3
    assert min(count_rows(fresh_database_url).values()) > 0


@pytest.mark.timeout(180)
def test_killed_run_that_may_not_be_begun_again_is_abandoned_and_the_next_one_works(
    fresh_database_url: str, tmp_path: Path
) -> None:
    once = {"RUN_MAX_ATTEMPTS": "1"}
    with hosts(tmp_path, fresh_database_url, SLOW | once, QUICK | once) as (first, second):
        run_id = start_run(first)
        first.kill()
        dead = await_run(second, run_id, status="abandoned")
        assert "no sign of life" in dead["errorMessage"]
        assert ask(second, "POST", "/api/ingest").json()["status"] == "succeeded"

"""What becomes of a run whose process is killed in the middle of it."""

import threading
from pathlib import Path
from typing import Any

import pytest
import urllib3
from sqlalchemy import create_engine, text

from tests.faults.worker_setup import note_a_run
from tests.processes import WebProcess, serving

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


def ask(web: WebProcess, method: str, path: str, **headers: str) -> Any:
    pool = urllib3.PoolManager(retries=False, timeout=40)
    return pool.request(method, web.url + path, headers=headers)


def await_run(web: WebProcess, run_id: str, **wanted: object) -> dict[str, Any]:
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


def start_and_kill(folder: Path, database_url: str) -> str:
    """The id of a run whose process was killed in the middle of it, nothing of it stored."""
    note_a_run(database_url)
    before = count_rows(database_url)
    with serving(folder, database_url, SLOW) as web:
        answer = ask(web, "POST", "/api/ingest", Prefer="respond-async")
        assert answer.status == 202
        assert ask(web, "POST", "/api/ingest").status == 409
        web.kill()
    assert count_rows(database_url) == before
    run_id: str = answer.json()["runId"]
    return run_id


@pytest.mark.timeout(180)
def test_run_outlives_a_killed_process_and_a_terminated_one(
    fresh_database_url: str, tmp_path: Path
) -> None:
    run_id = start_and_kill(tmp_path, fresh_database_url)
    with serving(tmp_path, fresh_database_url, SLOW) as web:
        assert await_run(web, run_id, attempt=2)["status"] == "running"
        web.master.terminate()
        assert web.master.wait(timeout=60) == 0
    with serving(tmp_path, fresh_database_url, QUICK) as web:
        run = await_run(web, run_id, status="succeeded")
    assert run["attempt"] == 3
    assert min(count_rows(fresh_database_url).values()) > 0


@pytest.mark.timeout(180)
def test_killed_run_that_may_not_be_begun_again_is_abandoned_and_the_next_one_works(
    fresh_database_url: str, tmp_path: Path
) -> None:
    run_id = start_and_kill(tmp_path, fresh_database_url)
    with serving(tmp_path, fresh_database_url, QUICK | {"RUN_MAX_ATTEMPTS": "1"}) as web:
        dead = await_run(web, run_id, status="abandoned")
        assert "no sign of life" in dead["errorMessage"]
        assert ask(web, "POST", "/api/ingest").json()["status"] == "succeeded"

"""`/metrics` of a real server of three workers: sound in every line, and the same from each."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import NullPool, create_engine, text

from app.metrics import CACHE_MODES, METRICS, SCHEDULER_JOB, Kind
from tests.processes import WebProcess, serving
from tests.web.exposition import complaints

WORKERS = 3
CALLERS = 12
SCRAPES = 12
# Asked for by that name, in milliseconds; the same in seconds stands beside it.
GIVEN_NAME = "ingestion_duration_ms"
Exposed: TypeAlias = dict[tuple[str, frozenset[tuple[str, str]]], float]
TROUBLE = """
    INSERT INTO alert (rule, subject, severity, state, title, text, pending_at, fired_at)
    VALUES ('of-a-test', '', 'critical', 'firing', 'Nobody judges it', '', now(), now())
"""


@pytest.fixture(scope="module")
def web(fresh_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    """A server of three workers on a Redis that is away, after two runs, with open alerts."""
    folder = tmp_path_factory.mktemp("exposition")
    metrics = folder / "metrics"
    metrics.mkdir()
    environment = {
        "WEB_WORKERS": str(WORKERS),
        "INGESTION_LOOKBACK_DAYS": "2",
        # So many that no run can be without.
        "INGESTION_MARKETS": "top:50",
        "MOCK_BAD_ROWS": "0.3",
        "INGESTION_CRON_EXPRESSION": "0 0 1 1 *",
        "SCHEDULER_POLL_SECONDS": "1",
        "REDIS_URL": "redis://127.0.0.1:9",
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
    }
    with serving(folder, fresh_database_url, environment) as web:
        assert ask(web, "POST", "/api/ingest").status == 200
        engine = create_engine(fresh_database_url, poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text(TROUBLE))
        await_every_worker(web, metrics)
        yield web


def ask(web: WebProcess, method: str, path: str) -> urllib3.BaseHTTPResponse:
    """Over a connection of its own, so that any worker may take it."""
    with urllib3.PoolManager(retries=False, timeout=60) as pool:
        return pool.request(method, f"{web.url}{path}")


def await_every_worker(web: WebProcess, metrics: Path) -> None:
    """Ask until each worker has served something, and a scheduler has done a job."""
    pause = threading.Event()
    with ThreadPoolExecutor(CALLERS) as callers:
        while len(list(metrics.glob("histogram_*.db"))) < WORKERS or (
            f"{SCHEDULER_JOB.name}{{" not in scrape(web)
        ):
            list(callers.map(lambda _: ask(web, "GET", "/").status, range(CALLERS)))
            pause.wait(0.1)


def scrape(web: WebProcess) -> str:
    answer = ask(web, "GET", "/metrics")
    assert answer.status == 200
    return answer.data.decode()


def exposed(body: str) -> Exposed:
    """Every sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def value(found: Exposed, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


HISTOGRAM = (
    "# HELP x_seconds X.\n# TYPE x_seconds histogram\n"
    'x_seconds_bucket{{le="1.0"}} {low}\nx_seconds_bucket{{le="+Inf"}} {all}\n'
    "x_seconds_sum 1\nx_seconds_count {count}\n"
)
HEAD = "# HELP x X.\n# TYPE x gauge\n"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (HEAD + 'x{a="1"} 1\nx{a="2"} 1\n', ""),
        (HISTOGRAM.format(low=1, all=2, count=2), ""),
        (HISTOGRAM.format(low=3, all=2, count=2), "is not cumulative"),
        (HISTOGRAM.format(low=1, all=2, count=3), "does not end with +Inf and its count"),
        (HISTOGRAM.format(low=1, all=2, count=2).replace("x_seconds_sum 1\n", ""), "lacks its sum"),
        (HEAD + 'x{a="1"} 1\nx{a="1"} 2\n', "stands 2 times"),
        (HEAD + "x 1\n# HELP y Y.\n# TYPE y gauge\ny 1\n" + HEAD + "x 1\n", "2 times HELP"),
        ("# TYPE x gauge\nx 1\n", "TYPE before its HELP"),
        ("x 1\n", "heading of nobody"),
        (HEAD + "x NaN\n", "is nan"),
        (HEAD + 'x{job="a"} 1\n', "has the label job"),
        (HEAD.replace(" x ", " x_total ") + "x_total 1\n", "samples of another type"),
        (HEAD.replace(" x ", " x_minutes ") + "x_minutes 1\n", "another unit"),
        ("# HELP x_total X.\n# TYPE x_total counter\nx_total -1\n", "below zero"),
    ],
)
def test_the_check_sees_what_is_wrong(body: str, expected: str) -> None:
    found = complaints(body)
    assert bool(found) == bool(expected)
    assert any(expected in one for one in found) or not expected


def test_nothing_is_wrong_with_the_exposition_but_the_unit_in_the_given_name(
    web: WebProcess,
) -> None:
    found = complaints(scrape(web))
    assert found == [f"{GIVEN_NAME} has another unit than seconds or bytes in its name"]


@pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not installed; it comes with Prometheus",
)
def test_promtool_finds_nothing_but_the_unit_in_the_given_name(web: WebProcess) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=scrape(web), text=True, capture_output=True
    )
    lines = (done.stdout + done.stderr).strip().splitlines()
    assert [line for line in lines if not line.startswith(f"{GIVEN_NAME} ")] == []


def test_every_metric_is_exposed_with_the_labels_it_declares(web: WebProcess) -> None:
    samples = exposed(scrape(web))
    shown: dict[str, set[str]] = {}
    for name, labels in samples:
        for suffix in ("_bucket", "_sum", "_count"):
            if METRICS.get(name.removesuffix(suffix), METRICS.get(name)) is None:
                continue
            name = name if name in METRICS else name.removesuffix(suffix)
        shown.setdefault(name, set()).update({label for label, _ in labels} - {"le"})
    assert shown == {name: set(metric.labels) for name, metric in METRICS.items()}
    assert {metric.kind for metric in METRICS.values()} == set(Kind)


def test_requests_to_any_worker_are_counted_by_every_worker(web: WebProcess) -> None:
    asked, labels = 90, {"method": "GET", "route": "/badge.json"}
    with ThreadPoolExecutor(CALLERS) as callers:
        statuses = list(callers.map(lambda _: ask(web, "GET", "/badge.json").status, range(asked)))
        bodies = list(callers.map(lambda _: scrape(web), range(SCRAPES)))
    assert statuses == [200] * asked
    for found in map(exposed, bodies):
        assert value(found, "http_requests_total", **labels, status="200") == asked
        assert value(found, "http_request_duration_seconds_count", **labels) == asked
        assert value(found, "ingestion_partial_total") == 2
        assert value(found, "alerts_open", severity="critical") == 1


def test_a_cache_in_trouble_is_told_by_every_worker(web: WebProcess) -> None:
    told = [
        {mode: value(found, "cache_mode", mode=mode) for mode in CACHE_MODES}
        for found in (exposed(scrape(web)) for _ in range(SCRAPES))
    ]
    assert all(modes["fallback"] == 1 and modes["memory"] == 0 for modes in told)

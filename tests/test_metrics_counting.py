"""Counting: right for one process and for several, and never in the way of what is counted."""

import logging
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app import metrics_counting
from app.metrics import CACHE_MODES
from app.metrics_counting import observe_provider_call, observe_request, process_samples
from app.metrics_exposition import render_prometheus
from tests.exposed import exposed

COUNT_IN_THREE_PROCESSES = """
import os
from app.metrics_counting import observe_provider_call, observe_request, process_samples
from app.metrics_exposition import render_prometheus

def count():
    for _ in range(3):
        observe_request(method="GET", route="/api/runs", status=200, seconds=0.02)
    observe_provider_call(provider="mock", outcome="ok", seconds=0.3)

for _ in range(3):
    if not (child := os.fork()):
        count()
        os._exit(0)
    os.waitpid(child, 0)
print(sorted({sample.name for sample in process_samples()}))
print(render_prometheus([]).decode(), end="")
"""


def test_requests_are_counted_by_method_route_and_status() -> None:
    labels = (("method", "GET"), ("route", "/test/counted"), ("status", "503"))
    for _ in range(2):
        observe_request(method="GET", route="/test/counted", status=503, seconds=0.2)
    found = exposed(render_prometheus([]))
    assert found["http_requests_total", labels] == 2
    assert found["http_request_duration_seconds_count", labels[:2]] == 2
    assert found["http_request_duration_seconds_sum", labels[:2]] == pytest.approx(0.4)


def test_provider_calls_are_counted_by_outcome() -> None:
    observe_provider_call(provider="of-a-test", outcome="timeout", seconds=7)
    found = exposed(render_prometheus([]))
    assert found["provider_calls_total", (("outcome", "timeout"), ("provider", "of-a-test"))] == 1
    assert found["provider_call_duration_seconds_sum", (("provider", "of-a-test"),)] == 7


def test_process_samples_are_the_ones_of_the_exposition() -> None:
    observe_request(method="POST", route="/test/same", status=200, seconds=0.001)
    samples = {(s.name, tuple(sorted(s.labels.items()))): s.value for s in process_samples()}
    assert samples == exposed(render_prometheus([]))


def test_processes_that_have_ended_are_added_up(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COUNT_IN_THREE_PROCESSES],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        check=True,
    )
    names, _, exposition = done.stdout.partition(b"\n")
    found = exposed(exposition)
    labels = (("method", "GET"), ("route", "/api/runs"), ("status", "200"))
    assert found["http_requests_total", labels] == 9
    assert found["http_request_duration_seconds_count", labels[:2]] == 9
    assert found["provider_calls_total", (("outcome", "ok"), ("provider", "mock"))] == 3
    assert eval(names) == sorted({name for name, _ in found})


ONE_OF_TWO_FELL_BACK = """
import os
from prometheus_client.multiprocess import mark_process_dead
from datetime import UTC, datetime
from app.metrics_counting import observe_cache_mode, observe_job
from app.metrics_exposition import render_prometheus

for mode in ("redis", "fallback"):
    if not (child := os.fork()):
        observe_cache_mode(mode, datetime(2026, 3, 4, tzinfo=UTC))
        observe_job("alerts")
        os._exit(0)
    os.waitpid(child, 0)
print(render_prometheus([]).decode())
mark_process_dead(child)
print("---")
print(render_prometheus([]).decode())
"""


def test_a_cache_is_in_trouble_while_that_of_a_living_process_is(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ONE_OF_TWO_FELL_BACK],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        check=True,
    )
    both, one = (exposed(part) for part in done.stdout.split(b"---\n"))
    modes = {mode: (("mode", mode),) for mode in CACHE_MODES}
    assert [both["cache_mode", modes[mode]] for mode in CACHE_MODES] == [1, 0, 1]
    assert [one["cache_mode", modes[mode]] for mode in CACHE_MODES] == [1, 0, 0]
    since = [both["cache_mode_timestamp_seconds", modes[mode]] for mode in CACHE_MODES]
    began_at = datetime(2026, 3, 4, tzinfo=UTC).timestamp()
    assert since == [began_at, 0, began_at]
    ended_at = both["scheduler_job_timestamp_seconds", (("name", "alerts"),)]
    assert 0 <= time.time() - ended_at < 3600


def test_folder_that_refuses_writes_breaks_nothing_and_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_labels: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(metrics_counting, "_complained", set())
    monkeypatch.setattr(metrics_counting._http_requests, "labels", refuse)
    metrics_counting._of_requests.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            observe_request(method="GET", route="/", status=200, seconds=0.1)
    assert [record.message for record in caplog.records] == ["process metrics cannot be written"]

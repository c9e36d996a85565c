"""What a process counts where it happens: requests, provider calls, the cache, the jobs.

With PROMETHEUS_MULTIPROC_DIR set before the first import of this module each process keeps its own
files there and a scrape adds them all up; without it they are those of the one process.
"""

import logging
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.multiprocess import MultiProcessCollector

from app import tallies
from app.metrics import (
    CACHE_MODE,
    CACHE_MODE_SINCE,
    CACHE_MODES,
    CACHE_READS,
    HTTP_REQUEST_DURATION,
    HTTP_REQUESTS,
    METRICS,
    PROVIDER_CALL_DURATION,
    PROVIDER_CALLS,
    SCHEDULER_JOB,
    Metric,
    Sample,
)

logger = logging.getLogger(__name__)

MULTIPROCESS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_CALL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0)
FIRST_SERVER_ERROR: Final = 500
# A call that a stopping run broke off says nothing against the provider.
GOOD_CALLS: Final = frozenset({"ok", "stopped"})
# An answer is billed whether or not it could be read.
BILLED_CALLS: Final = frozenset({"ok", "bad_body"})

disable_created_metrics()  # type: ignore[no-untyped-call]
_registry = CollectorRegistry()


def _counted(metric: Metric) -> Counter:
    return Counter(metric.name, metric.help, metric.labels, registry=_registry)


def _timed(metric: Metric, buckets: Sequence[float]) -> Histogram:
    return Histogram(
        metric.name, metric.help, metric.labels, registry=_registry, buckets=tuple(buckets)
    )


def _highest(metric: Metric) -> Gauge:
    """The highest value of the processes that live counts for all of them."""
    return Gauge(
        metric.name, metric.help, metric.labels, registry=_registry, multiprocess_mode="livemax"
    )


_http_requests = _counted(HTTP_REQUESTS)
_http_request_duration = _timed(HTTP_REQUEST_DURATION, _REQUEST_BUCKETS)
_provider_calls = _counted(PROVIDER_CALLS)
_provider_call_duration = _timed(PROVIDER_CALL_DURATION, _CALL_BUCKETS)
_cache_reads = _counted(CACHE_READS)
_cache_mode = _highest(CACHE_MODE)
_cache_mode_since = _highest(CACHE_MODE_SINCE)
_scheduler_job = _highest(SCHEDULER_JOB)
_complained: set[str] = set()


def observe_request(*, method: str, route: str, status: int, seconds: float) -> None:
    """Count one request; `route` is the declared rule, never a path with ids in it."""
    tallies.count(tallies.Kind.REQUEST, seconds=seconds, errors=int(status >= FIRST_SERVER_ERROR))

    def count() -> None:
        requests, durations = _of_requests(method, route, status)
        requests.inc()
        durations.observe(seconds)

    _without_harm(count)


# Looking a sample up by its labels takes longer than counting.
@lru_cache(maxsize=1024)
def _of_requests(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return (
        _http_requests.labels(method, route, str(status)),
        _http_request_duration.labels(method, route),
    )


@lru_cache(maxsize=16)
def _of_cache_reads(outcome: str) -> Counter:
    return _cache_reads.labels(outcome)


def observe_provider_call(*, provider: str, outcome: str, seconds: float, price: int = 0) -> None:
    """Count one attempt to call a provider, which bills `price` credits for each answer."""
    tallies.count(
        tallies.Kind.CALL,
        provider,
        seconds=seconds,
        errors=int(outcome not in GOOD_CALLS),
        billed=price if outcome in BILLED_CALLS else 0,
    )

    def count() -> None:
        _provider_calls.labels(provider, outcome).inc()
        _provider_call_duration.labels(provider).observe(seconds)

    _without_harm(count)


def observe_cache_read(outcome: str) -> None:
    """Count one read through the cache: `memory`, `redis` or `built`."""
    tallies.count(tallies.Kind.READ, outcome)
    _without_harm(lambda: _of_cache_reads(outcome).inc())


def observe_cache_mode(mode: str, since: datetime) -> None:
    """Say which of `CACHE_MODES` serves the cache of this process, and since when."""

    def note() -> None:
        for known in CACHE_MODES:
            is_present = known == mode
            _cache_mode.labels(known).set(float(is_present))
            _cache_mode_since.labels(known).set(since.timestamp() if is_present else 0.0)

    _without_harm(note)


def observe_job(name: str) -> None:
    """Say that a job of this process's scheduler has just ended."""
    _without_harm(lambda: _scheduler_job.labels(name).set_to_current_time())


def process_samples() -> list[Sample]:
    """The process metrics as they stand, added up over all processes in multiprocess mode."""
    samples = []
    for family in process_families():
        for sample in family.samples:
            metric = METRICS.get(sample.name) or METRICS[family.name]
            suffix = sample.name.removeprefix(metric.name)
            samples.append(Sample(metric, sample.value, dict(sample.labels), suffix))
    return samples


def process_families() -> list[Family]:
    """The process metrics as prometheus_client has them; none where they can't be read."""
    folder = os.environ.get(MULTIPROCESS_VARIABLE)
    if not folder:
        return list(_registry.collect())
    try:
        collector = MultiProcessCollector(None, path=folder)  # type: ignore[no-untyped-call]
        return list(collector.collect())  # type: ignore[no-untyped-call]
    except (OSError, ValueError, RuntimeError) as error:
        _complain("process metrics cannot be read", error)
        return []


def _without_harm(count: Callable[[], None]) -> None:
    """Counting must never break what is counted: a full or locked metrics folder is logged once."""
    try:
        count()
    except OSError as error:
        _complain("process metrics cannot be written", error)


def _complain(event: str, error: Exception) -> None:
    if event not in _complained:
        _complained.add(event)
        logger.warning(event, extra={"error": str(error)})

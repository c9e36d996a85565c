"""Every metric name is declared here and nowhere else; business numbers are handed in, process
numbers are counted here.

Business metrics come from the database at the moment of the scrape, so every worker gives the same
answer. Process metrics use prometheus_client: with PROMETHEUS_MULTIPROC_DIR set before the first
import of this module each process keeps its own files there and a scrape adds them all up; without
it they are those of the one process.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app import tallies

logger = logging.getLogger(__name__)

PROMETHEUS_CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
MULTIPROCESS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
CACHE_MODES: Final = ("redis", "memory", "fallback")
_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_CALL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0)
FIRST_SERVER_ERROR: Final = 500
# A call that a stopping run broke off says nothing against the provider.
GOOD_CALLS: Final = frozenset({"ok", "stopped"})
# An answer is billed whether or not it could be read.
BILLED_CALLS: Final = frozenset({"ok", "bad_body"})


class Kind(StrEnum):
    """How a metric moves: a counter only grows, a gauge goes both ways."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """A name with its meaning and the labels that every sample of it carries."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of a metric; `ValueError` where its labels are not those declared.

    `suffix` is for histograms, whose samples are `_bucket` (with the label `le`), `_sum` and
    `_count`.
    """

    metric: Metric
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""

    def __post_init__(self) -> None:
        declared = {*self.metric.labels, *(("le",) if self.suffix == "_bucket" else ())}
        if set(self.labels) != declared:
            raise ValueError(f"{self.metric.name} has the labels {sorted(declared)}")

    @property
    def name(self) -> str:
        """The name as it stands in the exposition."""
        return self.metric.name + self.suffix


_declared: dict[str, Metric] = {}
METRICS: Final[Mapping[str, Metric]] = MappingProxyType(_declared)


def _declare(name: str, kind: Kind, about: str, labels: tuple[str, ...]) -> Metric:
    metric = Metric(name, kind, about, labels)
    if _declared.setdefault(name, metric) is not metric:
        raise ValueError(f"two metrics are called {name}")
    return metric


def _counter(name: str, about: str, *labels: str) -> Metric:
    return _declare(name, Kind.COUNTER, about, labels)


def _gauge(name: str, about: str, *labels: str) -> Metric:
    return _declare(name, Kind.GAUGE, about, labels)


def _histogram(name: str, about: str, *labels: str) -> Metric:
    return _declare(name, Kind.HISTOGRAM, about, labels)


# Business metrics: read from the database at every scrape.
INGESTION_SUCCESS = _counter("ingestion_success_total", "Runs that ended as succeeded.")
INGESTION_PARTIAL = _counter("ingestion_partial_total", "Runs that kept only a part.")
INGESTION_FAILURE = _counter("ingestion_failure_total", "Runs that failed and changed nothing.")
INGESTION_CANCELLED = _counter("ingestion_cancelled_total", "Runs that were cancelled.")
INGESTION_ABANDONED = _counter("ingestion_abandoned_total", "Runs whose process died.")
INGESTION_RUNS = _counter(
    "ingestion_runs_total",
    "Finished runs by status, trigger and provider.",
    "status",
    "trigger",
    "provider",
)
INGESTION_ACTIVE = _gauge("ingestion_active", "1 while a run is in progress, else 0.")
INGESTION_DURATION_MS = _gauge("ingestion_duration_ms", "Milliseconds the last run took.")
INGESTION_DURATION_SECONDS = _gauge("ingestion_duration_seconds", "Seconds the last run took.")
INGESTION_STAGE_DURATION_SECONDS = _gauge(
    "ingestion_stage_duration_seconds", "Seconds a stage of the last run took.", "stage"
)
INGESTION_MARKETS = _gauge("ingestion_markets", "Markets the last run ingested.")
INGESTION_ROWS_FETCHED = _counter(
    "ingestion_rows_fetched_total", "Rows that stages were given.", "stage"
)
INGESTION_ROWS_INSERTED = _counter(
    "ingestion_rows_inserted_total", "Rows that stages added.", "stage"
)
INGESTION_ROWS_UPDATED = _counter(
    "ingestion_rows_updated_total", "Rows that stages changed.", "stage"
)
INGESTION_ROWS_UNCHANGED = _counter(
    "ingestion_rows_unchanged_total", "Rows that stages found to be stored already.", "stage"
)
INGESTION_ROWS_REJECTED = _counter(
    "ingestion_rows_rejected_total", "Provider rows set aside.", "provider", "kind", "reason"
)
INGESTION_LAST_SUCCESS = _gauge(
    "ingestion_last_success_timestamp_seconds",
    "Unix time at which the last succeeded or partial run ended.",
)
INGESTION_FRESHNESS = _gauge(
    "ingestion_freshness_seconds", "Age of the newest snapshot of a market.", "market"
)
ALERTS_OPEN = _gauge("alerts_open", "Alerts that are firing, by severity.", "severity")
DATABASE_UP = _gauge("database_up", "1 when the database answered this scrape, else 0.")

# Process metrics: counted where they happen.
HTTP_REQUESTS = _counter("http_requests_total", "Requests served.", "method", "route", "status")
HTTP_REQUEST_DURATION = _histogram(
    "http_request_duration_seconds",
    "Seconds from a request's arrival to its answer.",
    "method",
    "route",
)
PROVIDER_CALLS = _counter(
    "provider_calls_total", "Attempts to call a provider.", "provider", "outcome"
)
PROVIDER_CALL_DURATION = _histogram(
    "provider_call_duration_seconds", "Seconds one attempt to call a provider took.", "provider"
)
CACHE_READS = _counter(
    "cache_reads_total",
    "Reads through the cache by who answered: memory, redis or built.",
    "outcome",
)
CACHE_MODE = _gauge(
    "cache_mode", "1 for a tier that serves the cache of a process now, 0 for the others.", "mode"
)
CACHE_MODE_SINCE = _gauge(
    "cache_mode_timestamp_seconds",
    "Unix time at which a process last began to serve its cache from this tier; 0 for the others.",
    "mode",
)
SCHEDULER_JOB = _gauge(
    "scheduler_job_timestamp_seconds",
    "Unix time at which a job of the scheduler ended last, whatever came of it.",
    "name",
)

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
    for family in _process_families():
        for sample in family.samples:
            metric = METRICS.get(sample.name) or METRICS[family.name]
            suffix = sample.name.removeprefix(metric.name)
            samples.append(Sample(metric, sample.value, dict(sample.labels), suffix))
    return samples


def render_prometheus(business: Sequence[Sample]) -> bytes:
    """Business and process metrics in Prometheus' text format (`PROMETHEUS_CONTENT_TYPE`)."""
    return generate_latest(_Exposition(business))


class _Exposition(Collector):
    """Both kinds of metrics in the form that prometheus_client writes."""

    def __init__(self, business: Sequence[Sample]) -> None:
        self._business = business

    def collect(self) -> Iterator[Family]:
        yield from _business_families(self._business)
        yield from _process_families()


def _business_families(samples: Iterable[Sample]) -> Iterable[Family]:
    families: dict[str, Family] = {}
    for sample in samples:
        metric = sample.metric
        # prometheus_client puts the `_total` of a counter's name back by itself.
        name = metric.name.removesuffix("_total") if metric.kind is Kind.COUNTER else metric.name
        family = families.setdefault(name, Family(name, metric.help, metric.kind.value))
        labels = {key: _writable(value) for key, value in sample.labels.items()}
        family.add_sample(sample.name, labels, sample.value)
    return families.values()


def _process_families() -> Iterable[Family]:
    folder = os.environ.get(MULTIPROCESS_VARIABLE)
    if not folder:
        return list(_registry.collect())
    try:
        collector = MultiProcessCollector(None, path=folder)  # type: ignore[no-untyped-call]
        return list(collector.collect())  # type: ignore[no-untyped-call]
    except (OSError, ValueError, RuntimeError) as error:
        _complain("process metrics cannot be read", error)
        return []


def _writable(text: str) -> str:
    """A label value that UTF-8 can carry: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


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

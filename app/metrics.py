"""Every metric name is declared here and nowhere else, with its kind, meaning and labels.

Business metrics come from the database at the moment of the scrape, so every worker gives the same
answer; process metrics are counted where they happen (`app/metrics_counting.py`). What a scrape
reads is put together in `app/metrics_exposition.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

CACHE_MODES: Final = ("redis", "memory", "fallback")


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
ALERT_DELIVERIES = _gauge(
    "alert_deliveries",
    "Messages about alerts that did not arrive: waiting, retrying after a failure, or dead.",
    "status",
)
PROVIDER_BREAKER_OPEN = _gauge(
    "provider_breaker_open",
    "Processes that do not ask a provider after repeated failures; of the one in use 0 too.",
    "provider",
)
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

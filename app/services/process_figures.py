"""What the web processes have counted since they started: requests, provider calls, cache reads."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app import metrics
from app.metrics import Metric, Sample
from app.metrics_counting import GOOD_CALLS, process_samples

_SERVER_ERRORS = "5"


@dataclass(frozen=True, slots=True)
class Figure:
    """How often something happened, how often it failed, and how long it took in milliseconds.

    `p90_ms` is estimated from the buckets of a histogram, None above the last of them.
    """

    name: str
    count: int
    errors: int
    mean_ms: int | None
    p90_ms: int | None


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """The figures of all processes of this server, the most frequent first."""

    routes: tuple[Figure, ...]
    providers: tuple[Figure, ...]
    cache_reads: Mapping[str, int]

    @property
    def cache_hit_share(self) -> float | None:
        """The share of cache reads that built nothing, None before the first."""
        reads = sum(self.cache_reads.values())
        return 1 - self.cache_reads.get("built", 0) / reads if reads else None


@dataclass(slots=True)
class _Tally:
    count: float = 0
    errors: float = 0
    seconds: float = 0
    timed: float = 0
    buckets: dict[float, float] | None = None


def load_process_figures() -> ProcessFigures:
    """The figures as they stand; asks nothing of the database."""
    samples = process_samples()
    return ProcessFigures(
        routes=_figures(samples, metrics.HTTP_REQUESTS, metrics.HTTP_REQUEST_DURATION),
        providers=_figures(samples, metrics.PROVIDER_CALLS, metrics.PROVIDER_CALL_DURATION),
        cache_reads=_by_outcome(samples, metrics.CACHE_READS),
    )


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """The value below which `share` of the observations lie, as Prometheus' histogram_quantile.

    `buckets` maps upper bounds to cumulative counts, infinity included. None without observations
    and where the answer lies above the last finite bound.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0
    if not total:
        return None
    wanted, below, floor = share * total, 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= wanted:
            inside = buckets[bound] - below
            part = (wanted - below) / inside if inside else 1.0
            return None if math.isinf(bound) else floor + (bound - floor) * part
        below, floor = buckets[bound], bound
    return None


def _figures(samples: Iterable[Sample], counted: Metric, timed: Metric) -> tuple[Figure, ...]:
    tallies: dict[str, _Tally] = defaultdict(_Tally)
    for sample in samples:
        tally = tallies[_subject(sample)] if sample.metric in (counted, timed) else None
        if tally is None:
            continue
        if sample.metric is counted:
            tally.count += sample.value
            tally.errors += sample.value if _is_error(sample.labels) else 0
        elif sample.suffix == "_sum":
            tally.seconds += sample.value
        elif sample.suffix == "_count":
            tally.timed += sample.value
        else:
            _add_bucket(tally, float(sample.labels["le"]), sample.value)
    found = [_figure(name, tally) for name, tally in tallies.items() if tally.count]
    return tuple(sorted(found, key=lambda figure: (-figure.count, figure.name)))


def _subject(sample: Sample) -> str:
    labels = sample.labels
    return f"{labels['method']} {labels['route']}" if "route" in labels else labels["provider"]


def _is_error(labels: Mapping[str, str]) -> bool:
    if "status" in labels:
        return labels["status"].startswith(_SERVER_ERRORS)
    return labels["outcome"] not in GOOD_CALLS


def _add_bucket(tally: _Tally, bound: float, count: float) -> None:
    tally.buckets = tally.buckets or {}
    tally.buckets[bound] = tally.buckets.get(bound, 0) + count


def _figure(name: str, tally: _Tally) -> Figure:
    p90 = quantile(tally.buckets or {}, 0.9)
    return Figure(
        name=name,
        count=int(tally.count),
        errors=int(tally.errors),
        mean_ms=round(1000 * tally.seconds / tally.timed) if tally.timed else None,
        p90_ms=None if p90 is None else round(1000 * p90),
    )


def _by_outcome(samples: Iterable[Sample], metric: Metric) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for sample in samples:
        if sample.metric is metric:
            found[sample.labels["outcome"]] += int(sample.value)
    return dict(found)

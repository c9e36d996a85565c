"""Which charts the page of metrics shows, and what each of their lines means."""

from collections.abc import Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Any

from app.services.operation_views import Operations
from app.web.trends import Trend, TrendLine, build_trend

NO_RUN = "Nothing to draw in this range: no run ended in it."
NOT_COUNTED = "Nothing was counted in this range."
_TABLE_TONES = (1, 2, 3, 5)


def build_trends(operations: Operations, *, limit: timedelta) -> tuple[Trend, ...]:
    """The line charts in the order of the page; `limit` is how old data may be."""
    return (
        *_run_trends(operations, limit),
        *_provider_trends(operations),
        *_request_trends(operations),
        _size_trend(operations),
    )


def _run_trends(operations: Operations, limit: timedelta) -> tuple[Trend, ...]:
    buckets = operations.buckets
    nothing = "" if operations.runs else NO_RUN
    longest = _line("longest", 1, buckets, "age_ms")
    allowed = tuple(limit // timedelta(milliseconds=1) for _ in buckets)
    return (
        build_trend(
            "took",
            "Run duration",
            "Runs that brought data; half of them took less than the median, nine of ten less "
            "than p90.",
            "ms",
            [_line("median", 1, buckets, "took_p50_ms"), _line("p90", 2, buckets, "took_p90_ms")],
            nothing=nothing,
        ),
        build_trend(
            "age",
            "Longest time without new data",
            "How long no run had brought data, at its longest; above the limit data counts as "
            "late.",
            "ms",
            [longest, TrendLine("limit", 5, allowed)],
            nothing="" if longest.newest is not None else "No run has brought data so far.",
        ),
        build_trend(
            "rows",
            "Rows by outcome",
            "New, replaced and set aside; rows that were stored already are in the table.",
            "count",
            [
                _line("new", 1, buckets, "inserted"),
                _line("updated", 3, buckets, "updated"),
                _line("rejected", 2, buckets, "rejected"),
            ],
            nothing=nothing,
        ),
        build_trend(
            "fetch",
            "Fetching from the provider",
            "The stage that asks the provider: all its calls, pauses between them included.",
            "ms",
            [_line("median", 1, buckets, "fetch_p50_ms"), _line("p90", 2, buckets, "fetch_p90_ms")],
            nothing=nothing,
        ),
    )


def _provider_trends(operations: Operations) -> tuple[Trend, ...]:
    buckets = operations.counted.buckets
    lines = [_line("calls", 1, buckets, "calls"), _line("failed", 2, buckets, "call_errors")]
    about = "Every attempt to call a provider, and those of them that failed."
    if any(bucket.credits for bucket in buckets):
        lines.append(_line("credits", 3, buckets, "credits"))
        about = "Every attempt to call a provider, those that failed, and the credits it bills."
    nothing = "" if any(bucket.calls for bucket in buckets) else NOT_COUNTED
    return (
        build_trend("calls", "Provider calls", about, "count", lines, nothing=nothing),
        build_trend(
            "call-time",
            "Latency of the provider",
            "One attempt to call a provider; estimated from classes of durations.",
            "ms",
            [_line("median", 1, buckets, "call_p50_ms"), _line("p90", 2, buckets, "call_p90_ms")],
            nothing=nothing,
        ),
    )


def _request_trends(operations: Operations) -> tuple[Trend, ...]:
    buckets = operations.counted.buckets
    nothing = "" if any(bucket.requests for bucket in buckets) else NOT_COUNTED
    reads = {
        name: tuple((bucket.reads or {}).get(name, 0) for bucket in buckets)
        for name in ("memory", "redis", "built")
    }
    return (
        build_trend(
            "requests",
            "HTTP requests",
            "Requests served, and those that ended with a server error (5xx).",
            "count",
            [
                _line("requests", 1, buckets, "requests"),
                _line("errors", 2, buckets, "request_errors"),
            ],
            nothing=nothing,
        ),
        build_trend(
            "request-time",
            "HTTP latency",
            "From a request’s arrival to its answer; estimated from classes of durations.",
            "ms",
            [
                _line("median", 1, buckets, "request_p50_ms"),
                _line("p90", 2, buckets, "request_p90_ms"),
            ],
            nothing=nothing,
        ),
        build_trend(
            "reads",
            "Cache reads",
            "Who answered: memory, Redis, or nobody, so that the answer was built anew.",
            "count",
            [
                TrendLine("memory", 1, reads["memory"]),
                TrendLine("Redis", 3, reads["redis"]),
                TrendLine("built", 2, reads["built"]),
            ],
            nothing="" if any(map(sum, reads.values())) else NOT_COUNTED,
        ),
    )


def _size_trend(operations: Operations) -> Trend:
    courses = operations.counted.sizes
    lines = [
        TrendLine(course.name or "database", tone, course.sizes)
        for tone, course in zip(_TABLE_TONES, courses, strict=False)
    ]
    return build_trend(
        "sizes",
        "Database size",
        "The whole database and its largest tables, with their indexes.",
        "bytes",
        lines,
        nothing="" if lines else "No size has been noted yet; it is, once a minute.",
    )


def _line(label: str, tone: int, buckets: Sequence[Any], value: str) -> TrendLine:
    return TrendLine(label, tone, tuple(map(attrgetter(value), buckets)))

"""What the processes counted over a stretch of time, as it was put down by the hour."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from app.database.base import AnySession
from app.services.process_figures import quantile
from app.tallies import BOUNDS, Kind, Tally

TABLES_DRAWN = 3
# Counted events, one row for each class of durations, the sums in the first; then the largest
# tables and the whole database (without a name) as they were at the end of each step.
_HISTORY = """
    WITH drawn AS (
        SELECT n.name, last.bytes
        FROM (SELECT DISTINCT name FROM storage_size) n
        CROSS JOIN LATERAL (SELECT s.bytes FROM storage_size s WHERE s.name = n.name
                            ORDER BY s.measured_at DESC LIMIT 1) last
        ORDER BY n.name <> '', last.bytes DESC LIMIT :tables + 1
    )
    SELECT f.kind, date_bin(make_interval(secs => :step), f.began_at, :start) AS began_at,
           CASE f.kind WHEN 'read' THEN f.name ELSE '' END AS name, coalesce(u.place, 1) AS place,
           coalesce(sum(u.part), 0) AS part, sum(f.count) AS count, sum(f.errors) AS errors,
           sum(f.credits) AS credits
    FROM process_figure f LEFT JOIN LATERAL unnest(f.spread) WITH ORDINALITY AS u (part, place)
        ON true
    WHERE f.began_at >= :start AND f.began_at < :end
    GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT 'size', b.began_at, d.name, 1, known.bytes, d.bytes, 0, 0
    FROM drawn d
    CROSS JOIN generate_series(CAST(:start AS timestamptz), CAST(:end AS timestamptz)
             - interval '1 microsecond', make_interval(secs => :step)) AS b (began_at)
    CROSS JOIN LATERAL (
        SELECT s.bytes FROM storage_size s
        WHERE s.name = d.name AND s.measured_at < b.began_at + make_interval(secs => :step)
        ORDER BY s.measured_at DESC LIMIT 1
    ) known
"""
_SIZE = "size"


@dataclass(frozen=True, slots=True)
class FigureBucket:
    """What was counted in one step; times in milliseconds, None where nothing was.

    `reads` tells how many reads through the cache were answered by memory, redis, or built.
    """

    requests: int = 0
    request_errors: int = 0
    request_p50_ms: int | None = None
    request_p90_ms: int | None = None
    calls: int = 0
    call_errors: int = 0
    credits: int = 0
    call_p50_ms: int | None = None
    call_p90_ms: int | None = None
    reads: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class TableCourse:
    """The size of a table in bytes at the end of each step; the whole database has no name."""

    name: str
    sizes: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class FigureHistory:
    """A bucket for each step from the start on, and the sizes of the largest tables."""

    buckets: tuple[FigureBucket, ...]
    sizes: tuple[TableCourse, ...]


def load_figure_history(
    session: AnySession, *, start: datetime, end: datetime, step: timedelta
) -> FigureHistory:
    """The history of `[start, end)` in steps, in one query."""
    places = [start + number * step for number in range(math.ceil((end - start) / step))]
    values = {"start": start, "end": end, "step": step.total_seconds(), "tables": TABLES_DRAWN}
    rows = session.execute(text(_HISTORY), values).all()
    tallies = _add_up(row for row in rows if row.kind != _SIZE)
    return FigureHistory(
        buckets=tuple(_bucket(tallies.get(place, {})) for place in places),
        sizes=tuple(_courses((row for row in rows if row.kind == _SIZE), places)),
    )


def _add_up(rows: Iterable[Any]) -> dict[datetime, dict[tuple[str, str], Tally]]:
    found: dict[datetime, dict[tuple[str, str], Tally]] = defaultdict(dict)
    for row in rows:
        tally = found[row.began_at].setdefault((row.kind, row.name), Tally())
        if row.place == 1:
            tally.count, tally.errors = int(row.count), int(row.errors)
            tally.credits = int(row.credits)
        tally.add(Tally(spread=[*[0] * (row.place - 1), int(row.part)]))
    return found


def _bucket(tallies: Mapping[tuple[str, str], Tally]) -> FigureBucket:
    requests = tallies.get((Kind.REQUEST, ""), Tally())
    calls = tallies.get((Kind.CALL, ""), Tally())
    reads = {name: tally.count for (kind, name), tally in tallies.items() if kind == Kind.READ}
    return FigureBucket(
        requests=requests.count,
        request_errors=requests.errors,
        request_p50_ms=_quantile_ms(requests.spread, 0.5),
        request_p90_ms=_quantile_ms(requests.spread, 0.9),
        calls=calls.count,
        call_errors=calls.errors,
        credits=calls.credits,
        call_p50_ms=_quantile_ms(calls.spread, 0.5),
        call_p90_ms=_quantile_ms(calls.spread, 0.9),
        reads=reads,
    )


def _quantile_ms(spread: Sequence[int], share: float) -> int | None:
    """Estimated from the classes; the last bound stands for what is longer."""
    total, cumulative = 0, {}
    for bound, part in zip((*BOUNDS, math.inf), spread, strict=False):
        total += part
        cumulative[bound] = float(total)
    if not total:
        return None
    found = quantile(cumulative, share)
    return round(1000 * (BOUNDS[-1] if found is None else found))


def _courses(rows: Iterable[Any], places: Sequence[datetime]) -> Iterable[TableCourse]:
    """The largest at present first."""
    found: dict[str, dict[datetime, int]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: (-row.count, row.name)):
        found[row.name][row.began_at] = int(row.part)
    for name, sizes in found.items():
        yield TableCourse(name, tuple(sizes.get(place) for place in places))

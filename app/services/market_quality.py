"""How whole the hourly candles of a market are, and why those that are missing are missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from app.analytics.quality import find_gaps
from app.domain import DAY, HOUR, Granularity

LOOK_BACK = 30 * DAY
# Parameters of both: market_id, quality_from and quality_until. Of several providers the one seen
# last counts, as for candles.
_PROVIDER = """
    (SELECT l.provider FROM listing l WHERE l.market_id = found.id
     ORDER BY l.seen_at DESC, l.provider LIMIT 1)
"""
OPENINGS = f"""
    ARRAY(SELECT a.opened_at FROM market_aggregate a
          WHERE a.market_id = found.id AND a.provider = {_PROVIDER} AND a.granularity = 'hourly'
            AND a.opened_at >= :quality_from AND a.opened_at < :quality_until
          ORDER BY a.opened_at)
"""  # noqa: S608 - made of the constant above
# True where there are fewer candles than hours; beside `OPENINGS` as `openings`.
HAS_GAPS = """
    cardinality(openings) * interval '1 hour' < CAST(:quality_until AS timestamptz) - openings[1]
"""
# What ran in each hour: good runs, runs that failed, and those that could not serve this market.
HOURS_WITH_RUNS = f"""
    (SELECT coalesce(jsonb_object_agg(extract(epoch FROM h.opened_at)::bigint, to_jsonb(h)), '{{}}')
     FROM (SELECT date_trunc('hour', r.started_at, 'UTC') AS opened_at,
                  count(*) FILTER (WHERE r.status IN ('succeeded', 'partial')) AS good,
                  count(*) FILTER (WHERE r.status NOT IN ('succeeded', 'partial')) AS failed,
                  count(*) FILTER (WHERE r.problem_count > 0 AND r.problems @>
                      jsonb_build_array(jsonb_build_object('symbol', found.symbol))) AS refused
           FROM ingestion_run r
           WHERE r.started_at >= :quality_from AND r.started_at < :quality_until
             AND r.provider = {_PROVIDER}
             AND (r.symbols = '{{}}' OR found.symbol = ANY(r.symbols))
           GROUP BY 1) h)
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class QualityGap:
    """Missing hourly candles in `[start_at, end_at)` with one cause.

    `cause` is no_run, run_failed, market_failed or no_data (runs were good, but brought nothing for
    these hours that could be kept). Candles that were set aside leave no instant behind, so they
    are among no_run and no_data.
    """

    start_at: datetime
    end_at: datetime
    missing_count: int
    cause: str


@dataclass(frozen=True, slots=True)
class MarketQuality:
    """The hourly candles in `[start_at, end_at)`: how many there should be, are, and the gaps.

    It begins with the first candle of the look-back of 30 days; None where there is no candle.
    """

    start_at: datetime
    end_at: datetime
    expected_count: int
    present_count: int
    gaps: tuple[QualityGap, ...]

    @property
    def missing_by_cause(self) -> dict[str, int]:
        """How many candles are missing for each cause, the largest number first."""
        counts: dict[str, int] = {}
        for gap in self.gaps:
            counts[gap.cause] = counts.get(gap.cause, 0) + gap.missing_count
        return dict(sorted(counts.items(), key=lambda item: -item[1]))


def quality_values(now: datetime) -> dict[str, datetime]:
    """The parameters of the statements here: whole hours up to the present one, exclusive."""
    until = Granularity.HOURLY.floor(now)
    return {"quality_from": until - LOOK_BACK, "quality_until": until}


def judge_quality(
    openings: Sequence[datetime], runs: Mapping[str, Mapping[str, Any]], *, until: datetime
) -> MarketQuality | None:
    """The gaps between the first opening and `until`, split where their cause changes."""
    if not openings:
        return None
    start = min(openings)
    found = find_gaps(openings, Granularity.HOURLY, start=start, end=until)
    gaps = []
    for gap in found.gaps:
        hours = [gap.start_at + number * HOUR for number in range(gap.missing_count)]
        for cause, same in groupby(hours, key=lambda hour: _cause(hour, runs)):
            gaps.append(_gap(list(same), cause))
    return MarketQuality(start, until, found.expected_count, found.present_count, tuple(gaps))


def _gap(hours: Sequence[datetime], cause: str) -> QualityGap:
    return QualityGap(hours[0], hours[-1] + timedelta(hours=1), len(hours), cause)


def _cause(hour: datetime, runs: Mapping[str, Mapping[str, Any]]) -> str:
    ran = runs.get(str(int(hour.timestamp())))
    if ran is None:
        return "no_run"
    if ran["refused"]:
        return "market_failed"
    return "no_data" if ran["good"] else "run_failed"

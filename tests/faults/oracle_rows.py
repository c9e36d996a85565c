"""What must be true of the rows that runs stored: each whole and of one attempt, or not there."""

from collections.abc import Iterator

from sqlalchemy import Connection, text

from tests.faults.deck import MARKETS

_DATA = ("market_snapshot", "market_aggregate", "market_comparison", "market_roi_statistic")
_RUNS = """
    SELECT r.id, r.status, r.attempt, r.snapshots_ingested, r.comparisons_ingested,
           r.roi_stats_ingested,
           coalesce(s.rows, 0) AS snapshots, coalesce(s.signatures, 0) AS signatures,
           coalesce(c.rows, 0) AS comparisons, coalesce(c.kinds, 0) AS comparison_kinds,
           coalesce(i.rows, 0) AS statistics, coalesce(i.uneven, 0) AS uneven
    FROM ingestion_run r
    LEFT JOIN (SELECT run_id, count(*) AS rows, min(observed_at) AS observed_at,
                      count(DISTINCT (price, observed_at)) AS signatures
               FROM market_snapshot GROUP BY run_id) s ON s.run_id = r.id
    LEFT JOIN (SELECT run_id, count(*) AS rows,
                      count(DISTINCT (observed_at, price_ratio)) AS kinds
               FROM market_comparison GROUP BY run_id) c ON c.run_id = r.id
    LEFT JOIN (SELECT run_id, sum(rows) AS rows,
                      count(*) FILTER (WHERE rows <> :markets OR kinds <> 1) AS uneven
               FROM (SELECT run_id, "window", count(*) AS rows,
                            count(DISTINCT (last_at, roi_pct, max_drawdown, volatility)) AS kinds
                     FROM market_roi_statistic GROUP BY run_id, "window") w
               GROUP BY run_id) i ON i.run_id = r.id
    WHERE r.trigger <> 'cli' ORDER BY r.started_at
"""
# All markets have the same prices, so their candles of one interval are the same, and one run's.
_UNEVEN = """
    SELECT granularity, opened_at, count(*) AS rows,
           count(DISTINCT (open, high, low, close, sample_count, run_id)) AS kinds
    FROM market_aggregate GROUP BY granularity, opened_at
    HAVING count(*) <> :markets
        OR count(DISTINCT (open, high, low, close, sample_count, run_id)) <> 1
"""
_WRONG_CANDLES = """
    SELECT count(*) FROM (
        SELECT market_id, unit, (date_trunc(truncated, observed_at AT TIME ZONE 'UTC')
               AT TIME ZONE 'UTC') AS opened_at,
               (array_agg(price ORDER BY observed_at))[1] AS open, max(price) AS high,
               min(price) AS low, (array_agg(price ORDER BY observed_at DESC))[1] AS close,
               count(*) AS rows
        FROM market_snapshot
        CROSS JOIN (VALUES ('hourly', 'hour'), ('daily', 'day'), ('weekly', 'week'))
                   AS u(unit, truncated)
        GROUP BY 1, 2, 3) s
    FULL JOIN market_aggregate a
      ON a.market_id = s.market_id AND a.granularity = s.unit AND a.opened_at = s.opened_at
    WHERE (a.open, a.high, a.low, a.close, a.sample_count)
          IS DISTINCT FROM (s.open, s.high, s.low, s.close, s.rows)
"""
_WRONG_COMPARISONS = """
    SELECT count(*) FROM market_comparison c
    WHERE price_ratio IS DISTINCT FROM 1 OR NOT EXISTS (
        SELECT FROM market_snapshot s WHERE s.market_id = c.market_id
        AND s.observed_at = c.observed_at AND s.run_id = c.run_id)
"""


def wrong_rows(connection: Connection) -> Iterator[str]:
    """Every fault of the stored rows, in words."""
    values = {"markets": MARKETS}
    for run in connection.execute(text(_RUNS), values):
        yield from _wrong_of_run(run)
    for table in _DATA:
        orphans = connection.execute(text(_orphans(table))).scalar_one()
        if orphans:
            yield f"{orphans} rows of {table} belong to no run that kept anything"
    for one in connection.execute(text(_UNEVEN), values):
        yield (
            f"the {one.granularity} candles of {one.opened_at} are {one.rows} rows of "
            f"{one.kinds} kinds"
        )
    candles = connection.execute(text(_WRONG_CANDLES)).scalar_one()
    if candles:
        yield f"{candles} candles are not what the snapshots say"
    comparisons = connection.execute(text(_WRONG_COMPARISONS)).scalar_one()
    if comparisons:
        yield f"{comparisons} comparisons are not of their run's snapshots"


def _wrong_of_run(run: object) -> Iterator[str]:
    """All of one attempt, or nothing, in each of the tables; and the counts that the run gives."""
    found = run._mapping  # type: ignore[attr-defined]
    who = f"run {found['id']} {found['status']} at attempt {found['attempt']} has"
    is_kept = found["status"] in ("succeeded", "partial")
    if found["status"] == "running":
        return
    if (found["snapshots"], found["signatures"]) != ((MARKETS, 1) if is_kept else (0, 0)):
        yield f"{who} {found['snapshots']} rows of {found['signatures']} attempts"
    pairs = MARKETS - 1
    if (found["comparisons"], found["comparison_kinds"]) != ((pairs, 1) if is_kept else (0, 0)):
        yield f"{who} {found['comparisons']} comparisons of {found['comparison_kinds']} moments"
    if found["uneven"] or (found["statistics"] and not is_kept):
        yield f"{who} ROI statistics of {found['uneven']} windows that are not those of one attempt"
    counted = [found[f"{name}_ingested"] for name in ("snapshots", "comparisons", "roi_stats")]
    stored = [found[name] for name in ("snapshots", "comparisons", "statistics")]
    if is_kept and counted != stored:
        yield f"{who} {stored} rows and says {counted}"


def _orphans(table: str) -> str:
    return f"""
        SELECT count(*) FROM {table} d WHERE NOT EXISTS (
            SELECT FROM ingestion_run r
            WHERE r.id = d.run_id AND r.status IN ('succeeded', 'partial', 'running'))
    """

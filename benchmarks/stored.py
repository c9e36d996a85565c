"""Stored data of any size, made by the server itself: markets with their history, runs, alerts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from app.database.run_counts import count_finished_runs

_MARKETS = """
    INSERT INTO market (symbol, name, asset_type, quote, created_at)
    SELECT 'M' || lpad(n::text, 5, '0') || '-USD', 'Market ' || n,
           (ARRAY['crypto', 'index', 'equity'])[1 + n % 3], 'USD', now() - interval '400 days'
    FROM generate_series(1, :markets) n;
    INSERT INTO listing (market_id, provider, provider_id, quote, provider_symbol, name, rank,
                         chosen_by, seen_at)
    SELECT id, 'mock', symbol, 'USD', symbol, name, id, 'provider', now() FROM market
"""
# The newest snapshot of every market is about as old as a quarter-hourly schedule would have it.
_SNAPSHOTS = """
    INSERT INTO market_snapshot (market_id, provider, observed_at, price, volume, market_cap,
        volatility, roi_1h_pct, roi_24h_pct, roi_7d_pct, roi_30d_pct, run_id)
    SELECT m.id, 'mock', now() - h * interval '15 minutes' - m.id % 50 * interval '1 second',
           100 + h / 7.0 + m.id, 5000.25 * m.id, 1e9 / m.id, 0.0123, 0.1, 0.2, 0.3, 0.4,
           gen_random_uuid()
    FROM generate_series(:snapshots, 1, -1) h, market m;
    UPDATE listing l SET observed_at = s.observed_at FROM (
        SELECT market_id, max(observed_at) AS observed_at FROM market_snapshot GROUP BY market_id
    ) s WHERE s.market_id = l.market_id
"""
_CANDLES = """
    INSERT INTO market_aggregate (market_id, provider, granularity, opened_at, open, high, low,
        close, volume, average, volatility, change_pct, sample_count, is_final, basis, run_id)
    SELECT m.id, 'mock', 'hourly', date_trunc('hour', now()) - h * interval '1 hour',
           100 + h % 7, 109 + h % 7, 99, 100 + h % 7 + m.id % 5, 5000.25, 103, 0.0123, 0.5, 60,
           true, 'provider', gen_random_uuid()
    FROM generate_series(:hours, 1, -1) h, market m
"""
_STATISTICS = """
    INSERT INTO market_roi_statistic (market_id, provider, "window", last_at, grid, sample_count,
        expected_count, periods_per_year, risk_free_rate, minimum_acceptable_return, roi_pct,
        sharpe, run_id)
    SELECT m.id, 'mock', w, date_trunc('hour', now()) - d * interval '1 hour', 'hourly', 24, 24,
           8760, 0, 0, 1.5, 0.3, gen_random_uuid()
    FROM generate_series(3, 1, -1) d, market m, unnest(ARRAY['1h', '24h', '7d', '30d']) w
"""
_COMPARISONS = """
    INSERT INTO market_comparison (market_id, against_market_id, provider, observed_at, price_ratio,
        run_id)
    SELECT m.id, 1, 'mock', date_trunc('hour', now()) - d * interval '1 hour', 1.5,
           gen_random_uuid()
    FROM generate_series(3, 1, -1) d, market m WHERE m.id BETWEEN 2 AND 60
"""
_RUNS = """
    INSERT INTO ingestion_run (id, status, trigger, provider, owner, started_at, heartbeat_at,
        lease_until, deadline_at, finished_at, duration_ms, fetched, inserted, problem_count,
        rejected, error_class, error_message)
    SELECT gen_random_uuid(),
        (ARRAY['succeeded', 'succeeded', 'partial', 'failed', 'succeeded'])[1 + n % 5],
        (ARRAY['scheduler', 'cron', 'manual'])[1 + n % 3], 'mock', 'nobody:1', t, t, t, t,
        t + interval '1 s', 500 + n % 997, 250, 250, n % 2, 3,
        CASE WHEN n % 5 = 3 THEN 'TransientProviderError' END,
        CASE WHEN n % 5 = 3 THEN 'HTTP 429' END
    FROM (SELECT n, now() - n * interval '15 minutes' AS t
          FROM generate_series(:runs, 1, -1) n) g;
    INSERT INTO run_stage (run_id, attempt, position, name, status, started_at, duration_ms,
        fetched, inserted, updated, unchanged)
    SELECT r.id, 1, s.place, s.name, 'succeeded', r.started_at, 50 + s.place, 250, 250, 1, 2
    FROM ingestion_run r, unnest(CAST(:stages AS text[])) WITH ORDINALITY s(name, place);
    INSERT INTO rejected_row (run_id, provider, kind, reason, detail, raw)
    SELECT r.id, 'mock', 'snapshot', 'price_missing', 'No price.', '{}'
    FROM ingestion_run r, generate_series(1, :details) n;
    INSERT INTO run_log_line (run_id, attempt, position, logged_at, level, logger, event)
    SELECT r.id, 1, n, r.started_at, (ARRAY['info', 'warning', 'error'])[1 + n % 3], 'app', 'line'
    FROM ingestion_run r, generate_series(1, :details) n;
    INSERT INTO schedule_tick (schedule, due_at, status, claimed_by, claimed_at, run_id)
    SELECT 'ingestion', started_at, 'ran', 'nobody:1', started_at, id FROM ingestion_run
"""
# For every fourth run an alert that is over, and the message that told of it; a few are open.
_ALERTS = """
    INSERT INTO alert (rule, subject, severity, state, title, text, pending_at, fired_at,
        notified_at, resolved_at)
    SELECT 'run_failed', n::text, 'warning', 'resolved', 'A run failed', 'It did.', t, t, t, t
    FROM (SELECT n, now() - n * interval '1 hour' AS t
          FROM generate_series(CAST(:runs AS int) / 4, 1, -1) n) g;
    INSERT INTO alert (rule, subject, severity, state, title, text, pending_at, fired_at)
    SELECT 'market_stale', 'M' || n, 'critical', 'firing', 'Late', 'It is.', now(), now()
    FROM generate_series(1, 5) n;
    INSERT INTO alert_delivery (id, kind, group_key, status, title, body, created_at, notify_at,
        queued_at, due_at, planned_at, sent_at)
    SELECT gen_random_uuid(), 'alert', 'run_failed:' || id, 'sent', title, '{}', fired_at, fired_at,
           fired_at, fired_at, fired_at, fired_at
    FROM alert WHERE state = 'resolved';
    INSERT INTO alert_notice (alert_id, delivery_id, kind, noticed_at, fired_at, rule, subject,
        severity, title, text)
    SELECT a.id, d.id, 'fired', a.fired_at, a.fired_at, a.rule, a.subject, a.severity, a.title,
           a.text
    FROM alert a JOIN alert_delivery d ON d.group_key = 'run_failed:' || a.id;
    INSERT INTO alert_attempt (delivery_id, attempt, started_at, sender, outcome)
    SELECT id, 1, created_at, 'nobody:1', 'delivered' FROM alert_delivery
"""
STAGES = (
    "fetch",
    "validate",
    "history",
    "snapshots",
    "candles",
    "comparisons",
    "roi_statistics",
    "cache",
)


def store_markets(engine: Engine, count: int, *, snapshots: int = 2, hours: int = 6) -> None:
    """So many markets of the mock provider, each with snapshots, hourly candles and statistics."""
    values = {"markets": count, "snapshots": snapshots, "hours": hours}
    with _bulk(engine) as connection:
        for statements in (_MARKETS, _SNAPSHOTS, _CANDLES, _STATISTICS, _COMPARISONS):
            for statement in statements.split(";"):
                connection.execute(text(statement), values)


def store_runs(
    engine: Engine, count: int, *, stages: Sequence[str] = STAGES, details: int = 3
) -> None:
    """So many runs with their ticks, and an alert for every fourth.

    Each has these stages, and so many (at most 3) rejected rows and log lines.
    """
    values = {"runs": count, "stages": list(stages), "details": details}
    with _bulk(engine) as connection:
        for statement in (*_RUNS.split(";"), *_ALERTS.split(";")):
            connection.execute(text(statement), values)
        count_finished_runs(connection)


def tidy(engine: Engine) -> None:
    """What autovacuum would have done by now: statistics, and indexes that can answer alone."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


@contextmanager
def _bulk(engine: Engine) -> Iterator[Connection]:
    """A transaction that checks no references: what is stored here is sound."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        yield connection

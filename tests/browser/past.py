"""A day that never was, for the pictures: runs every quarter of an hour, and what was counted."""

from sqlalchemy import create_engine, text

# The first run as it was, again and again; some of them fail or keep only a part.
_STATUS = "(CASE WHEN n % 31 = 9 THEN 'failed' WHEN n % 13 = 4 THEN 'partial' ELSE 'succeeded' END)"
_RUNS = f"""
    INSERT INTO ingestion_run (id, status, trigger, provider, owner, started_at, heartbeat_at,
        lease_until, deadline_at, finished_at, duration_ms, due_at, markets_requested,
        markets_ingested, snapshots_ingested, fetched, inserted, updated, unchanged, rejected,
        error_class, error_message)
    SELECT gen_random_uuid(), {_STATUS}, CASE n % 20 WHEN 7 THEN 'manual' ELSE 'scheduler' END,
        r.provider, r.owner, t, t, t, t, t + took * interval '1 ms', took, t - interval '1 s',
        r.markets_requested, good * (r.markets_requested - (n % 13 = 4)::int), good * 9,
        good * 18, good * (40 + n % 9), good * 27, good * (n % 4), (n % 13 = 4)::int,
        CASE WHEN good = 0 THEN 'TransientProviderError' END,
        CASE WHEN good = 0 THEN 'The provider answered HTTP 429.' END
    FROM (SELECT n, date_bin('15 min', now(), '2020-01-01Z')
                        - n * interval '15 min' + interval '1 s' AS t,
                 (2600 + 900 * sin(n / 7.0) + 350 * (n % 5))::int AS took,
                 ({_STATUS} <> 'failed')::int AS good
          FROM generate_series(1, 95) n) g
    CROSS JOIN (SELECT * FROM ingestion_run ORDER BY started_at LIMIT 1) r
"""
_STAGES = """
    INSERT INTO run_stage (run_id, attempt, name, position, status, started_at, duration_ms,
        fetched, inserted, updated, unchanged)
    SELECT r.id, 1, s.name, s.position, 'succeeded', r.started_at,
        (r.duration_ms * s.share)::int, 0, r.inserted / 4, r.updated / 4, r.unchanged
    FROM ingestion_run r
    CROSS JOIN (SELECT name, position,
                       duration_ms::float / (SELECT sum(duration_ms) FROM run_stage) AS share
                FROM run_stage) s
    WHERE r.duration_ms IS NOT NULL AND r.status <> 'failed'
      AND r.id NOT IN (SELECT run_id FROM run_stage)
"""
_TICKS = """
    INSERT INTO schedule_tick (schedule, due_at, status, claimed_by, claimed_at, run_id)
    SELECT 'ingestion', due_at, 'ran', owner, started_at, id FROM ingestion_run
    WHERE due_at IS NOT NULL AND trigger = 'scheduler' ON CONFLICT DO NOTHING
"""
_FIGURES = """
    INSERT INTO process_figure (kind, name, began_at, count, errors, credits, seconds, spread)
    SELECT k.kind, k.name, date_trunc('hour', now()) - n * interval '1 hour', most * wave,
        failed * (n % 7 = 2)::int, 0, 1,
        ARRAY[most * wave * 5 / 9, most * wave * 3 / 9, most * wave / 9 * (n % 3), most * wave / 9,
              0, slow * wave, 0, 0, 0, 0, 0, 0, 0, 0]::bigint[]
    FROM (VALUES ('request', '', 90, 1, 1), ('call', 'mock', 1, 1, 3),
                 ('read', 'memory', 40, 0, 0), ('read', 'built', 11, 0, 0)
         ) AS k (kind, name, most, failed, slow),
         LATERAL generate_series(1, 23) n,
         LATERAL (SELECT (6 + 4 * sin(n / 4.0))::int AS wave) shape
    ON CONFLICT DO NOTHING
"""
_SIZES = """
    INSERT INTO storage_size (name, measured_at, bytes)
    SELECT s.name, date_trunc('hour', now()) - n * interval '1 hour', s.bytes * (1 - n * 0.006)
    FROM (SELECT relname AS name, pg_total_relation_size(oid) AS bytes FROM pg_class
          WHERE relname IN ('market_aggregate', 'market_roi_statistic', 'listing')
          UNION ALL SELECT '', pg_database_size(current_database())) s, generate_series(0, 23) n
    ON CONFLICT DO NOTHING
"""


def make_past(database_url: str) -> None:
    """Fill the day before the first run of a fresh database."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        for statement in (_RUNS, _STAGES, _TICKS, _FIGURES, _SIZES):
            connection.execute(text(statement))
    engine.dispose()

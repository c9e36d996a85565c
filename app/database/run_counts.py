"""What runs have counted, added up once they are over, so that no metric reads all of them again.

A run is added to `run_count` when the next one opens, or when it is pruned. Until then it is read
itself: the sums are right at every moment, whoever closed a run and however it ended.
"""

from sqlalchemy import Connection, text

_SUMS = """
    SELECT 'run' AS kind,
           jsonb_build_object('status', status, 'trigger', trigger, 'provider', provider) AS labels,
           count(*) AS rows, 0 AS fetched, 0 AS inserted, 0 AS updated, 0 AS unchanged,
           sum(rejected) AS rejected
    FROM run GROUP BY 2
    UNION ALL
    SELECT 'stage', jsonb_build_object('name', s.name), count(*), sum(s.fetched), sum(s.inserted),
           sum(s.updated), sum(s.unchanged), sum(s.rejected)
    FROM run JOIN run_stage s ON s.run_id = run.id WHERE s.status <> 'running' GROUP BY 2
    UNION ALL
    SELECT 'rejected_row', jsonb_build_object('provider', provider, 'kind', kind, 'reason', reason),
           rows, 0, 0, 0, 0, 0
    FROM (SELECT j.provider, j.kind, j.reason, count(*) AS rows
          FROM run JOIN rejected_row j ON j.run_id = run.id GROUP BY 1, 2, 3) reasons
"""
_COUNT = f"""
    WITH run AS (
        UPDATE ingestion_run SET is_counted = true WHERE NOT is_counted AND status <> 'running'
        RETURNING id, status, trigger, provider, rejected
    )
    INSERT INTO run_count AS c
        (kind, labels, rows, fetched, inserted, updated, unchanged, rejected)
    SELECT * FROM ({_SUMS}) sums ORDER BY kind, labels
    ON CONFLICT (kind, labels) DO UPDATE SET
        rows = c.rows + excluded.rows, fetched = c.fetched + excluded.fetched,
        inserted = c.inserted + excluded.inserted, updated = c.updated + excluded.updated,
        unchanged = c.unchanged + excluded.unchanged, rejected = c.rejected + excluded.rejected
"""  # noqa: S608 - made of the constant above
RUN_COUNTS = f"""
    WITH run AS (
        SELECT id, status, trigger, provider, rejected FROM ingestion_run WHERE NOT is_counted
    )
    SELECT kind, labels, sum(rows)::bigint AS rows, sum(fetched)::bigint AS fetched,
           sum(inserted)::bigint AS inserted, sum(updated)::bigint AS updated,
           sum(unchanged)::bigint AS unchanged
    FROM (SELECT kind, labels, rows, fetched, inserted, updated, unchanged, rejected FROM run_count
          UNION ALL {_SUMS}) counts
    GROUP BY kind, labels ORDER BY kind, labels
"""  # noqa: S608
"""Runs, stages and rejected rows of all times by their labels, those under way included."""


def count_finished_runs(connection: Connection) -> None:
    """Add up every run that is over and was not added yet: each exactly once, whoever asks."""
    connection.execute(text(_COUNT))

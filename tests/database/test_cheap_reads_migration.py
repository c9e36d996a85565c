"""The migration that makes reads cheap, and back: the same is told on both sides."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import text

from app.database.old_rows import delete_old_runs
from app.database.run_counts import RUN_COUNTS
from app.extensions import db
from app.paths import MIGRATIONS
from tests.apps import bare_app
from tests.database.test_run_counts import store_run
from tests.ingestion.making import empty

BEFORE = "0005"
# As the version before told it: what is stored and what was pruned.
_OLD_COUNTS = """
    SELECT kind, labels::text, sum(rows)::int, sum(inserted)::int FROM (
        SELECT kind, labels, rows, inserted FROM pruned_count
        UNION ALL
        SELECT 'run', jsonb_build_object('status', status, 'trigger', trigger,
                                         'provider', provider), 1, 0 FROM ingestion_run
        UNION ALL
        SELECT 'stage', jsonb_build_object('name', name), 1, inserted FROM run_stage
        WHERE status <> 'running'
        UNION ALL
        SELECT 'rejected_row', jsonb_build_object('provider', provider, 'kind', kind,
                                                  'reason', reason), 1, 0 FROM rejected_row
    ) c GROUP BY 1, 2 ORDER BY 1, 2
"""
_COUNTS = f"SELECT kind, labels::text, rows::int, inserted::int FROM ({RUN_COUNTS}) c ORDER BY 1, 2"


@pytest.fixture
def app(fresh_database_url: str) -> Iterator[Flask]:
    with bare_app(fresh_database_url) as app:
        empty(db.engine)
        yield app


def move(*, down: bool) -> None:
    db.session.remove()
    step = downgrade if down else upgrade
    step(directory=str(MIGRATIONS), revision=BEFORE if down else "head")


def rows(statement: str) -> list[tuple[object, ...]]:
    with db.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


@pytest.mark.usefixtures("app")
def test_counts_are_the_same_on_both_sides_whatever_was_pruned() -> None:
    for status in ("succeeded", "succeeded", "failed", "failed", "running"):
        store_run(db.engine, status)
    everything = rows(_COUNTS)
    with db.engine.begin() as connection:
        delete_old_runs(connection, before=datetime(2200, 1, 1, tzinfo=UTC), limit=10)
    assert rows("SELECT count(*) FROM ingestion_run") == [(3,)]  # the last of each status stays
    move(down=True)
    assert rows(_OLD_COUNTS) == everything
    move(down=False)
    assert rows(_COUNTS) == everything


@pytest.mark.usefixtures("app")
def test_every_listing_learns_the_instant_of_its_newest_snapshot() -> None:
    with db.engine.begin() as connection:
        for statement in (
            "INSERT INTO market (symbol, asset_type, quote) VALUES ('A', 'crypto', 'USD'),"
            " ('B', 'crypto', 'USD')",
            "INSERT INTO listing (market_id, provider, provider_id, quote, chosen_by, seen_at)"
            " SELECT id, 'mock', symbol, 'USD', 'discovered', now() FROM market",
            "INSERT INTO market_snapshot (market_id, provider, observed_at, price, run_id)"
            " SELECT id, 'mock', CAST('2026-03-01 00:00+00' AS timestamptz) + n * interval '1 day',"
            " 1, gen_random_uuid() FROM market, generate_series(1, 3) n WHERE symbol = 'A'",
        ):
            connection.execute(text(statement))
    move(down=True)
    move(down=False)
    assert rows("SELECT observed_at FROM listing ORDER BY market_id") == [
        (datetime(2026, 3, 4, tzinfo=UTC),),
        (None,),
    ]

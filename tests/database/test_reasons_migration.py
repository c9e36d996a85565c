"""The migration that counts rejected rows by reason: runs of before get their counts, too."""

from collections.abc import Iterator

import pytest
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import text

from app.extensions import db
from app.paths import MIGRATIONS
from tests.apps import bare_app
from tests.ingestion.making import empty
from tests.services.seeding import add_run

BEFORE = "0009"
_ROWS = """
    INSERT INTO rejected_row (run_id, provider, kind, reason, detail, raw)
    SELECT :id, 'mock', 'candle', CASE WHEN n % 3 = 0 THEN 'a' ELSE 'b' END, '', ''
    FROM generate_series(1, :rows) n
"""


@pytest.fixture
def app(fresh_database_url: str) -> Iterator[Flask]:
    with bare_app(fresh_database_url) as app:
        empty(db.engine)
        yield app


@pytest.mark.usefixtures("app")
def test_old_runs_are_counted_and_nothing_is_lost_on_the_way_back() -> None:
    bad, pruned = add_run("partial", rejected=30), add_run("partial", rejected=7)
    with db.engine.begin() as connection:
        connection.execute(text(_ROWS), {"id": bad, "rows": 30})
    db.session.remove()
    downgrade(directory=str(MIGRATIONS), revision=BEFORE)
    upgrade(directory=str(MIGRATIONS))
    with db.engine.connect() as connection:
        rows = connection.execute(text("SELECT id::text, rejected_reasons FROM ingestion_run"))
        counts = {row.id: row.rejected_reasons for row in rows}
        kept = connection.execute(text("SELECT count(*) FROM rejected_row")).scalar_one()
    assert counts == {bad: {"a": 10, "b": 20}, pruned: {}}
    assert kept == 30

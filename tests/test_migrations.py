"""Migrations: one head, up and down with rows present, and nothing that autogenerate would add."""

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import inspect, text

from app.database.partitions import is_declared
from app.domain import Trigger
from app.extensions import db
from app.paths import MIGRATIONS
from tests.apps import bare_app


@pytest.fixture
def app(fresh_database_url: str) -> Iterator[Flask]:
    with bare_app(fresh_database_url, ingestion_lookback_days=1) as app:
        yield app


def tables() -> set[str]:
    return set(inspect(db.engine).get_table_names())


def fill(app: Flask) -> None:
    """Rows in every table that a run writes."""
    runner = app.extensions["tapedeck"].runner
    assert runner.wait(runner.start(trigger=Trigger.CLI), timeout_seconds=60)


def test_there_is_one_head() -> None:
    script = ScriptDirectory(str(MIGRATIONS))
    assert len(script.get_heads()) == 1


def test_models_and_migrations_agree(app: Flask) -> None:
    with db.engine.connect() as connection:
        options = {"compare_type": True, "include_name": is_declared(connection)}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, db.metadatas[None]) == []


def test_every_step_goes_down_and_up_again_with_rows(app: Flask) -> None:
    fill(app)
    revisions = list(ScriptDirectory(str(MIGRATIONS)).walk_revisions())
    for revision in revisions[:-1]:
        downgrade(directory=str(MIGRATIONS), revision=str(revision.down_revision))
        upgrade(directory=str(MIGRATIONS))
    with db.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM market_snapshot")).scalar_one() > 0


def test_down_to_nothing_and_up_again_works_with_rows(app: Flask) -> None:
    before = tables()
    fill(app)
    downgrade(directory=str(MIGRATIONS), revision="base")
    assert tables() == {"alembic_version"}
    upgrade(directory=str(MIGRATIONS))
    assert tables() == before

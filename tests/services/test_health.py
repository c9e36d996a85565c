"""Whether the process can serve."""

from collections.abc import Iterator

import pytest
from flask import Flask

from app.extensions import db
from app.services.health import check_readiness, schema_head
from tests.apps import bare_app
from tests.services.seeding import execute


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    """The application."""
    with bare_app(database_url) as app:
        yield app


def test_a_migrated_database_is_ready(app: Flask) -> None:
    readiness = check_readiness(db.session, app.extensions["tapedeck"])
    assert readiness.ready
    assert readiness.parts["database"] == readiness.parts["migrations"] == "ok"


def test_a_schema_of_another_revision_is_not_ready(app: Flask) -> None:
    execute("UPDATE alembic_version SET version_num = 'older'")
    try:
        readiness = check_readiness(db.session, app.extensions["tapedeck"])
    finally:
        execute("UPDATE alembic_version SET version_num = :head", head=schema_head())
    assert (readiness.ready, readiness.parts["migrations"]) == (False, "pending")


def test_a_database_without_schema_is_reachable_but_pending(postgres_url: str) -> None:
    with bare_app(postgres_url) as app:
        readiness = check_readiness(db.session, app.extensions["tapedeck"])
    assert (readiness.parts["database"], readiness.parts["migrations"]) == ("ok", "pending")
    assert not readiness.ready


def test_a_database_that_is_away_is_unreachable() -> None:
    with bare_app("postgresql://nobody@127.0.0.1:1/none") as app:
        readiness = check_readiness(db.session, app.extensions["tapedeck"])
    assert readiness.parts["database"] == "unreachable"
    assert not readiness.ready

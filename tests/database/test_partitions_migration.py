"""The migration to monthly partitions and back, with rows of many years present."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import text

from app.database.partitions import SNAPSHOTS, first_of_month, load_partitions
from app.extensions import db
from app.paths import MIGRATIONS
from tests.apps import bare_app
from tests.months import lay_out, store_snapshots

BEFORE = "0004"
NOW = datetime.now(UTC)


@pytest.fixture
def app(fresh_database_url: str) -> Iterator[Flask]:
    with bare_app(fresh_database_url) as app:
        with db.engine.begin() as connection:
            lay_out(connection, NOW, NOW)
        yield app


def move(*, down: bool) -> None:
    db.session.remove()
    step = downgrade if down else upgrade
    step(directory=str(MIGRATIONS), revision=BEFORE if down else "head")


def rows() -> list[str]:
    with db.engine.connect() as connection:
        return list(
            connection.execute(text("SELECT s::text FROM market_snapshot s ORDER BY 1")).scalars()
        )


def kind() -> str:
    statement = text("SELECT relkind FROM pg_class WHERE oid = 'market_snapshot'::regclass")
    with db.engine.connect() as connection:
        return str(connection.execute(statement).scalar_one())


def fill(*ages_in_days: int) -> None:
    with db.engine.begin() as connection:
        store_snapshots(connection, 1, [NOW - timedelta(days=age) for age in ages_in_days])


@pytest.mark.usefixtures("app")
def test_every_row_is_the_same_on_both_sides() -> None:
    fill(0, 40, 100, 20_000, -3000)
    before = rows()
    move(down=True)
    assert (kind(), rows()) == ("r", before)
    move(down=False)
    assert (kind(), rows()) == ("p", before)


@pytest.mark.usefixtures("app")
def test_stored_rows_get_the_months_they_lie_in() -> None:
    fill(0, 100)
    move(down=True)
    move(down=False)
    with db.engine.connect() as connection:
        parts = load_partitions(connection, SNAPSHOTS)
    assert parts[1].start == first_of_month(NOW - timedelta(days=100))
    assert parts[-1].start == first_of_month(NOW, 3)


@pytest.mark.usefixtures("app")
def test_what_is_very_old_shares_the_partition_of_the_past() -> None:
    fill(0, 20_000)
    move(down=True)
    move(down=False)
    with db.engine.connect() as connection:
        parts = load_partitions(connection, SNAPSHOTS)
    assert parts[1].start == first_of_month(NOW, -60)
    assert len(parts) == 60 + 1 + 2 + 2


@pytest.mark.usefixtures("app")
def test_an_empty_table_begins_with_the_present_month() -> None:
    move(down=True)
    move(down=False)
    with db.engine.connect() as connection:
        parts = load_partitions(connection, SNAPSHOTS)
    assert [part.start for part in parts[1:]] == [first_of_month(NOW, n) for n in range(4)]

"""What the tests of alerts can ask for."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, text

from app.models import Alert
from tests.alerts.making import ManualClock


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Connections to the migrated database, its tables empty."""
    engine = create_engine(database_url)
    names = ", ".join(Alert.metadata.tables)
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    yield engine
    engine.dispose()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()

"""What the tests of alerts can ask for."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, create_engine, text

from app.models import Alert
from tests.alerts.making import ManualClock

AddMarket = Callable[..., int]


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


@pytest.fixture
def add_market(engine: Engine) -> AddMarket:
    """Store a followed market; its id."""

    def add(symbol: str, *, rank: int | None = None, asset_type: str = "crypto") -> int:
        with engine.begin() as connection:
            market: int = connection.exec_driver_sql(
                "INSERT INTO market (symbol, asset_type, quote) VALUES (%s, %s, 'USD') "
                "RETURNING id",
                (symbol, asset_type),
            ).scalar_one()
            connection.exec_driver_sql(
                "INSERT INTO listing (market_id, provider, provider_id, quote, chosen_by, seen_at,"
                " rank) VALUES (%s, 'mock', %s, 'USD', 'provider', clock_timestamp(), %s)",
                (market, symbol, rank),
            )
        return market

    return add

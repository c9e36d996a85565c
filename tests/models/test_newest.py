"""The newest snapshot of every listing, the same as a look into each history would find."""

import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from app.extensions import db
from app.models.newest import with_ages, with_values
from tests.services.seeding import NOW, execute, seeded_app

MARKETS = range(1, 13)
_LISTED = "SELECT market_id, provider, observed_at FROM listing"
_VALUES = f"""
    WITH {with_values(_LISTED, "volume")}
    SELECT market_id, provider, observed_at, volume FROM newest_snapshot ORDER BY 1, 2
"""
_AGES = f"""
    WITH {with_ages(_LISTED)}
    SELECT market_id, provider, observed_at FROM newest_snapshot ORDER BY 1, 2
"""
_ONE_BY_ONE = """
    SELECT l.market_id, l.provider, s.observed_at {more}
    FROM listing l {join} JOIN LATERAL (
        SELECT * FROM market_snapshot s
        WHERE s.market_id = l.market_id AND s.provider = l.provider
        ORDER BY s.observed_at DESC LIMIT 1
    ) s ON true ORDER BY 1, 2
"""


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    """Twelve markets that two providers list, without data."""
    with seeded_app(database_url) as app:
        execute(
            "INSERT INTO market (id, symbol, asset_type, quote) "
            "SELECT n, 'M' || n, 'crypto', 'USD' FROM unnest(:ids) n",
            ids=list(MARKETS),
        )
        execute(
            "INSERT INTO listing (market_id, provider, provider_id, quote, chosen_by, seen_at) "
            "SELECT m.id, p, m.symbol, 'USD', 'discovered', now() "
            "FROM market m, unnest(ARRAY['mock', 'other']) p"
        )
        yield app


def observe(market_id: int, provider: str, minutes_ago: int, volume: int | None = 7) -> None:
    execute(
        "INSERT INTO market_snapshot (market_id, provider, observed_at, price, volume, run_id) "
        "VALUES (:market_id, :provider, :at, :price, :volume, gen_random_uuid())",
        market_id=market_id,
        provider=provider,
        at=NOW - timedelta(minutes=minutes_ago),
        price=1 + minutes_ago,
        volume=volume,
    )


def rows(statement: str) -> Sequence[Any]:
    with db.engine.connect() as connection:
        return connection.execute(text(statement)).all()


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("seed", range(6))
def test_it_is_what_each_history_ends_with(seed: int) -> None:
    chance = random.Random(seed)
    for market_id in MARKETS:
        for provider in ("mock", "other"):
            # From none to many, some of them months old, some of the very same minute.
            furthest = chance.choice([3, 60, 200_000])
            picked = chance.sample(range(furthest + 1), chance.randint(0, min(4, furthest)))
            for age in picked:
                observe(market_id, provider, age, chance.choice([None, 5]))
    ages = rows(_ONE_BY_ONE.format(more="", join="LEFT"))
    assert rows(_VALUES) == rows(_ONE_BY_ONE.format(more=", s.volume", join="INNER"))
    assert rows(_AGES) == ages
    execute(
        "UPDATE listing l SET observed_at = (SELECT max(observed_at) FROM market_snapshot s WHERE "
        "s.market_id = l.market_id AND s.provider = l.provider) WHERE market_id <= 6"
    )
    assert rows(_AGES) == ages
    assert rows(_VALUES) == rows(_ONE_BY_ONE.format(more=", s.volume", join="INNER"))


@pytest.mark.usefixtures("app")
def test_a_market_that_all_others_have_left_behind_is_found_in_its_own_history() -> None:
    observe(1, "mock", 500_000)
    for age in range(40):
        observe(2, "mock", age)
    found = {(row.market_id, row.provider): row.observed_at for row in rows(_VALUES)}
    assert found == {
        (1, "mock"): NOW - timedelta(minutes=500_000),
        (2, "mock"): NOW,
    }


@pytest.mark.usefixtures("app")
def test_the_value_of_a_snapshot_that_is_gone_is_that_of_the_one_before() -> None:
    observe(1, "mock", 3, volume=1)
    observe(1, "mock", 60, volume=5)
    observe(2, "mock", 3)
    execute("UPDATE listing SET observed_at = :at WHERE provider = 'mock'",
            at=NOW - timedelta(minutes=3))  # fmt: skip
    execute("DELETE FROM market_snapshot WHERE market_id = 1 AND volume = 1")
    assert rows(_VALUES) == [
        (1, "mock", NOW - timedelta(minutes=60), 5),
        (2, "mock", NOW - timedelta(minutes=3), 7),
    ]


@pytest.mark.usefixtures("app")
def test_what_else_the_listings_say_is_carried_along() -> None:
    observe(4, "other", 3)
    listed = "SELECT * FROM listing"
    for named in (
        with_ages(listed, carry=["quote"]),
        with_values(listed, "price", carry=["quote"]),
    ):
        statement = f"""
            WITH {named} SELECT market_id, provider, observed_at, quote
            FROM newest_snapshot WHERE observed_at IS NOT NULL
        """
        assert rows(statement) == [(4, "other", NOW - timedelta(minutes=3), "USD")]

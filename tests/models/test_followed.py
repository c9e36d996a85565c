"""Which listings are followed: each once, the largest and the named ones."""

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from app.extensions import db
from app.models.followed import FOLLOWED_AGES, FOLLOWED_LISTINGS
from tests.services.seeding import NOW, execute, seeded_app


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    with seeded_app(database_url) as app:
        yield app


def store(market_id: int, rank: int | None, seen_minutes_ago: int, provider: str = "mock") -> None:
    execute(
        "INSERT INTO market (id, symbol, asset_type, quote, former_symbols) "
        "VALUES (:id, 'M' || :id, 'crypto', 'USD', ARRAY['OLD' || :id])",
        id=market_id,
    )
    execute(
        "INSERT INTO listing (market_id, provider, provider_id, quote, chosen_by, rank, seen_at) "
        "VALUES (:id, :provider, 'm' || :id, 'USD', 'discovered', :rank, :seen)",
        id=market_id,
        provider=provider,
        rank=rank,
        seen=NOW - timedelta(minutes=seen_minutes_ago),
    )


def followed(statement: str, *symbols: str, top: int) -> list[Any]:
    values = {"provider": "mock", "symbols": list(symbols), "top": top}
    with db.engine.connect() as connection:
        return sorted(row.market_id for row in connection.execute(text(statement), values))


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("seed", range(8))
def test_the_largest_and_the_named_are_followed_each_once(seed: int) -> None:
    chance = random.Random(seed)
    largest: dict[int, tuple[int, int]] = {}
    top = chance.choice([0, 3, 6])
    named = chance.sample(range(1, 16), chance.choice([0, 4]))
    for market_id in range(1, 16):
        rank = chance.choice([None, *range(1, 9)])
        age = chance.choice([0, 0, 5])
        store(market_id, rank, age)
        if rank is not None and rank <= top:
            largest[rank] = max(largest.get(rank, (-99, 0)), (-age, market_id))
    store(99, 1, 0, provider="other")
    expected = sorted({*named, *(market_id for _, market_id in largest.values())})
    symbols = [chance.choice([f"M{n}", f"OLD{n}"]) for n in named]
    ages = f"WITH {FOLLOWED_AGES} SELECT market_id FROM newest_snapshot"
    assert followed(FOLLOWED_LISTINGS, *symbols, top=top) == expected
    assert followed(ages, *symbols, top=top) == expected

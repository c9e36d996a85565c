"""A search finds what ILIKE would find in symbols, names and former symbols, in any script."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text

from app.extensions import db
from app.services.market_search import MarketFilter, search_markets
from app.services.markets import load_latest_snapshots, load_markets
from app.services.searching import like_pattern
from tests.services.seeding import NOW, add_markets, execute, seeded_app

NAMES = (
    *("Bitcoin", "BITCOIN Cash", "straße", "STRASSE", "Ünïcode Çoin", "ΣΊΣΥΦΟΣ", "Привет Мир"),
    *("日本円", "ﬁat", "e\u0301tude", "a_b%c\\d", "İstanbul", "ıstanbul", "ǅungla", ""),
)
SYMBOLS = [f"M{number:02}-USD" for number in range(len(NAMES))]
FORMER = {"M03-USD": ["OLD-USD", "ÄLTER-USD"], "M05-USD": ["BITCOIN-EUR"]}
SEARCHES = (
    *("bitcoin", "BITC", "coin c", "ß", "SS", "ü", "Ü", "çOIN", "σίσ", "ΣΥΦΟΣ", "φος", "φοσ"),
    *("ПРИВЕТ", "мир", "本", "ﬁ", "FI", "é", "e\u0301", "_", "%", "\\", "a_B", "İ", "i", "I", "ı"),
    *("ǆ", "ǅ", "usd", "old", "älter", "-EUR", "m03", "3-usdstr", "nowhere"),
)
_FOUND = """
    SELECT symbol FROM market WHERE symbol ILIKE :pattern OR name ILIKE :pattern
        OR EXISTS (SELECT FROM unnest(former_symbols) AS former WHERE former ILIKE :pattern)
    ORDER BY symbol
"""


@pytest.fixture(scope="module")
def app(fresh_database_url: str) -> Iterator[Flask]:
    with seeded_app(fresh_database_url) as app:
        add_markets(SYMBOLS, hours=0)
        for symbol, name in zip(SYMBOLS, NAMES, strict=True):
            execute("UPDATE market SET name = :name WHERE symbol = :symbol",
                    name=name, symbol=symbol)  # fmt: skip
        for symbol, former in FORMER.items():
            execute("UPDATE market SET former_symbols = :former WHERE symbol = :symbol",
                    former=former, symbol=symbol)  # fmt: skip
        yield app


def found_one_by_one(search: str) -> Sequence[str]:
    with db.engine.connect() as connection:
        values = {"pattern": like_pattern(search)}
        return connection.execute(text(_FOUND), values).scalars().all()


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("search", SEARCHES)
def test_every_list_finds_what_each_name_holds(search: str) -> None:
    expected = found_one_by_one(search)
    markets = load_markets(db.session, search=search).markets
    rows = search_markets(
        db.session, MarketFilter(search=search), now=NOW, limit_age=timedelta(hours=1)
    ).rows
    assert [market.symbol for market in markets] == expected
    assert [row.market.symbol for row in rows] == expected
    for sort in ("rank", "symbol", "-price", "age"):
        page = load_latest_snapshots(db.session, provider="mock", search=search, sort=sort)
        assert sorted(row.symbol for row in page.rows) == expected


@pytest.mark.usefixtures("app")
def test_the_searches_of_this_file_find_something() -> None:
    counts = {search: len(found_one_by_one(search)) for search in SEARCHES}
    assert sum(count > 0 for count in counts.values()) > len(SEARCHES) * 0.7
    assert counts["nowhere"] == 0


@pytest.mark.usefixtures("app")
def test_a_market_is_found_by_its_new_name_at_once() -> None:
    execute("UPDATE market SET name = 'Brand New', symbol = 'NEW-USD', "
            "former_symbols = '{M01-USD}' WHERE symbol = 'M01-USD'")  # fmt: skip
    for search in ("brand", "new-usd", "m01"):
        assert [m.symbol for m in load_markets(db.session, search=search).markets] == ["NEW-USD"]
    assert not load_markets(db.session, search="cash").markets

"""One market in full, and the list of markets by kind, provider and freshness."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

from app.domain import AssetType
from app.errors import InvalidRequest, NotFound
from app.extensions import db
from app.services.market_search import (
    FoundMarkets,
    Freshness,
    MarketFilter,
    count_markets,
    search_markets,
)
from app.services.market_sheet import MarketSheet, load_market_sheet
from tests.services.seeding import NOW, add_markets, execute, seeded_app

HISTORY = """
    INSERT INTO market_snapshot (market_id, provider, observed_at, price, run_id)
    SELECT 1, p, CAST(:now AS timestamptz) - n * interval '1 hour', n, gen_random_uuid()
    FROM unnest(ARRAY['mock', 'other']) AS p CROSS JOIN generate_series(1, 30) AS n
"""


@pytest.fixture(scope="module")
def app(fresh_database_url: str) -> Iterator[Flask]:
    """Six markets; the first is listed twice, has a history, and a gap in its candles."""
    with seeded_app(fresh_database_url) as app:
        add_markets(["A-USD", "B-USD", "C-USD", "D-USD", "E-USD", "F-USD"], hours=48)
        execute(
            "INSERT INTO listing (market_id, provider, provider_id, quote, chosen_by, seen_at) "
            "VALUES (1, 'other', 'a', 'USD', 'pinned', :at)",
            at=NOW - timedelta(days=1),
        )
        execute(HISTORY, now=NOW)
        execute(
            "DELETE FROM market_aggregate WHERE market_id = 1 "
            "AND opened_at >= :a AND opened_at < :b",
            a=NOW - timedelta(hours=10),
            b=NOW - timedelta(hours=7),
        )
        execute("UPDATE market SET asset_type = 'index' WHERE symbol = 'B-USD'")
        execute("UPDATE market SET former_symbols = '{OLD-USD}' WHERE symbol = 'C-USD'")
        execute("DELETE FROM market_snapshot WHERE market_id = 4")
        execute(
            "UPDATE market_snapshot SET observed_at = :at WHERE market_id = 5",
            at=NOW - timedelta(hours=3),
        )
        yield app


def load(symbol: str = "A-USD", **values: object) -> MarketSheet:
    return load_market_sheet(db.session, symbol, **{"now": NOW} | values)  # type: ignore[arg-type]


def find(**wanted: object) -> list[str]:
    return [row.market.symbol for row in search(**wanted).rows]


def search(*, limit: int = 100, cursor: str | None = None, **wanted: object) -> FoundMarkets:
    return search_markets(
        db.session,
        MarketFilter(**wanted),  # type: ignore[arg-type]
        now=NOW,
        limit_age=timedelta(minutes=30),
        limit=limit,
        cursor=cursor,
    )


def test_the_newest_snapshot_of_each_provider_is_there(app: Flask) -> None:
    newest = load().detail.snapshots
    assert [snapshot.provider for snapshot in newest] == ["mock", "other"]


def test_the_history_is_on_exactly_one_page_each(app: Flask) -> None:
    seen, cursor = [], None
    while True:
        sheet = load(cursor=cursor)
        seen += [(row.observed_at, row.provider) for row in sheet.history.rows]
        cursor = sheet.history.next_cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 61
    assert seen == sorted(seen, reverse=True)


def test_older_pages_keep_the_newest_snapshot_on_top(app: Flask) -> None:
    first = load()
    second = load(cursor=first.history.next_cursor)
    assert second.detail.snapshots == first.detail.snapshots


def test_every_value_names_the_run_that_wrote_it(app: Flask) -> None:
    sheet = load()
    assert sheet.history.rows
    assert all(row.run_id for row in sheet.history.rows)


def test_the_gap_is_found_with_its_cause(app: Flask) -> None:
    quality = load().quality
    assert quality is not None
    assert (quality.expected_count, quality.present_count) == (48, 45)
    assert [(gap.missing_count, gap.cause) for gap in quality.gaps] == [(3, "no_run")]


def test_a_run_in_a_missing_hour_is_its_cause(app: Flask) -> None:
    execute(
        "INSERT INTO ingestion_run (id, status, trigger, provider, owner, started_at, lease_until,"
        " deadline_at, finished_at, duration_ms, problem_count, problems) SELECT gen_random_uuid(),"
        " s, 'cli', 'mock', 'x', t, t, t, t, 1, 1, CAST(p AS jsonb) FROM (VALUES"
        " ('failed', CAST(:t AS timestamptz) - interval '9 hours', '[]'), ('partial', "
        " CAST(:t AS timestamptz) - interval '8 hours', '[{\"symbol\": \"A-USD\"}]')) v(s, t, p)",
        t=NOW,
    )
    quality = load().quality
    assert quality is not None
    assert [gap.cause for gap in quality.gaps] == ["run_failed", "market_failed", "no_run"]


def test_a_former_symbol_finds_the_market_and_an_unknown_one_nothing(app: Flask) -> None:
    assert load("old-usd").detail.market.symbol == "C-USD"
    with pytest.raises(NotFound):
        load("X-USD")


@pytest.mark.parametrize("cursor", ["x", "WyJ4IiwieSJd"])
def test_a_bad_cursor_is_refused(app: Flask, cursor: str) -> None:
    with pytest.raises(InvalidRequest):
        load(cursor=cursor)


@pytest.mark.parametrize(
    ("wanted", "symbols"),
    [
        ({}, "ABCDEF"),
        ({"asset_type": AssetType.INDEX}, "B"),
        ({"provider": "other"}, "A"),
        ({"freshness": Freshness.FRESH}, "ABCF"),
        ({"freshness": Freshness.LATE}, "E"),
        ({"freshness": Freshness.LATE, "provider": "other"}, "A"),
        ({"freshness": Freshness.NEVER}, "D"),
        ({"search": "old"}, "C"),
        ({"search": "b-", "asset_type": AssetType.CRYPTO}, ""),
    ],
)
@pytest.mark.parametrize("known", ["none", "some", "all"])
def test_markets_are_narrowed(
    app: Flask, wanted: dict[str, object], symbols: str, known: str
) -> None:
    """Whether the listings know how new their newest snapshots are, as after a run, or not."""
    chosen = {"none": "false", "some": "market_id % 2 = 0", "all": "true"}[known]
    execute(
        f"UPDATE listing l SET observed_at = CASE WHEN {chosen} THEN (SELECT max(observed_at) "
        "FROM market_snapshot s WHERE s.market_id = l.market_id AND s.provider = l.provider) END"
    )
    assert find(**wanted) == [f"{letter}-USD" for letter in symbols]


def test_pages_of_narrowed_markets_follow_each_other(app: Flask) -> None:
    first = search(limit=3, freshness=Freshness.FRESH)
    second = search(limit=3, freshness=Freshness.FRESH, cursor=first.next_cursor)
    symbols = [row.market.symbol for row in (*first.rows, *second.rows)]
    assert symbols == ["A-USD", "B-USD", "C-USD", "F-USD"]
    assert second.next_cursor is None


def test_markets_are_counted_by_kind_and_provider(app: Flask) -> None:
    assert count_markets(db.session) == {
        "asset_type": {"crypto": 5, "index": 1},
        "provider": {"mock": 6, "other": 1},
    }

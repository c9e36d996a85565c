"""The derived numbers on their whole way: from a provider's rows to tables, pages, JSON and CSV."""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app import create_app
from app.domain import (
    Candle,
    Granularity,
    Listing,
    MarketRequest,
    RunStatus,
    Snapshot,
    Trigger,
)
from app.extensions import db
from app.providers import base
from app.providers.base import Batch, Capabilities, Provider, Resolution
from app.services.runs import load_run
from app.services.views import RunDetail
from tests.analytics.making import read_rows
from tests.apps import load
from tests.web.real_app import empty_tables

NAME = "filefed"
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
FORTY_DIGITS = "1234567890123456789012345678.901234567891"
NOT_A_NUMBER = re.compile(r"(?<![A-Za-z])(nan|inf|infinity)(?![A-Za-z])", re.IGNORECASE)
NUMERIC_COLUMNS = """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND data_type = 'numeric' AND table_name LIKE 'market_%'
"""


@dataclass
class Tape:
    """What the provider has to say; the tests write it, and set the clock of the application."""

    now: datetime = MONDAY
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    candles: dict[str, list[Candle]] = field(default_factory=dict)

    def observe(self, symbol: str, price: object, observed_at: datetime | None = None) -> None:
        self.snapshots[symbol] = Snapshot(
            listing=listing_of(symbol),
            observed_at=observed_at or self.now,
            price=Decimal(str(price)),
            volume=Decimal(1000),
            raw=f'{{"price": {price}}}',
        )

    def closes(self, symbol: str, prices: list[object], *, end: datetime) -> None:
        """Hourly candles without a range, the last of which closes at `end`."""
        start = end - len(prices) * HOUR
        self.candles[symbol] = [
            hourly(symbol, start + place * HOUR, f"{price} {price} {price} {price}")
            for place, price in enumerate(prices)
        ]


def listing_of(symbol: str) -> Listing:
    return Listing(provider=NAME, provider_id=symbol.lower(), symbol=symbol)


def hourly(symbol: str, opened_at: datetime, prices: str, **changes: Any) -> Candle:
    opening, high, low, close = map(Decimal, prices.split())
    return Candle(
        listing=listing_of(symbol),
        granularity=Granularity.HOURLY,
        opened_at=opened_at,
        open=opening,
        high=high,
        low=low,
        close=close,
        **changes,
    )


class FileFed(Provider):
    """Says what is on the tape, row for row."""

    name = NAME
    tape: Tape

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            batch_size=100, history_days=3650, granularities=frozenset({Granularity.HOURLY})
        )

    def resolve_listings(self, requests: Any) -> Resolution:
        wanted: list[MarketRequest] = list(requests)
        return Resolution([listing_of(request.symbol) for request in wanted])

    def fetch_snapshots(self, listings: Any) -> Batch[Snapshot]:
        given = (self.tape.snapshots.get(listing.symbol) for listing in listings)
        return Batch([snapshot for snapshot in given if snapshot])

    def fetch_candles(
        self, listings: Any, granularity: Granularity, start: datetime, end: datetime
    ) -> Batch[Candle]:
        rows = (row for listing in listings for row in self.tape.candles.get(listing.symbol, ()))
        return Batch([row for row in rows if start <= row.opened_at < end])


@dataclass
class Deck:
    """An application that is fed from the tape."""

    app: Flask
    tape: Tape
    client: FlaskClient

    def ingest(self, **observed: object) -> RunDetail:
        """Run once over what is on the tape, after observing these markets (`A_USD=1`) now."""
        for name, price in observed.items():
            self.tape.observe(name.replace("_", "-"), price)
        runner = self.app.extensions["tapedeck"].runner
        run_id = runner.start(trigger=Trigger.MANUAL)
        assert runner.wait(run_id, timeout_seconds=60)
        with self.app.app_context():
            detail = load_run(db.session, run_id)
        assert detail.run.error_class is None, detail.run.error_message
        return detail

    def rows(self, statement: str, **values: Any) -> list[Any]:
        with self.app.app_context(), db.engine.connect() as connection:
            return list(connection.execute(text(statement), values))


@pytest.fixture
def open_deck(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Deck]]:
    """Opens a deck with these settings over empty tables."""
    monkeypatch.setitem(base._registry, NAME, FileFed)
    opened: list[Deck] = []

    def open_one(**values: Any) -> Deck:
        tape = FileFed.tape = Tape()
        defaults = {
            "ingestion_provider": NAME,
            "ingestion_markets": "A-USD,B-USD",
            "ingestion_lookback_days": 40,
            "scheduler_enabled": False,
        }
        loaded = load(database_url, tmp_path, {}, **(defaults | values))
        app = create_app(loaded, clock=lambda: tape.now)
        empty_tables(app)
        opened.append(Deck(app, tape, app.test_client()))
        return opened[-1]

    yield open_one
    for deck in opened:
        deck.app.extensions["tapedeck"].runner.shutdown(grace_seconds=0)
        with deck.app.app_context():
            db.session.remove()
            db.engine.dispose()


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} in JSON")


def assert_sound(deck: Deck, *symbols: str) -> None:
    """No NaN and no infinity in the database, on a page, in JSON or in CSV."""
    for table, column in deck.rows(NUMERIC_COLUMNS):
        bad = f"SELECT count(*) FROM {table} WHERE {column} IN ('NaN', 'Infinity', '-Infinity')"
        assert deck.rows(bad)[0][0] == 0, (table, column)
    joined = ",".join(symbols)
    pages = ["/", "/markets", *(f"/markets/{symbol}" for symbol in symbols)]
    data = ["snapshots/latest", "markets", *(f"markets/{symbol}" for symbol in symbols)]
    data += [f"markets/{symbol}/candles?granularity=hourly" for symbol in symbols]
    if len(symbols) > 1:
        pages += [f"/compare?markets={joined}&range={days}" for days in ("7d", "30d", "1y")]
        data += [f"comparisons?markets={joined}", f"correlations?markets={joined}"]
        data += [f"comparisons/series?market={symbols[0]}&against={symbols[1]}"]
    kinds = ("snapshots", "candles", "roi-statistics", "comparisons")
    for path in [*pages, *(f"/api/exports/{kind}.csv" for kind in kinds)]:
        response = deck.client.get(path)
        assert response.status_code == 200, path
        assert not NOT_A_NUMBER.search(response.text), path
    for path in data:
        json.loads(deck.client.get(f"/api/{path}").data, parse_constant=refuse)


def statistics(deck: Deck, symbol: str) -> dict[str, dict[str, Any]]:
    found = deck.client.get(f"/api/markets/{symbol}").get_json()["roiStatistics"]
    return {item["window"]: item for item in found}


def test_a_price_of_zero_is_set_aside_and_the_rest_goes_on(open_deck: Callable[..., Deck]) -> None:
    deck = open_deck()
    deck.tape.closes("B-USD", [5, 0, 5, 0.5], end=MONDAY)
    detail = deck.ingest(A_USD=0, B_USD=5)
    assert detail.run.status is RunStatus.PARTIAL
    reasons = [(row.kind, row.symbol, row.reason) for row in detail.rejected]
    assert ("snapshot", "A-USD", "price_not_positive") in reasons
    assert ("candle", "B-USD", "open_not_positive") in reasons
    assert deck.rows("SELECT min(price), count(*) FROM market_snapshot")[0] == (Decimal(5), 1)
    assert_sound(deck, "B-USD")
    assert "it must be above zero" in deck.client.get(f"/runs/{detail.run.id}").text


def test_a_fall_to_nothing_and_back_leaves_only_numbers(open_deck: Callable[..., Deck]) -> None:
    deck = open_deck()
    wild = [100 + place % 7 for place in range(700)] + ["1e-28"] * 24 + [90] * 5
    deck.tape.closes("A-USD", wild, end=MONDAY)
    deck.tape.closes("B-USD", [100 + place % 5 for place in range(729)], end=MONDAY)
    deck.ingest(A_USD=90, B_USD=101)
    month = statistics(deck, "A-USD")["30d"]
    assert Decimal(month["maxDrawdown"]) == -1
    assert Decimal(month["sharpe"]) > 0
    assert Decimal(statistics(deck, "A-USD")["24h"]["roiPct"]) > Decimal("1e29")
    fallen = deck.rows("SELECT min(change_pct) FROM market_aggregate WHERE granularity = 'daily'")
    assert fallen[0][0] == -100
    assert_sound(deck, "A-USD", "B-USD")


def test_forty_digits_arrive_everywhere(open_deck: Callable[..., Deck]) -> None:
    deck = open_deck()
    deck.ingest(A_USD=FORTY_DIGITS, B_USD="0.0000000000000000000000000000000000000012345")
    assert deck.rows("SELECT max(price)::text FROM market_snapshot")[0][0] == FORTY_DIGITS
    shown = deck.client.get("/api/markets/A-USD").get_json()["snapshots"][0]
    assert shown["price"] == FORTY_DIGITS
    assert FORTY_DIGITS in deck.client.get("/markets/A-USD").text
    assert FORTY_DIGITS in deck.client.get("/api/exports/snapshots.csv").text
    closes = deck.rows("SELECT DISTINCT close::text FROM market_aggregate WHERE close > 1")
    assert closes == [(FORTY_DIGITS,)]
    assert_sound(deck, "A-USD", "B-USD")


def test_one_sample_gives_reasons_instead_of_numbers(open_deck: Callable[..., Deck]) -> None:
    deck = open_deck()
    deck.ingest(A_USD=1, B_USD=2)
    for window, found in statistics(deck, "A-USD").items():
        assert found["roiPct"] is found["maxDrawdown"] is found["sharpe"] is None
        assert found["sampleCount"] == 0
        assert found["nullReasons"]["roiPct" if "roiPct" in found["nullReasons"] else "roi_pct"]
        assert (found["nullReasons"]["sharpe"] == "window_too_short") == (window == "1h")
    pair = deck.client.get("/api/comparisons?markets=A-USD,B-USD").get_json()["comparisons"][0]
    assert (pair["priceRatio"], pair["correlation30d"]) == ("2", None)
    assert "too few samples" in deck.client.get("/compare?markets=A-USD,B-USD").text
    assert_sound(deck, "A-USD", "B-USD")


def test_observations_far_apart_are_not_compared(open_deck: Callable[..., Deck]) -> None:
    deck = open_deck()
    deck.tape.observe("A-USD", 1, MONDAY - timedelta(minutes=16))
    deck.ingest(B_USD=2)
    pair = deck.client.get("/api/comparisons?markets=A-USD,B-USD").get_json()["comparisons"][0]
    assert pair["priceRatio"] is None
    assert set(pair["nullReasons"].values()) == {"not_simultaneous", "insufficient_samples"}
    stored = deck.rows("SELECT price_ratio, null_reasons FROM market_comparison")[0]
    assert (stored.price_ratio, stored.null_reasons) == (None, pair["nullReasons"])


def test_a_pair_asked_for_has_the_figures_of_the_run_on_the_full_hour_too(
    open_deck: Callable[..., Deck],
) -> None:
    deck = open_deck()
    deck.tape.closes("A-USD", [100 + place % 7 for place in range(725)], end=MONDAY)
    deck.tape.closes("B-USD", [50 + place % 5 for place in range(725)], end=MONDAY)
    deck.ingest(A_USD=170, B_USD=60)
    stored = deck.rows("SELECT correlation_30d, beta_30d, sample_count FROM market_comparison")[0]
    pair = deck.client.get("/api/comparisons?markets=A-USD,B-USD").get_json()["comparisons"][0]
    found = (Decimal(pair["correlation30d"]), Decimal(pair["beta30d"]), pair["sampleCount"])
    assert found == tuple(stored)


def test_a_statistic_is_stored_when_it_changed_and_only_then(
    open_deck: Callable[..., Deck],
) -> None:
    deck = open_deck(ingestion_markets="A-USD")
    count = "SELECT count(*) FROM market_roi_statistic"
    deck.tape.closes("A-USD", [7] * 900, end=MONDAY)
    deck.ingest(A_USD=7)
    assert deck.rows(count)[0][0] == 4
    deck.tape.now = MONDAY + HOUR
    deck.tape.closes("A-USD", [7] * 901, end=deck.tape.now)
    again = deck.ingest(A_USD=7)
    assert (deck.rows(count)[0][0], again.run.roi_stats_ingested) == (4, 0)
    deck.tape.now = MONDAY + 2 * HOUR
    deck.tape.closes("A-USD", [7] * 902, end=deck.tape.now)
    changed = deck.ingest(A_USD=8)
    assert (deck.rows(count)[0][0], changed.run.roi_stats_ingested) == (8, 4)


def test_a_candle_is_replaced_by_a_better_one_and_never_by_a_worse(
    open_deck: Callable[..., Deck],
) -> None:
    deck = open_deck(ingestion_markets="A-USD")
    hour = (
        "SELECT basis, high::text, is_final FROM market_aggregate "
        "WHERE granularity = 'hourly' AND opened_at = :opened_at"
    )
    opened_at = MONDAY + 9 * HOUR
    deck.tape.now = opened_at + timedelta(minutes=50)
    deck.ingest(A_USD=10)
    assert deck.rows(hour, opened_at=opened_at) == [("snapshots", "10", False)]
    deck.tape.now = opened_at + timedelta(minutes=70)
    deck.tape.candles["A-USD"] = [hourly("A-USD", opened_at, "9 12 8 11", volume=Decimal(3))]
    deck.rows("SELECT 1")
    forget_history(deck)
    deck.ingest(A_USD=11)
    assert deck.rows(hour, opened_at=opened_at) == [("provider", "12", True)]
    deck.tape.candles.clear()
    deck.tape.observe("A-USD", 99, opened_at + timedelta(minutes=30))
    deck.ingest()
    assert deck.rows(hour, opened_at=opened_at) == [("provider", "12", True)]
    day = "SELECT high::text, basis, is_final FROM market_aggregate WHERE granularity = 'daily'"
    assert deck.rows(day) == [("12", "finer", False)]


def forget_history(deck: Deck) -> None:
    """Have the next run ask for the whole look-back again."""
    with deck.app.app_context(), db.engine.begin() as connection:
        connection.execute(text("UPDATE listing SET history_from = NULL"))


def test_a_late_observation_touches_its_hour_day_and_week_and_nothing_else(
    open_deck: Callable[..., Deck],
) -> None:
    deck = open_deck(ingestion_markets="A-USD")
    for hours in (2, 26, 30, 33, 33.2):
        deck.tape.now = MONDAY + hours * HOUR
        deck.ingest(A_USD=100 + hours)
    stored = "SELECT granularity, opened_at, stored_at, low::text FROM market_aggregate"
    before = {row[:2]: row for row in deck.rows(stored)}
    deck.tape.now += timedelta(minutes=5)
    deck.tape.observe("A-USD", 42, MONDAY + 30.5 * HOUR)
    deck.ingest()
    after = {row[:2]: row for row in deck.rows(stored)}
    changed = {key: row.low for key, row in after.items() if before[key] != row}
    assert changed == {
        ("hourly", MONDAY + 30 * HOUR): "42",
        ("daily", MONDAY + 24 * HOUR): "42",
        ("weekly", MONDAY): "42",
    }


def test_the_year_of_the_settings_is_on_every_row(open_deck: Callable[..., Deck]) -> None:
    deck = open_deck(ingestion_markets="A-USD", trading_days_crypto=252)
    deck.tape.closes("A-USD", [100 + place % 9 for place in range(800)], end=MONDAY)
    deck.ingest(A_USD=100)
    week = statistics(deck, "A-USD")["7d"]
    assert week["periodsPerYear"] == 252 * 24
    scaled = Decimal(week["volatility"]) * Decimal(252 * 24).sqrt()
    assert abs(Decimal(week["volatilityAnnualised"]) / scaled - 1) < Decimal("1e-10")


@pytest.fixture
def recordings() -> Path:
    root = os.environ.get("TAPEDECK_RECORDINGS")
    if not root:
        pytest.skip("TAPEDECK_RECORDINGS is not set: no recorded data on this machine")
    return Path(root) / "ohlcv"


def exchange_rows(path: Path) -> dict[datetime, tuple[str, Decimal]]:
    return {
        datetime.fromtimestamp(int(row["unix"]) // 1000, UTC): (
            " ".join(row[name] for name in ("open", "high", "low", "close")),
            Decimal(row["Volume USDT"]),
        )
        for row in read_rows(path)
    }


def test_hours_of_an_exchange_become_its_days_in_the_database(
    open_deck: Callable[..., Deck], recordings: Path
) -> None:
    name = "cdd-binance-futures-BTCUSDT-{}-2020.csv.gz"
    hours = exchange_rows(recordings / name.format("1h"))
    days = exchange_rows(recordings / name.format("1d"))
    deck = open_deck(ingestion_markets="BTC-USD", ingestion_lookback_days=400)
    deck.tape.now = max(hours) + HOUR
    deck.tape.candles["BTC-USD"] = [
        hourly("BTC-USD", opened_at, prices, volume=volume)
        for opened_at, (prices, volume) in hours.items()
    ]
    deck.ingest(BTC_USD=10000)
    statement = (
        "SELECT opened_at, open, high, low, close, volume FROM market_aggregate "
        "WHERE granularity = 'daily' AND sample_count = 24 AND is_final"
    )
    made = {row.opened_at: (tuple(row)[1:5], row.volume) for row in deck.rows(statement)}
    assert len(made) == 149
    for opened_at, found in made.items():
        prices, volume = days[opened_at]
        assert found == (tuple(map(Decimal, prices.split())), volume)
    exported = deck.client.get("/api/exports/candles.csv?granularity=hourly").text
    assert exported.count("\r\n") == len(hours) + 1 + 1

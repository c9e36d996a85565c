"""The mock provider: any market at any instant, and every trouble on demand."""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from app.domain import AssetType, Snapshot
from tests.providers.mock_setup import NOW, build_mock, listings_of, made_up

SHOW_VALUES = """
from datetime import timedelta
from app.domain import Granularity
from app.settings_loader import load_settings
from tests.providers.mock_setup import NOW, build_mock, listings_of
mock, listings = build_mock(bad_rows=0.2, stale_rows=0.2), listings_of("SPX,BTC-USD,WHO-EUR")
print(mock.fetch_snapshots(listings).rows)
print(list(mock.fetch_candles(listings, Granularity.HOURLY, NOW - timedelta(hours=9), NOW).rows))
"""


def snapshots(markets: str, **options: Any) -> dict[str, Snapshot]:
    rows = build_mock(**options).fetch_snapshots(listings_of(markets)).rows
    return {row.listing.symbol: row for row in rows}


def test_known_markets_are_at_plausible_levels() -> None:
    rows = snapshots("BTC-USD,ETH-USD,SPX,DOGE-USD,USDT-USD,BTC-JPY,EUR-USD")
    prices = {symbol: row.price for symbol, row in rows.items()}
    bounds = {
        "BTC-USD": (20_000, 180_000),
        "ETH-USD": (800, 11_000),
        "SPX": (3_900, 7_700),
        "DOGE-USD": (0.02, 0.7),
        "USDT-USD": (0.99, 1.01),
        "BTC-JPY": (3_000_000, 27_000_000),
        "EUR-USD": (0.9, 1.3),
    }
    for symbol, (low, high) in bounds.items():
        assert low < float(prices[symbol] or 0) < high


def test_snapshot_has_exact_plausible_values_and_leaves_roi_to_the_pipeline() -> None:
    row = snapshots("BTC-USD")["BTC-USD"]
    assert row.observed_at == NOW
    assert row.price is not None
    assert row.price.as_tuple().exponent == -2
    assert row.market_cap == row.price * 19_700_000
    assert row.volume is not None
    assert 2e9 < row.volume < 5e11
    assert row.volatility is not None
    assert Decimal("0.0005") < row.volatility < Decimal("0.05")
    assert row.roi_1h_pct is row.roi_24h_pct is row.roi_7d_pct is row.roi_30d_pct is None
    assert json.loads(row.raw)["price"] == str(row.price)


def test_index_has_no_market_capitalisation() -> None:
    assert snapshots("SPX")["SPX"].market_cap is None


def test_unknown_symbols_have_plausible_prices_that_differ() -> None:
    rows = build_mock().fetch_snapshots(made_up(200)).rows
    prices = [row.price for row in rows if row.price]
    assert len(set(prices)) == 200
    assert Decimal("0.00001") < min(prices)
    assert max(prices) < 2_000


def test_tiny_prices_are_around_1e_12_and_change_nothing_else() -> None:
    plain, tiny = snapshots("BTC-USD,DOGE-USD"), snapshots("BTC-USD,DOGE-USD", tiny_prices=True)
    for symbol, row in tiny.items():
        assert row.price is not None
        assert Decimal("1e-13") < row.price < Decimal("1e-11")
        assert row.price.as_tuple().digits == plain[symbol].price.as_tuple().digits  # type: ignore[union-attr]
        assert row.market_cap == plain[symbol].market_cap


def test_asking_twice_gives_the_same_whatever_else_is_asked() -> None:
    alone = snapshots("SPX")["SPX"]
    among = snapshots("AAA-USD,SPX,BTC-EUR,ZZZ-USD")["SPX"]
    assert alone == among
    later = snapshots("SPX", now=NOW + timedelta(milliseconds=900))["SPX"]
    assert later == alone
    assert snapshots("SPX", now=NOW + timedelta(minutes=5))["SPX"].price != alone.price


def test_another_process_with_another_hash_seed_gives_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW_VALUES],
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    here = io.StringIO()
    with redirect_stdout(here):
        exec(SHOW_VALUES, {})
    assert done.stdout == here.getvalue()


# Listings


def test_symbols_become_listings_of_their_kind() -> None:
    coin, index, cross = listings_of("BTC-USD,SPX,WHO-EUR")
    assert (coin.provider_id, coin.quote, coin.name) == ("btc-usd", "USD", "Bitcoin")
    assert (index.provider_id, index.asset_type) == ("spx", AssetType.INDEX)
    assert (cross.provider_id, cross.quote, cross.asset_type) == (
        "who-eur",
        "EUR",
        AssetType.CRYPTO,
    )


def test_pinned_id_decides_what_is_traded() -> None:
    (pinned,) = listings_of("MINE-USD=bitcoin")
    assert (pinned.provider_id, pinned.chosen_by) == ("bitcoin", "pinned")
    assert snapshots("MINE-USD=bitcoin")["MINE-USD"].price == snapshots("BTC-USD")["BTC-USD"].price


def test_ranking_is_led_by_the_known_and_never_runs_out() -> None:
    ranked = build_mock().fetch_ranked(3000, "USD")
    symbols = [listing.symbol for listing in ranked.listings]
    assert symbols[:2] == ["BTC-USD", "ETH-USD"]
    assert len(set(symbols)) == 3000
    assert [listing.rank for listing in ranked.listings] == list(range(1, 3001))
    assert [row.listing for row in ranked.snapshots.rows] == list(ranked.listings)
    assert symbols[:100] == [each.symbol for each in build_mock().fetch_ranked(100, "USD").listings]


def test_ranking_leaves_the_quote_currency_out() -> None:
    symbols = [listing.symbol for listing in build_mock().fetch_ranked(3, "BTC").listings]
    assert symbols[0] == "ETH-BTC"
    assert "BTC-BTC" not in symbols


def test_search_finds_by_symbol_and_by_name() -> None:
    mock = build_mock()
    assert [listing.symbol for listing in mock.search("bitc")] == ["BTC-USD", "BCH-USD"]
    assert [listing.symbol for listing in mock.search("spx")] == ["SPX"]
    assert mock.search("  ") == mock.search("no such thing") == []

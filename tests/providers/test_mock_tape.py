"""Markets made of paths: how they move together, and what a unit of each is."""

from datetime import timedelta
from decimal import Decimal, localcontext

import numpy as np
import pytest
from numpy.typing import NDArray

from app.providers.mock_paths import LEAVES_PER_HOUR
from app.providers.mock_tape import Tape, exact, hour_of, leaf_at, market_of
from tests.providers.mock_setup import NOW, listings_of

YEAR = 8766
MARKETS = "BTC-USD,LTC-USD,ETH-USD,SOL-USD,DOGE-USD,SHIB-USD,SPX,NDX,USDT-USD,UNKNOWN-USD"


@pytest.fixture(scope="module")
def hourly() -> dict[str, NDArray[np.float64]]:
    """Hourly log returns of a few markets over two years."""
    markets = [market_of(listing, tiny=False) for listing in listings_of(MARKETS)]
    logs = Tape(42).window(markets, hour_of(NOW) - 2 * YEAR, 2 * YEAR).log_prices
    returns = np.diff(logs[:, ::LEAVES_PER_HOUR], axis=1)
    return {market.listing.symbol: row for market, row in zip(markets, returns, strict=True)}


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ("BTC-USD", "LTC-USD", 0.70, 0.85),  # one sector
        ("ETH-USD", "SOL-USD", 0.70, 0.88),
        ("BTC-USD", "ETH-USD", 0.50, 0.72),  # two sectors
        ("BTC-USD", "DOGE-USD", 0.40, 0.65),
        ("BTC-USD", "UNKNOWN-USD", 0.40, 0.85),
        ("SPX", "NDX", 0.65, 0.85),
        ("BTC-USD", "SPX", 0.20, 0.42),  # two worlds
        ("BTC-USD", "USDT-USD", -0.08, 0.08),
    ],
)
def test_assets_move_together_as_much_as_real_ones(
    hourly: dict[str, NDArray[np.float64]], first: str, second: str, low: float, high: float
) -> None:
    assert low < np.corrcoef(hourly[first], hourly[second])[0, 1] < high


@pytest.mark.parametrize(
    ("symbol", "volatility"),
    [("BTC-USD", 0.50), ("ETH-USD", 0.62), ("SPX", 0.16), ("USDT-USD", 0.004)],
)
def test_assets_move_as_much_as_their_volatility_says(
    hourly: dict[str, NDArray[np.float64]], symbol: str, volatility: float
) -> None:
    assert hourly[symbol].std() * YEAR**0.5 == pytest.approx(volatility, rel=0.15)


def test_five_minute_moves_are_small_against_daily_ones() -> None:
    tape, markets = Tape(42), [market_of(each, tiny=False) for each in listings_of("BTC-USD")]
    instants = [NOW + timedelta(minutes=5 * number) for number in range(2 * 288)]
    prices = np.log([tape.observe(markets, instant)[0].price for instant in instants])
    five_minutes = np.diff(prices).std()
    day = np.abs(prices[288:] - prices[:-288]).mean()
    assert five_minutes < 0.003 < day
    assert prices.max() - prices.min() > 8 * five_minutes


def test_cross_rates_agree_with_the_dollar_prices() -> None:
    listings = listings_of("ETH-BTC,ETH-USD,BTC-USD")
    markets = [market_of(each, tiny=False) for each in listings]
    cross, eth, btc = (
        exact(seen.price, seen.market.price_unit) for seen in Tape(42).observe(markets, NOW)
    )
    assert float(cross) == pytest.approx(float(eth / btc), rel=2e-5)


def test_another_seed_is_another_history() -> None:
    markets = [market_of(each, tiny=False) for each in listings_of("BTC-USD")]
    assert Tape(1).observe(markets, NOW)[0].price != Tape(2).observe(markets, NOW)[0].price


def test_exact_does_not_depend_on_the_decimal_context() -> None:
    with localcontext() as context:
        context.prec = 3
        assert str(exact(6012345, 2)) == "60123.45"
        assert exact(6012345, 18) == Decimal("0.000000000006012345")


def test_leaf_of_an_instant_counts_from_its_hour() -> None:
    opening = NOW.replace(minute=0, second=0)
    assert leaf_at(opening) == (0, 0.0)
    assert leaf_at(opening + timedelta(seconds=225)) == (1, 0.0)
    assert leaf_at(opening + timedelta(seconds=337.5)) == (1, 0.5)
    assert leaf_at(opening - timedelta(microseconds=1))[0] == LEAVES_PER_HOUR - 1


@pytest.mark.parametrize(
    ("symbol", "price_places"),
    [("BTC-USD", 2), ("SPX", 2), ("SOL-USD", 3), ("XRP-USD", 6), ("SHIB-USD", 10), ("ETH-BTC", 7)],
)
def test_prices_show_as_many_places_as_a_real_market(symbol: str, price_places: int) -> None:
    (listing,) = listings_of(symbol)
    assert market_of(listing, tiny=False).price_unit == price_places

"""Candles against an exchange's own: its hours of 2020 must give its days."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from app.analytics.candles import DerivedCandle, merge_candles
from app.domain import Granularity
from tests.analytics.making import LATER, candle, read_rows


def exchange_candles(
    path: Path, granularity: Granularity, volume: str
) -> dict[datetime, DerivedCandle]:
    candles = {}
    for row in read_rows(path):
        opened_at = datetime.fromtimestamp(int(row["unix"]) // 1000, UTC)
        prices = " ".join(row[name] for name in ("open", "high", "low", "close"))
        candles[opened_at] = candle(
            opened_at, prices, granularity=granularity, volume=Decimal(row[volume])
        )
    return candles


@pytest.mark.parametrize("volume", ["Volume BTC", "Volume USDT"])
def test_hours_of_an_exchange_give_its_full_days_exactly(recordings: Path, volume: str) -> None:
    name = "cdd-binance-futures-BTCUSDT-{}-2020.csv.gz"
    hourly = exchange_candles(recordings / "ohlcv" / name.format("1h"), Granularity.HOURLY, volume)
    daily = exchange_candles(recordings / "ohlcv" / name.format("1d"), Granularity.DAILY, volume)
    merged = merge_candles(reversed(hourly.values()), Granularity.DAILY, now=LATER)
    full = [day for day in merged if day.sample_count == 24]
    assert len(full) == 149
    for day in full:
        theirs = daily[day.opened_at]
        assert (day.open, day.high, day.low, day.close, day.volume) == (
            theirs.open,
            theirs.high,
            theirs.low,
            theirs.close,
            theirs.volume,
        )
        assert day.last_observed_at is None
        assert day.closed_at - day.opened_at == timedelta(days=1)

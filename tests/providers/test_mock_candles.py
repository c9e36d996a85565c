"""The mock provider's candles: continuous, in agreement with its snapshots, read lazily."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

import pytest

from app.domain import HOUR, Candle, Granularity, Listing, Snapshot
from app.errors import (
    PermanentProviderError,
)
from tests.providers.mock_setup import NOW, build_mock, listings_of, made_up

HOURLY = Granularity.HOURLY
THIS_HOUR = NOW.replace(minute=0, second=0)


def snapshots(markets: str, **options: Any) -> dict[str, Snapshot]:
    rows = build_mock(**options).fetch_snapshots(listings_of(markets)).rows
    return {row.listing.symbol: row for row in rows}


def candles(listings: Sequence[Listing], start: datetime, **options: Any) -> list[Candle]:
    return list(build_mock(**options).fetch_candles(listings, HOURLY, start, NOW + HOUR).rows)


def test_candles_follow_on_each_other_without_a_gap() -> None:
    rows = candles(listings_of("BTC-USD"), NOW - timedelta(days=70))
    assert len(rows) == 70 * 24
    for before, after in pairwise(rows):
        assert after.opened_at == before.closed_at
        assert after.open == before.close
    for row in rows:
        assert row.low <= min(row.open, row.close) <= max(row.open, row.close) <= row.high
        assert row.low <= (row.average or 0) <= row.high
        assert (row.volume or 0) > 0


def test_snapshot_on_the_hour_is_the_close_of_the_candle_before() -> None:
    for number in range(1, 30):
        at = THIS_HOUR - number * HOUR
        row = snapshots("SHIB-EUR", now=at)["SHIB-EUR"]
        (candle,) = candles(listings_of("SHIB-EUR"), at - HOUR, now=at)
        assert candle.is_final
        assert row.price == candle.close


def test_snapshot_within_an_hour_lies_within_its_candle() -> None:
    listings = listings_of("DOGE-USD")
    by_hour = {candle.opened_at: candle for candle in candles(listings, NOW - timedelta(days=2))}
    for number in range(200):
        at = THIS_HOUR - timedelta(seconds=617 * number + 1)
        price = snapshots("DOGE-USD", now=at)["DOGE-USD"].price
        candle = by_hour[HOURLY.floor(at)]
        assert price is not None
        assert candle.low <= price <= candle.high


def test_rolling_volume_is_that_of_the_last_24_candles() -> None:
    rows = candles(listings_of("ETH-USD"), THIS_HOUR - 24 * HOUR, now=THIS_HOUR)
    assert (
        sum(row.volume or 0 for row in rows)
        == snapshots("ETH-USD", now=THIS_HOUR)["ETH-USD"].volume
    )


def test_open_candle_covers_only_what_has_happened() -> None:
    listings = listings_of("BTC-USD")
    open_one = candles(listings, THIS_HOUR)[-1]
    final_one = candles(listings, THIS_HOUR, now=NOW + HOUR)[0]
    assert not open_one.is_final
    assert final_one.is_final
    assert open_one.opened_at == final_one.opened_at
    assert open_one.close == snapshots("BTC-USD")["BTC-USD"].price
    assert open_one.open == final_one.open
    assert final_one.low <= open_one.low <= open_one.high <= final_one.high
    assert (open_one.volume or 0) < (final_one.volume or 0)
    assert open_one.sample_count < final_one.sample_count


def test_hour_that_begins_now_has_no_candle_yet() -> None:
    rows = candles(listings_of("SPX"), THIS_HOUR - HOUR, now=THIS_HOUR)
    assert [row.opened_at for row in rows] == [THIS_HOUR - HOUR]


def test_first_second_of_an_hour_has_a_candle_without_volatility() -> None:
    row = candles(listings_of("SPX"), THIS_HOUR, now=THIS_HOUR + timedelta(seconds=1))[0]
    assert row.volatility is None
    assert row.sample_count == 1


def test_history_is_worked_out_only_as_far_as_it_is_read() -> None:
    batch = build_mock().fetch_candles(made_up(1000), HOURLY, NOW - timedelta(days=3650), NOW)
    assert len(batch.rows) == 1000 * 3650 * 24
    first = list(islice(batch.rows, 3))
    assert first == list(batch.rows[:3])
    assert batch.rows[-1].opened_at == THIS_HOUR


def test_rows_by_number_are_the_rows_in_order() -> None:
    listings = listings_of("BTC-USD,SPX,ETH-EUR")
    rows = build_mock().fetch_candles(listings, HOURLY, NOW - timedelta(hours=50), NOW).rows
    assert [rows[number] for number in range(len(rows))] == list(rows)
    with pytest.raises(IndexError):
        rows[len(rows)]


def test_history_before_the_limit_is_left_out() -> None:
    start = datetime(1990, 1, 1, tzinfo=UTC)
    rows = build_mock().fetch_candles(listings_of("SPX"), HOURLY, start, NOW).rows
    assert NOW - timedelta(days=3650) <= rows[0].opened_at < NOW - timedelta(days=3649)


def test_future_has_no_candles() -> None:
    batch = build_mock().fetch_candles(listings_of("SPX"), HOURLY, NOW + HOUR, NOW + 5 * HOUR)
    assert list(batch.rows) == []


@pytest.mark.parametrize("granularity", [Granularity.DAILY, Granularity.WEEKLY])
def test_other_granularities_are_refused(granularity: Granularity) -> None:
    with pytest.raises(PermanentProviderError, match="hourly"):
        build_mock().fetch_candles(listings_of("SPX"), granularity, NOW - HOUR, NOW)

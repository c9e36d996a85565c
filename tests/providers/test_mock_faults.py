"""The mock provider in trouble, as its settings tell it to be."""

import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from app.domain import HOUR, Granularity, MarketRequest, Snapshot
from app.errors import (
    PermanentProviderError,
    PlanLimitError,
    ProviderError,
    RunStopped,
    SettingsError,
    TransientProviderError,
)
from app.providers.mock import MockSettings
from app.settings_loader import load_settings
from tests.providers.mock_setup import NOW, build_mock, listings_of, made_up

HOURLY = Granularity.HOURLY


def snapshots(markets: str, **options: Any) -> dict[str, Snapshot]:
    rows = build_mock(**options).fetch_snapshots(listings_of(markets)).rows
    return {row.listing.symbol: row for row in rows}


@pytest.mark.parametrize(
    ("fail", "error", "outcome"),
    [
        ("transient", TransientProviderError, "server_error"),
        ("permanent", PermanentProviderError, "refused"),
        ("plan", PlanLimitError, "refused"),
        ("rate_limited", TransientProviderError, "rate_limited"),
    ],
)
def test_every_call_fails_as_told(fail: str, error: type[ProviderError], outcome: str) -> None:
    outcomes: list[str] = []
    mock = build_mock(fail=fail, on_call=lambda name, seconds: outcomes.append(name))
    calls = (
        lambda: mock.fetch_snapshots(listings_of("SPX")),
        lambda: mock.fetch_candles(listings_of("SPX"), HOURLY, NOW - HOUR, NOW),
        lambda: mock.fetch_ranked(3, "USD"),
        lambda: mock.resolve_listings([MarketRequest("SPX")]),
    )
    for call in calls:
        with pytest.raises(error) as caught:
            call()
        assert type(caught.value) is error
    assert outcomes == [outcome] * 4


def test_rate_limit_names_the_wait() -> None:
    with pytest.raises(TransientProviderError) as caught:
        build_mock(fail="rate_limited").fetch_snapshots(listings_of("SPX"))
    assert (caught.value.status, caught.value.retry_after) == (429, 30)


@pytest.mark.parametrize(
    ("fail_markets", "failing"),
    [("1", {"BTC-USD"}), ("2", {"BTC-USD", "ETH-USD"}), ("spx, ETH-USD", {"SPX", "ETH-USD"})],
)
def test_some_markets_fail_and_the_others_are_served(fail_markets: str, failing: set[str]) -> None:
    mock = build_mock(fail="market", fail_markets=fail_markets)
    listings = listings_of("BTC-USD,ETH-USD,SPX")
    for batch in (
        mock.fetch_snapshots(listings),
        mock.fetch_candles(listings, HOURLY, NOW - HOUR, NOW),
    ):
        assert {problem.symbol for problem in batch.problems} == failing
        served = {row.listing.symbol for row in batch.rows}
        assert served == {"BTC-USD", "ETH-USD", "SPX"} - failing


def test_bad_rows_come_in_every_way_and_the_same_each_time() -> None:
    listings = made_up(60)
    rows = build_mock(bad_rows=1).fetch_snapshots(listings).rows
    ways = {
        "no price": any(row.price is None for row in rows),
        "nan": any(row.price is not None and row.price.is_nan() for row in rows),
        "infinite": any(row.price is not None and row.price.is_infinite() for row in rows),
        "no time": any(row.observed_at is None for row in rows),
        "future": any(row.observed_at is not None and row.observed_at > NOW for row in rows),
    }
    assert all(ways.values()), ways
    finite = [row.price for row in rows if row.price is not None and row.price.is_finite()]
    assert min(finite) < 0
    assert Decimal(0) in finite
    assert max(finite) == Decimal("1E+400")
    assert str(rows) == str(build_mock(bad_rows=1).fetch_snapshots(listings).rows)


def test_bad_ways_rotate_from_run_to_run() -> None:
    texts = {
        snapshots("SPX", bad_rows=1, now=NOW + timedelta(minutes=15 * turn))["SPX"].raw
        for turn in range(8)
    }
    assert len({text.replace(str(NOW), "") for text in texts}) == 8


def test_share_of_bad_rows_is_about_the_one_set() -> None:
    good = build_mock().fetch_snapshots(made_up(800)).rows
    rows = build_mock(bad_rows=0.25).fetch_snapshots(made_up(800)).rows
    different = sum(str(row) != str(plain) for row, plain in zip(rows, good, strict=True))
    assert 150 < different < 250


def test_bad_candles_break_what_a_candle_promises() -> None:
    batch = build_mock(bad_rows=1).fetch_candles(
        listings_of("SPX"), HOURLY, NOW - timedelta(hours=9), NOW
    )
    assert all(row.raw for row in batch.rows)
    assert any(row.high < row.low for row in batch.rows)
    assert any(row.close.is_nan() for row in batch.rows)
    assert any(row.open == 0 for row in batch.rows)
    assert any(row.low < 0 for row in batch.rows)


def test_stale_rows_are_old_and_hold_the_price_of_then() -> None:
    rows = snapshots("SPX,BTC-USD,ETH-USD,SOL-USD,XRP-USD,ADA-USD", stale_rows=1)
    ages = {NOW - row.observed_at for row in rows.values() if row.observed_at}
    assert timedelta(hours=2) <= min(ages) < max(ages) <= timedelta(hours=200)
    row = rows["SPX"]
    assert row.observed_at is not None
    assert row.price == snapshots("SPX", now=row.observed_at)["SPX"].price


def test_stop_ends_a_slow_call_at_once() -> None:
    stop = threading.Event()
    outcomes: list[str] = []
    mock = build_mock(delay_seconds=600, stop=stop, on_call=lambda name, _: outcomes.append(name))
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(RunStopped) as caught:
        mock.fetch_snapshots(listings_of("SPX"))
    assert caught.value.reason == "cancelled"
    assert outcomes == ["stopped"]


def test_slow_call_ends_at_the_deadline() -> None:
    with pytest.raises(TransientProviderError, match="deadline"):
        build_mock(delay_seconds=600, seconds_left=0.05).fetch_snapshots(listings_of("SPX"))


def test_slow_call_within_the_deadline_is_served_and_timed() -> None:
    seconds: list[float] = []
    mock = build_mock(delay_seconds=0.02, seconds_left=60, on_call=lambda _, t: seconds.append(t))
    assert len(mock.fetch_snapshots(listings_of("SPX")).rows) == 1
    assert seconds[0] >= 0.02


# Settings


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MOCK_SEED", "-1"),
        ("MOCK_SEED", "x"),
        ("MOCK_FAIL", "sometimes"),
        ("MOCK_FAIL_MARKETS", "BTC-USD,not a symbol"),
        ("MOCK_FAIL_MARKETS", ","),
        ("MOCK_DELAY_SECONDS", "601"),
        ("MOCK_DELAY_SECONDS", "nan"),
        ("MOCK_BAD_ROWS", "1.01"),
        ("MOCK_BAD_ROWS", "nan"),
        ("MOCK_STALE_ROWS", "-0.1"),
        ("MOCK_TINY_PRICES", "perhaps"),
    ],
)
def test_wrong_setting_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable):
        load_settings({"mock": MockSettings}, env_file=None)


def test_settings_are_read_from_the_environment_and_frozen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOCK_SEED", "7")
    monkeypatch.setenv("MOCK_FAIL", "Rate_Limited")
    settings = load_settings({"mock": MockSettings}, env_file=None).providers["mock"]
    assert isinstance(settings, MockSettings)
    assert (settings.seed, settings.fail) == (7, "rate_limited")
    with pytest.raises(ValidationError):
        settings.seed = 8  # type: ignore[misc]

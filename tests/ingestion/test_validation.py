"""Every rule of a row: what is kept, what is mended, what is set aside and why."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import DAY, Candle, Granularity, MarketProblem, RejectedRow, Snapshot
from app.ingestion.validation import (
    LARGEST,
    MOST_DIGITS,
    MOST_PLACES,
    is_sound_amount,
    is_sound_id,
    storable_problem,
    storable_rejection,
    validate_candles,
    validate_snapshots,
)
from tests.ingestion.making import MINUTE, NOW, build_candle, build_listing, build_snapshot

HOUR = datetime(2026, 3, 4, 9, tzinfo=UTC)
DECIMALS = st.one_of(
    st.decimals(allow_nan=True, allow_infinity=True),
    st.from_regex(r"-?[0-9]{1,40}(\.[0-9]{1,40})?(E[+-]?[0-9]{1,5})?", fullmatch=True).map(Decimal),
)
INSTANTS = st.one_of(
    st.none(),
    st.datetimes(),
    st.datetimes(timezones=st.just(UTC)),
    st.datetimes(
        timezones=st.sampled_from([timezone(timedelta(hours=14)), timezone(-timedelta(hours=12))])
    ),
    st.timedeltas(-timedelta(days=40), timedelta(minutes=10)).map(lambda age: NOW + age),
)


def reason(row: Snapshot) -> str | None:
    """Why a snapshot is set aside; None when it is kept."""
    good, bad = validate_snapshots([row], now=NOW)
    assert len(good) + len(bad) == 1
    return bad[0].reason if bad else None


def flags(row: Snapshot) -> tuple[str, ...]:
    """The flags a kept snapshot earns."""
    (kept,), bad = validate_snapshots([row], now=NOW)
    assert not bad
    return kept.flags


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("NaN", "price_not_finite"),
        ("sNaN", "price_not_finite"),
        ("Infinity", "price_not_finite"),
        ("-Infinity", "price_not_finite"),
        ("0", "price_not_positive"),
        ("-1.5", "price_not_positive"),
        ("-0.0", "price_not_positive"),
        ("0E-400", "price_not_positive"),
        (None, "price_missing"),
        ("1e400", "price_out_of_range"),
        ("1e30", "price_out_of_range"),
        ("1" * 40, "price_out_of_range"),
        ("1E-1001", "price_out_of_range"),
        ("1E-20000", "price_out_of_range"),
        ("0." + "7" * 201, "price_too_long"),
    ],
)
def test_what_is_no_price_is_set_aside_with_its_reason(price: str | None, expected: str) -> None:
    assert reason(build_snapshot(price)) == expected


@pytest.mark.parametrize(
    "price",
    ["123.45", "2.8e-09", "1e-12", "1E-400", "1E-1000", "9" * 30, "1." + "7" * 30, "56000000.5"],
)
def test_a_price_is_kept_digit_by_digit(price: str) -> None:
    (kept,), bad = validate_snapshots([build_snapshot(price)], now=NOW)
    assert bad == []
    assert kept.price.as_tuple() == Decimal(price).as_tuple()
    assert kept.flags == ()


@pytest.mark.parametrize(
    ("field", "value", "is_kept"),
    [
        ("volume", "-1", False),
        ("volume", "NaN", False),
        ("volume", "Infinity", False),
        ("volume", "0", True),
        ("volume", "1E-20000", False),
        ("market_cap", "1e30", False),
        ("market_cap", "1e29", True),
        ("market_cap", "1e18", True),
        ("volatility", "-0.1", False),
        ("volatility", "0.1", True),
        ("roi_1h_pct", "-NaN", False),
        ("roi_24h_pct", "Infinity", False),
        ("roi_7d_pct", "1E+200000", False),
        ("roi_30d_pct", "-99.9", True),
    ],
)
def test_a_figure_that_cannot_be_true_goes_and_the_price_stays(
    field: str, value: str, is_kept: bool
) -> None:
    row = build_snapshot("5", **{field: Decimal(value)})
    (kept,), _ = validate_snapshots([row], now=NOW)
    assert kept.price == 5
    assert (getattr(kept.snapshot, field) is not None) is is_kept
    assert kept.flags == (() if is_kept else (f"{field}_dropped",))


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (NOW + timedelta(minutes=5, seconds=1), "time_in_future"),
        (NOW + timedelta(days=2), "time_in_future"),
        (datetime(9999, 12, 31, tzinfo=UTC), "time_in_future"),
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=12))), "time_in_future"),
        (NOW - timedelta(days=30, seconds=1), "time_too_old"),
        (datetime(1970, 1, 1, tzinfo=UTC), "time_too_old"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), "time_too_old"),
        (NOW.replace(tzinfo=None), "time_without_zone"),
    ],
)
def test_an_impossible_time_is_set_aside(at: datetime, expected: str) -> None:
    assert reason(build_snapshot(at=at)) == expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (NOW - timedelta(days=3000), ("stale",)),
        (datetime(1900, 1, 1, tzinfo=UTC), ("stale",)),
        (NOW - timedelta(hours=1), ()),
    ],
)
def test_what_was_recorded_long_ago_is_kept_at_its_true_time(
    at: datetime, expected: tuple[str, ...]
) -> None:
    (kept,), _ = validate_snapshots([build_snapshot(at=at)], now=NOW, is_recorded=True)
    assert (kept.observed_at, kept.flags) == (at, expected)


def test_what_was_recorded_before_1900_or_tomorrow_is_set_aside_all_the_same() -> None:
    rows = [build_snapshot(at=datetime(1899, 12, 31, tzinfo=UTC)), build_snapshot(at=NOW + 2 * DAY)]
    kept, bad = validate_snapshots(rows, now=NOW, is_recorded=True)
    assert (kept, [row.reason for row in bad]) == ([], ["time_too_old", "time_in_future"])
    assert bad[0].detail.endswith("is before 1900.")


@pytest.mark.parametrize(
    ("at", "kept_at", "expected"),
    [
        (NOW, NOW, ()),
        (NOW + 5 * MINUTE, NOW, ("time_clamped",)),
        (NOW + timedelta(microseconds=1), NOW, ("time_clamped",)),
        (None, NOW, ("time_local",)),
        (NOW - timedelta(hours=24), NOW - timedelta(hours=24), ()),
        (NOW - timedelta(hours=25), NOW - timedelta(hours=25), ("stale",)),
        (NOW - timedelta(days=8), NOW - timedelta(days=8), ("stale",)),
        (NOW - timedelta(days=30), NOW - timedelta(days=30), ("stale",)),
    ],
)
def test_a_possible_time_is_kept_or_mended_and_says_so(
    at: datetime | None, kept_at: datetime, expected: tuple[str, ...]
) -> None:
    (kept,), _ = validate_snapshots([build_snapshot(at=at)], now=NOW)
    assert (kept.observed_at, kept.flags) == (kept_at, expected)


@pytest.mark.parametrize("zone", [timezone(timedelta(hours=5, minutes=30)), ZoneInfo("Asia/Tokyo")])
def test_an_instant_of_another_zone_becomes_utc(zone: Any) -> None:
    (kept,), _ = validate_snapshots([build_snapshot(at=NOW.astimezone(zone))], now=NOW)
    assert kept.observed_at.tzinfo is UTC
    assert kept.observed_at == NOW


def test_of_equal_rows_of_one_instant_one_is_kept() -> None:
    rows = [build_snapshot("7"), build_snapshot("7"), build_snapshot("7")]
    (kept,), bad = validate_snapshots(rows, now=NOW)
    assert (kept.price, kept.flags, bad) == (Decimal(7), (), [])


def test_of_different_rows_of_one_instant_the_last_is_kept_and_flagged() -> None:
    rows = [build_snapshot("7"), build_snapshot("8"), build_snapshot("8")]
    (kept,), bad = validate_snapshots(rows, now=NOW)
    assert (kept.price, kept.flags, bad) == (Decimal(8), ("repeated",), [])


def test_rows_of_two_listings_at_one_instant_are_both_kept() -> None:
    rows = [build_snapshot("7"), build_snapshot("7", listing=build_listing("ETH-USD"))]
    good, _ = validate_snapshots(rows, now=NOW)
    assert [row.flags for row in good] == [(), ()]


def test_a_row_nobody_asked_for_is_set_aside() -> None:
    asked = {build_listing("ETH-USD").key}
    good, bad = validate_snapshots([build_snapshot()], now=NOW, asked=asked)
    assert (good, [row.reason for row in bad]) == ([], ["not_asked"])
    candles, bad = validate_candles([build_candle(HOUR)], now=NOW, asked=asked)
    assert (candles, [row.reason for row in bad]) == ([], ["not_asked"])


@pytest.mark.parametrize("name", ["", " ", "a\0b", "a\nb", "a\ud800", "x" * 201])
def test_an_id_that_cannot_be_a_key_is_refused(name: str) -> None:
    listing = build_listing(provider_id=name or " ")
    assert not is_sound_id(name)
    assert reason(build_snapshot(listing=listing)) == "bad_id"


@pytest.mark.parametrize("name", ["bitcoin", "1move token", "boringdao-[old]", "_", "-5", "🪙"])
def test_an_odd_id_is_an_id(name: str) -> None:
    assert reason(build_snapshot(listing=build_listing(provider_id=name))) is None


def test_a_rejected_row_names_market_reason_and_raw_text() -> None:
    row = build_snapshot("0", raw='{"id": "bitcoin", "current_price": 0}')
    _, (bad,) = validate_snapshots([row], now=NOW)
    assert (bad.kind, bad.symbol, bad.provider_id) == ("snapshot", "BTC-USD", "btc-usd")
    assert bad.raw == '{"id": "bitcoin", "current_price": 0}'
    assert bad.detail == "The price is 0; it must be above zero."


def test_texts_that_postgresql_cannot_take_are_made_fit() -> None:
    dirty = RejectedRow("snapshot", "bad\0", "d\ud800", "r\0" * 9000, "S\0", None)
    clean = storable_rejection(dirty)
    assert (clean.reason, clean.detail, clean.symbol) == ("bad", "d\ufffd", "S")
    assert clean.raw == "r" * 4000
    problem = storable_problem(MarketProblem("A\0", "X", "\ud800"))
    assert problem == MarketProblem("A", "X", "\ufffd")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"high": Decimal(99), "low": Decimal(101)}, "high_below_low"),
        ({"close": Decimal(102)}, "outside_extremes"),
        ({"open": Decimal(98)}, "outside_extremes"),
        ({"low": Decimal(-1)}, "low_not_positive"),
        ({"high": Decimal("Infinity")}, "high_not_finite"),
        ({"close": Decimal("NaN")}, "close_not_finite"),
        ({"open": Decimal("1E-20000")}, "open_out_of_range"),
        ({"sample_count": 0}, "no_samples"),
        ({"sample_count": 2**31}, "no_samples"),
        ({"opened_at": HOUR + MINUTE}, "off_grid"),
        ({"opened_at": HOUR, "granularity": Granularity.DAILY}, "off_grid"),
        ({"opened_at": HOUR.replace(tzinfo=None)}, "time_without_zone"),
        ({"opened_at": HOUR + timedelta(hours=2)}, "time_in_future"),
        ({"opened_at": datetime(1, 1, 1, tzinfo=UTC)}, "time_too_old"),
    ],
)
def test_an_impossible_candle_is_set_aside(values: dict[str, Any], expected: str) -> None:
    shape = {"open": Decimal(100), "high": Decimal(101), "low": Decimal(99), "close": Decimal(100)}
    row = build_candle(**({"opened_at": HOUR} | shape | values))
    good, (bad,) = validate_candles([row], now=NOW)
    assert (good, bad.reason, bad.kind) == ([], expected, "candle")


def test_a_candle_loses_only_the_figures_that_cannot_be_true() -> None:
    row = build_candle(
        HOUR.astimezone(timezone(timedelta(hours=2))),
        volume=Decimal(-1),
        average=Decimal("NaN"),
        volatility=Decimal("Infinity"),
        first_observed_at=HOUR,
        last_observed_at=HOUR + timedelta(hours=2),
    )
    (kept,), bad = validate_candles([row], now=NOW)
    assert (kept.volume, kept.average, kept.volatility, bad) == (None, None, None, [])
    assert (kept.first_observed_at, kept.last_observed_at) == (HOUR, None)
    assert kept.opened_at.tzinfo is UTC


@pytest.mark.parametrize("opened_at", [datetime(2026, 3, 2, tzinfo=UTC), HOUR])
def test_the_edge_of_an_interval_opens_it(opened_at: datetime) -> None:
    good, _ = validate_candles([build_candle(opened_at)], now=NOW)
    assert [row.opened_at for row in good] == [opened_at]


@given(st.lists(st.builds(
    build_snapshot,
    st.one_of(st.none(), DECIMALS.map(str)),
    at=INSTANTS,
    volume=st.one_of(st.none(), DECIMALS),
    market_cap=st.one_of(st.none(), DECIMALS),
    volatility=st.one_of(st.none(), DECIMALS),
    roi_24h_pct=st.one_of(st.none(), DECIMALS),
    raw=st.text(),
), max_size=4))  # fmt: skip
def test_whatever_a_row_holds_it_is_kept_sound_or_set_aside(rows: list[Snapshot]) -> None:
    good, bad = validate_snapshots(rows, now=NOW)
    instants = {(row.observed_at or NOW) for row in rows}
    assert len(good) + len(bad) <= len(rows)
    assert len(good) <= len(instants)
    for row in good:
        assert 0 < row.price < LARGEST
        assert NOW - timedelta(days=30) <= row.observed_at <= NOW
        for value in (row.snapshot.volume, row.snapshot.market_cap, row.snapshot.volatility):
            assert value is None or is_sound_amount(value)
        change = row.snapshot.roi_24h_pct
        assert change is None or (change.is_finite() and abs(change) < LARGEST)
        assert len(row.price.as_tuple().digits) <= MOST_DIGITS
        assert -int(row.price.as_tuple().exponent) <= MOST_PLACES
    for row in bad:
        assert row.reason
        assert "\0" not in row.raw


@given(st.builds(
    build_candle,
    INSTANTS.filter(bool),
    DECIMALS.filter(lambda value: not value.is_nan()).map(str),
    volume=st.one_of(st.none(), DECIMALS),
    average=st.one_of(st.none(), DECIMALS),
    first_observed_at=INSTANTS,
    last_observed_at=INSTANTS,
    sample_count=st.integers(),
))  # fmt: skip
def test_whatever_a_candle_holds_it_is_kept_sound_or_set_aside(row: Candle) -> None:
    good, bad = validate_candles([row], now=NOW)
    assert len(good) + len(bad) == 1
    for kept in good:
        assert kept.low <= kept.close <= kept.high < LARGEST
        assert kept.average is None or is_sound_amount(kept.average)

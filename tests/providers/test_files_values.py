"""What a cell of a file means."""

import contextlib
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.providers.files_candles import instant
from app.providers.files_values import (
    BadRow,
    key_of,
    loose_key,
    read_instant,
    read_interval,
    read_number,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1600498800.0", "2020-09-19T07:00:00"),
        ("1609286400", "2020-12-30T00:00:00"),
        ("1609286400000", "2020-12-30T00:00:00"),
        ("1609286400000000", "2020-12-30T00:00:00"),
        ("1609286400000000000", "2020-12-30T00:00:00"),
        ("1609286400.25", "2020-12-30T00:00:00.250000"),
        ("1609286400250.5", "2020-12-30T00:00:00.250500"),
        ("20201230", "2020-12-30T00:00:00"),
        ("2020-12-30", "2020-12-30T00:00:00"),
        ("2020-12-30 04:30:00", "2020-12-30T04:30:00"),
        ("2020-12-30T04:30:00.123456789Z", "2020-12-30T04:30:00.123456"),
        ("2020-12-30T04:30:00+02:00", "2020-12-30T02:30:00"),
        ("2020-12-30 04:30:00 UTC", "2020-12-30T04:30:00"),
        ("2020-09-19 12-AM", "2020-09-19T00:00:00"),
        ("2020-09-19 12-PM", "2020-09-19T12:00:00"),
        ("2020-09-19 07-pm", "2020-09-19T19:00:00"),
    ],
)
def test_a_time_without_zone_is_utc_and_numbers_are_told_by_their_size(
    text: str, expected: str
) -> None:
    assert instant(read_instant(text)) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_the_zone_of_the_machine_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert read_instant("2020-12-30 00:00:00") == read_instant("1609286400")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "null",
        "12/31/2020",
        "31.12.2020",
        "01-02-2020",
        "2020",
        "2020-13-01",
        "2020-02-30",
        "2020-01-01 13-PM",
        "2020-01-01T25:00:00",
        "1850-01-01",
        "-1609286400",
        "1.6e9",
        "٢٠٢٠-01-01",
        "now",
    ],
)
def test_what_is_no_time_or_may_be_two_is_refused(text: str | None) -> None:
    with pytest.raises(BadRow):
        read_instant(text)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    with contextlib.suppress(BadRow):
        assert datetime(1900, 1, 1, tzinfo=UTC) <= instant(read_instant(text))


@given(st.integers(10**8, 6 * 10**9))
def test_every_spelling_of_a_moment_is_the_same(seconds: int) -> None:
    whole = datetime.fromtimestamp(seconds, UTC).isoformat()
    texts = [str(seconds), str(seconds * 1000), whole, whole.replace("+00:00", "")]
    assert {read_instant(text) for text in texts} == {seconds * 1_000_000}


@pytest.mark.parametrize(
    "text", ["0.1", "27402.83", "1e-12", "6.64849E-07", "00012.50", ".5", "7.", "-3", "+2"]
)
def test_a_number_is_exactly_what_is_written(text: str) -> None:
    assert str(read_number(text, "it")) == str(Decimal(text))


@pytest.mark.parametrize("text", [None, "", "null", "NaN", "n/a", "-", "None"])
def test_a_cell_may_hold_no_number(text: str | None) -> None:
    assert read_number(text, "it") is None


@pytest.mark.parametrize(
    "text",
    ["1,234.5", "1,5", "0x1F", "1 000", "inf", "abc", "1e9999", "$5", "٣", "1_000", "9" * 201],
)
def test_what_is_no_plain_number_is_refused(text: str) -> None:
    with pytest.raises(BadRow):
        read_number(text, "it")


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("1h", 60),
        ("60m", 60),
        ("hourly", 60),
        ("H1", 60),
        ("1d", 1440),
        ("daily", 1440),
        ("15m", 15),
    ],
)
def test_intervals_go_by_their_usual_names(text: str, minutes: int) -> None:
    assert read_interval(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["", "0h", "USD", "2020", "h"])
def test_other_words_are_no_interval(text: str) -> None:
    assert read_interval(text) is None


def test_symbols_are_compared_in_one_spelling() -> None:
    assert {key_of(each) for each in ("btc/usd", "BTC_USD", " BTC-USD ", "btc:usd")} == {"BTC-USD"}
    assert loose_key("BTC-USD") == key_of("btcusd")

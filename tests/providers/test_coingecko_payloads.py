"""Rows of CoinGecko read strictly and exactly; nothing a row may hold goes unhandled."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain import Granularity, Listing
from app.providers.coingecko_history import Span, build_candles, read_points
from app.providers.coingecko_payloads import (
    BadRow,
    MarketChart,
    decode_rows,
    read_instant,
    read_market_row,
    read_number,
    reject,
)
from tests.providers.coingecko_setup import recorded, recordings

LISTING = Listing("coingecko", "bitcoin", "BTC-USD")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("83266", "83266"),
        ("6.64849e-07", "6.64849E-7"),
        ("1.56E+17", "1.56E+17"),
        ("0.123456789012345678901234", "0.123456789012345678901234"),
        ("-0.0", "-0.0"),
        ("1e400", "1E+400"),
        ("1E-400", "1E-400"),
        ("9" * 999, "9" * 999),
        ('"123.45"', "123.45"),
        ('"-1e3"', "-1E+3"),
    ],
)
def test_number_is_exactly_its_text(text: str, number: str) -> None:
    assert str(read_number(msgspec.Raw(text.encode()), "The price")) == number


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("true", "not_a_number"),
        ("[1]", "not_a_number"),
        ('{"a":1}', "not_a_number"),
        ('""', "not_a_number"),
        ('"1,234.5"', "not_a_number"),
        ('" 1.5 "', "not_a_number"),
        ('"0x1F"', "not_a_number"),
        ('"1_000"', "not_a_number"),
        ('"01"', "not_a_number"),
        ('"١٢٣"', "not_a_number"),
        ('"１２"', "not_a_number"),
        ('"NaN"', "not_a_number"),
        ('"Infinity"', "not_a_number"),
        ('"\\u0031"', "not_a_number"),
        ('"1\\n"', "not_a_number"),
        ("9" * 5_000, "number_too_long"),
        ("1e1001", "number_out_of_range"),
        ("0e-99999999", "number_out_of_range"),
        ("1e99999999999999999999", "number_out_of_range"),
    ],
)
def test_what_is_no_number_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadRow) as caught:
        read_number(msgspec.Raw(text.encode()), "The price")
    assert caught.value.reason == reason
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2025-04-16T01:06:16.759Z", datetime(2025, 4, 16, 1, 6, 16, 759_000, tzinfo=UTC)),
        ("2025-04-16T06:36:16+05:30", datetime(2025, 4, 16, 1, 6, 16, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2024-02-29T00:00:00.123456789+0000", datetime(2024, 2, 29, 0, 0, 0, 123_456, UTC)),
        ("9999-01-01T00:00:00Z", datetime(9999, 1, 1, tzinfo=UTC)),
    ],
)
def test_instants_are_read_with_their_offset(text: str, instant: datetime) -> None:
    assert read_instant(text) == instant
    assert read_instant(None) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2025-04-16",
        "2025-04-16T01:06:16",
        "2023-02-29T00:00:00Z",
        "2025-04-16T25:00:00Z",
        "2025-04-16T01:06:61Z",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:60Z",
        "２025-04-16T01:06:16Z",
        "58000-01-01T00:00:00Z",
        "1744765500",
    ],
)
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(BadRow) as caught:
        read_instant(text)
    assert caught.value.reason == "bad_time"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b'{"symbol": "btc"}', "bad_shape"),
        (b'{"id": null}', "bad_shape"),
        (b'{"id": 5}', "bad_shape"),
        (b'{"id": "a", "name": 5}', "bad_shape"),
        (b'{"id": "a", "name": "\\ud800"}', "bad_shape"),
        (b'{"id": "a", "last_updated": 1744765500}', "bad_shape"),
        (b'{"id": "a", "current_price": 1, "current_price": 2}', "duplicate_key"),
        (b'{"id": "a", "current_price" : 1, "x": [1], "current_price"\n: 2}', "duplicate_key"),
        (b"[1]", "bad_shape"),
        (b"null", "bad_shape"),
    ],
)
def test_row_of_another_shape_is_refused(row: bytes, reason: str) -> None:
    with pytest.raises(BadRow) as caught:
        read_market_row(row)
    assert caught.value.reason == reason


def test_key_inside_a_text_or_another_object_is_no_repetition() -> None:
    row = rb'{"id": "a", "roi": {"id": 1, "id": 2}, "name": "{\"id\": \"x\"}", "current_price": 1}'
    assert read_market_row(row).price == 1


def test_bad_rank_does_not_cost_the_row() -> None:
    for rank in ("null", "-4", "1.5", '"7"', "9" * 400):
        assert (
            read_market_row(b'{"id": "a", "market_cap_rank": ' + rank.encode() + b"}").rank is None
        )
    assert read_market_row(b'{"id": "a", "market_cap_rank": 7}').rank == 7


def test_rejected_row_keeps_at_most_4_kb_of_its_text() -> None:
    row = b'{"id": "a", "name": "' + b"x" * 100_000 + b'"}'
    rejected = reject(row, BadRow("r", "d"), kind="snapshot", listing=None)
    assert (len(rejected.raw), rejected.provider_id) == (4_096, "a")


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["1.5", "1e999999999", "NaN", "2025-04-16T01:06:16Z", 10**4000, -1, 0, 1e-12]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
KEYS = st.sampled_from(
    [
        "id",
        "symbol",
        "name",
        "current_price",
        "market_cap",
        "market_cap_rank",
        "total_volume",
        "last_updated",
        "price_change_percentage_24h",
        "price_change_percentage_7d_in_currency",
    ]
)
ROWS = st.lists(st.dictionaries(KEYS, VALUES, max_size=10) | VALUES, max_size=4)


@given(ROWS)
@settings(max_examples=400, deadline=None)
def test_any_row_is_either_read_or_refused(rows: list[Any]) -> None:
    text = json.dumps(rows).encode()
    try:
        found = decode_rows(text)
    except msgspec.DecodeError:
        assert b"NaN" in text or b"Infinity" in text
        return
    for row in found:
        try:
            market = read_market_row(row)
        except BadRow as error:
            reject(row, error, kind="snapshot", listing=None)
            continue
        numbers = [market.price, market.volume, market.market_cap, market.roi_24h_pct]
        assert all(number is None or number.is_finite() for number in numbers)
        assert market.observed_at is None or market.observed_at.tzinfo is UTC


@given(st.lists(st.lists(SCALARS, max_size=3) | SCALARS, max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_chart_becomes_sound_candles(points: list[Any]) -> None:
    stamped = [[1_744_754_400_000 + n * 2_000_000, p] for n, p in enumerate(points)]
    text = json.dumps([*points, *stamped]).replace("NaN", "1").replace("Infinity", "1e900")
    chart = MarketChart([msgspec.Raw(row) for row in decode_rows(text.encode())])
    found, rejected = read_points(chart, LISTING)
    assert len(found) + len(rejected) == len(chart.prices)
    now = datetime(2025, 4, 20, tzinfo=UTC)
    start = datetime(2025, 1, 20, tzinfo=UTC)
    for candle in build_candles(found, LISTING, Span(Granularity.HOURLY, start, now, now, 365)):
        assert 0 < candle.low <= min(candle.open, candle.close)
        assert max(candle.open, candle.close) <= candle.high
        assert candle.average is not None
        assert candle.average.is_finite()


def pages() -> list[bytes]:
    folders = [recordings("coingecko-markets-pages"), recordings("coingecko-daily-top100")]
    found = [path for folder in folders for path in sorted(folder.glob("*.json.gz"))]
    return [recorded(path) for path in found if "error-body" not in path.name]


def recorded_rows(page: bytes) -> list[dict[str, Any]]:
    """The rows with every number as its text; one page wraps them in another object."""
    content = json.loads(page, parse_float=str, parse_int=str)
    rows: list[dict[str, Any]] = content if isinstance(content, list) else content["data"]
    return rows


def test_every_recorded_price_comes_out_as_its_text() -> None:
    count = 0
    for page in pages():
        for row, expected in zip(decode_rows(page), recorded_rows(page), strict=True):
            market = read_market_row(row)
            assert market.price == Decimal(expected["current_price"])
            assert market.market_cap == Decimal(expected["market_cap"])
            assert market.volume == Decimal(expected["total_volume"])
            assert market.observed_at is not None
            assert (market.id, market.name) == (expected["id"], expected["name"])
            count += 1
    assert count > 8_900

"""CoinGecko's history: points gathered into candles by their time, whatever their order."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.domain import Candle, CandleBasis, Granularity, Listing
from app.errors import PermanentProviderError
from app.providers.base import Batch
from app.providers.coingecko import CoinGecko
from tests.providers.coingecko_setup import (
    build_context,
    build_provider,
    payload,
    recorded_json,
    recordings,
)
from tests.servers import Answer, ReceivedRequest, ScriptedServer

BITCOIN = Listing("coingecko", "bitcoin", "BTC-USD")
CHART = "/coins/bitcoin/market_chart"
# The hand-written chart runs from 22:00 to 01:30 UTC around this midnight.
MIDNIGHT = datetime(2025, 4, 16, tzinfo=UTC)
NOW = MIDNIGHT + timedelta(hours=1, minutes=31)
HOURLY, DAILY, WEEKLY = Granularity.HOURLY, Granularity.DAILY, Granularity.WEEKLY


@pytest.fixture
def provider(http_server: ScriptedServer) -> Iterator[CoinGecko]:
    http_server.script(CHART, Answer(body=payload("coingecko_market_chart.json")))
    made = build_provider(http_server.url, build_context(now=NOW))
    yield made
    made.close()


def fetch(
    provider: CoinGecko, granularity: Granularity, *, days: float, now: datetime = NOW
) -> Batch[Candle]:
    return provider.fetch_candles([BITCOIN], granularity, now - timedelta(days=days), now)


def prices(candle: Candle) -> tuple[str, str, str, str]:
    return (str(candle.open), str(candle.high), str(candle.low), str(candle.close))


def test_points_are_gathered_by_hour_in_the_order_of_time(provider: CoinGecko) -> None:
    candles = fetch(provider, HOURLY, days=1).rows
    assert [each.opened_at.hour for each in candles] == [22, 23, 0, 1]
    assert [prices(each) for each in candles] == [
        ("100", "100", "100", "100"),
        ("104.5", "104.5", "98.25", "98.25"),
        ("110", "110", "110", "110"),
        ("1.2E+2", "1.2E+2", "101.00000000000000001", "119.5"),
    ]


def test_candle_carries_what_its_points_say(provider: CoinGecko) -> None:
    candle = fetch(provider, HOURLY, days=1).rows[1]
    assert (candle.volume, candle.basis) == (None, CandleBasis.PROVIDER)
    assert (candle.average, candle.volatility) == (Decimal("101.375"), None)
    assert candle.first_observed_at == datetime(2025, 4, 15, 23, 0, 10, 250_000, tzinfo=UTC)
    assert candle.last_observed_at == datetime(2025, 4, 15, 23, 15, tzinfo=UTC)
    assert json.loads(candle.raw) == [[1744758010250, 104.5], [1744758900000, 98.25]]


def test_trailing_point_lies_in_an_open_candle(provider: CoinGecko) -> None:
    assert [each.is_final for each in fetch(provider, HOURLY, days=1).rows] == [True] * 3 + [False]
    daily = fetch(provider, DAILY, days=2).rows
    assert [each.is_final for each in daily] == [True, False]


def test_interval_that_an_old_answer_does_not_reach_beyond_stays_open(
    provider: CoinGecko, http_server: ScriptedServer
) -> None:
    points = [[1744754400000, 1], [1744758000000, 2]]
    http_server.script(CHART, Answer(body={"prices": points}))
    assert [each.is_final for each in fetch(provider, HOURLY, days=1).rows] == [True, False]


def test_bad_points_are_set_aside_one_by_one(provider: CoinGecko) -> None:
    rejected = fetch(provider, HOURLY, days=1).rejected
    assert [each.reason for each in rejected] == ["no_price", "bad_time", "no_price", "bad_shape"]
    assert {(each.kind, each.symbol, each.provider_id) for each in rejected} == {
        ("candle", "BTC-USD", "bitcoin")
    }
    assert json.loads(rejected[0].raw) == [1744760000000, None]


def test_thousands_of_bad_points_are_counted_in_one_row(
    provider: CoinGecko, http_server: ScriptedServer
) -> None:
    points = [[1744754400000 + n, None] for n in range(5_000)]
    http_server.script(CHART, Answer(body={"prices": points}))
    batch = fetch(provider, HOURLY, days=1)
    assert (len(batch.rows), len(batch.rejected)) == (0, 50)
    assert batch.rejected[-1].detail == "4,951 more points are bad."


def test_history_without_points_is_no_problem(
    provider: CoinGecko, http_server: ScriptedServer
) -> None:
    http_server.script(CHART, Answer(body={"prices": []}))
    assert fetch(provider, DAILY, days=30) == Batch([], [], [])


@pytest.mark.parametrize(
    ("granularity", "days_back", "asked"),
    [
        (HOURLY, 0.1, "2"),
        (HOURLY, 30, "30"),
        (HOURLY, 30.02, "31"),
        (HOURLY, 400, "90"),
        (DAILY, 91, "91"),
        (DAILY, 4_000, "365"),
    ],
)
def test_days_asked_for_fit_the_plan_and_the_steps(
    granularity: Granularity,
    days_back: float,
    asked: str,
    provider: CoinGecko,
    http_server: ScriptedServer,
) -> None:
    fetch(provider, granularity, days=days_back)
    query = http_server.requests[0].query
    assert query == {"vs_currency": "usd", "days": asked, "precision": "full"}


def test_interval_cut_by_the_reach_of_the_answer_is_left_out(
    provider: CoinGecko, http_server: ScriptedServer
) -> None:
    start = NOW - timedelta(days=365)
    points = [[int((start + timedelta(hours=n)).timestamp() * 1000), 5 + n] for n in range(72)]
    http_server.script(CHART, Answer(body={"prices": points}))
    rows = fetch(provider, DAILY, days=900).rows
    assert rows[0].opened_at == datetime(2024, 4, 17, tzinfo=UTC)


def test_points_outside_the_span_make_no_candle(provider: CoinGecko) -> None:
    batch = provider.fetch_candles([BITCOIN], HOURLY, MIDNIGHT, MIDNIGHT + timedelta(hours=1))
    assert [each.opened_at for each in batch.rows] == [MIDNIGHT]


def test_failed_market_is_a_problem_of_its_own_and_names_the_way_out(
    provider: CoinGecko, http_server: ScriptedServer
) -> None:
    text = "Your request exceeds the allowed time range."
    body = {"error": {"status": {"error_code": 10012, "error_message": text}}}
    http_server.script("/coins/old%20coin/market_chart", Answer(401, body))
    batch = provider.fetch_candles(
        [Listing("coingecko", "old coin", "OLD-USD"), BITCOIN, Listing("coingecko", "x", "X-USD")],
        HOURLY,
        NOW - timedelta(days=2),
        NOW,
    )
    assert {each.listing.symbol for each in batch.rows} == {"BTC-USD"}
    assert [(each.symbol, each.error_class) for each in batch.problems] == [
        ("OLD-USD", "PlanLimitError"),
        ("X-USD", "PermanentProviderError"),
    ]
    assert batch.problems[0].message.startswith("The history of OLD-USD is missing: CoinGecko's")
    assert "Lower INGESTION_LOOKBACK_DAYS" in batch.problems[0].message


def test_asking_ends_when_the_breaker_opens(http_server: ScriptedServer) -> None:
    listings = [Listing("coingecko", f"coin{n}", f"C{n}-USD") for n in range(40)]
    for each in listings:
        http_server.script(f"/coins/{each.provider_id}/market_chart", Answer(500))
    provider = build_provider(http_server.url, concurrency=2)
    batch = provider.fetch_candles(listings, HOURLY, NOW - timedelta(days=2), NOW)
    provider.close()
    assert [each.symbol for each in batch.problems] == [each.symbol for each in listings]
    assert {each.error_class for each in batch.problems[-30:]} == {"NotAsked"}
    assert 5 <= len(http_server.requests) <= 6


def test_asking_ends_when_the_budget_does_not_reach(http_server: ScriptedServer) -> None:
    def chart(request: ReceivedRequest) -> Answer:
        return Answer(body={"prices": [[1744754400000, 1]]})

    listings = [Listing("coingecko", f"coin{n}", f"C{n}-USD") for n in range(9)]
    for each in listings:
        http_server.handle(f"/coins/{each.provider_id}/market_chart", chart)
    context = build_context(now=NOW, seconds_left=30)
    provider = build_provider(http_server.url, context, requests_per_minute=4)
    batch = provider.fetch_candles(listings, HOURLY, NOW - timedelta(days=2), NOW)
    provider.close()
    assert (len(batch.rows), len(batch.problems), len(http_server.requests)) == (4, 5, 4)
    assert {each.error_class for each in batch.problems} == {"NotAsked"}


def test_weeks_are_refused_and_history_off_asks_nothing(
    provider: CoinGecko, http_server: ScriptedServer
) -> None:
    with pytest.raises(PermanentProviderError, match="no weekly candles"):
        fetch(provider, WEEKLY, days=7)
    without = build_provider(http_server.url, history_markets_per_run=0)
    assert fetch(without, DAILY, days=7) == Batch()
    assert http_server.requests == []


def recorded_charts() -> list[dict[str, Any]]:
    calls = recorded_json(recordings("coingecko-vcr-2021") / "interactions.json")
    return [call for call in calls if "market_chart?" in call["uri"]]


def test_recorded_histories_become_candles_that_hold_every_point(
    http_server: ScriptedServer,
) -> None:
    charts = recorded_charts()
    assert len(charts) == 3
    for call in charts:
        points = json.loads(call["body"], parse_float=Decimal, parse_int=Decimal)["prices"]
        now = datetime.fromtimestamp(float(points[-1][0]) / 1000, UTC)
        http_server.script(CHART, Answer(body=call["body"]))
        provider = build_provider(http_server.url, build_context(now=now))
        hours = fetch(provider, HOURLY, days=90, now=now).rows
        days = fetch(provider, DAILY, days=90, now=now).rows
        provider.close()
        inside = [price for at, price in points if at / 1000 >= hours[0].opened_at.timestamp()]
        assert sum(each.sample_count for each in hours) == len(inside)
        assert max(each.high for each in hours) == max(inside)
        assert {each.is_final for each in hours[:-1]} == {True}
        assert (hours[-1].is_final, days[-1].is_final) == (False, False)
        assert hours[-1].opened_at == HOURLY.floor(now)
        assert [each.opened_at for each in days] == sorted({each.opened_at for each in days})


def test_recorded_point_before_its_predecessor_is_put_in_order(
    http_server: ScriptedServer,
) -> None:
    [call] = [call for call in recorded_charts() if "days=1&" in call["uri"]]
    stamps = [at for at, _ in json.loads(call["body"])["prices"]]
    assert stamps != sorted(stamps)
    now = datetime.fromtimestamp(max(stamps) / 1000, UTC)
    http_server.script(CHART, Answer(body=call["body"]))
    provider = build_provider(http_server.url, build_context(now=now))
    last = fetch(provider, HOURLY, days=2, now=now).rows[-1]
    provider.close()
    assert last.last_observed_at == now.replace(microsecond=now.microsecond // 1000 * 1000)

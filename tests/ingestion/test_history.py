"""Candles between provider and transaction: judged as they come, few of them at once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import pytest

from app.domain import HOUR, Candle, Granularity, RejectedRow, RunStatus
from app.ingestion import history as module
from app.ingestion.history import History
from tests.ingestion.making import NOW, Script, Tape, build_candle, build_listing, build_snapshot

THIS_HOUR = NOW.replace(minute=0)
BTC, ETH = build_listing("BTC-USD"), build_listing("ETH-USD")
IDS = {BTC.key: 2, ETH.key: 1}


@dataclass(frozen=True)
class Counted(Candle):
    """A candle that knows how many of its kind there are."""

    alive: ClassVar[int] = 0

    def __post_init__(self) -> None:
        Counted.alive += 1

    def __del__(self) -> None:
        Counted.alive -= 1


def fill(history: History, candles: Iterable[Candle]) -> list[RejectedRow]:
    """What was set aside."""
    bad: list[RejectedRow] = []
    asked = {BTC.key, ETH.key}
    history.fill(candles, provider="scripted", now=lambda: NOW, asked=asked, set_aside=bad.extend)
    return bad


def test_however_long_the_history_few_candles_are_in_memory_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS", 50)
    one = build_candle(THIS_HOUR)
    most = 0

    def candles() -> Iterator[Candle]:
        nonlocal most
        for number in range(1000):
            yield Counted(
                BTC, Granularity.HOURLY, THIS_HOUR - number * HOUR, one.open, one.high, one.low,
                one.close,
            )  # fmt: skip
            most = max(most, Counted.alive)

    with History() as history:
        fill(history, candles())
        assert history.good_count == 1000
        assert 50 <= most <= 101
        assert len(list(history.chunks(IDS))) == 20


def test_bad_candles_are_all_set_aside_with_their_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS", 10)
    with History() as history:
        bad = fill(history, [build_candle(THIS_HOUR - n * HOUR, "-1") for n in range(25)])
        assert [row.reason for row in bad] == ["low_not_positive"] * 25
        assert history.good_count == 0
        assert list(history.chunks(IDS)) == []


def test_hours_are_known_with_the_days_and_weeks_they_lie_in() -> None:
    monday = THIS_HOUR.replace(day=2, hour=0)
    with History() as history:
        fill(history, [build_candle(monday + n * HOUR, listing=BTC) for n in (-1, 0, 23, 24)])
        fill(history, [build_candle(monday, listing=ETH)])
        hours = history.hours_by_market(IDS)
    assert set(hours) == {1, 2}
    assert monday - HOUR in hours[2]
    assert monday - HOUR not in hours[1]
    assert hours[2].intervals(Granularity.DAILY) == {
        monday - 24 * HOUR, monday, monday + 24 * HOUR
    }  # fmt: skip
    assert hours[2].intervals(Granularity.WEEKLY) == {monday - 168 * HOUR, monday}


def test_a_run_stores_the_same_whatever_the_size_of_chunks_and_calls(
    tape: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings = [build_listing(name) for name in ("BTC-USD", "ETH-USD", "SOL-USD")]
    script = Script(
        [build_snapshot(listing=each) for each in listings],
        [build_candle(THIS_HOUR - n * HOUR, listing=each) for each in listings for n in range(48)],
    )
    markets = ",".join(each.symbol for each in listings)
    whole = tape.run(script, markets=markets, lookback_days=2)
    expected, calls = tape.data(), len(script.calls)
    with tape.engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE market RESTART IDENTITY CASCADE")
    monkeypatch.setattr(module, "CHUNK_ROWS", 11)
    monkeypatch.setattr("app.ingestion.history_plan.CANDLES_PER_CALL", 60)
    monkeypatch.setattr("app.ingestion.candles.WEEKS_PER_STEP", 1)
    script.calls.clear()
    parts = tape.run(script, markets=markets, lookback_days=2)
    assert (calls, len(script.calls)) == (1, 3)
    assert tape.data() == expected
    assert parts.status is RunStatus.SUCCEEDED
    assert parts.totals.fetched == 3 * (whole.totals.fetched - 3) + 3

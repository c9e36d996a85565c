"""Which part of the history a run asks for, and when what it got is nothing."""

from datetime import datetime, timedelta

import pytest

from app.domain import DAY, HOUR, Granularity, Listing
from app.errors import PermanentProviderError
from app.ingestion.collect import Collected
from app.ingestion.history_plan import is_changed, plan_history
from app.ingestion.listings import KnownListings
from app.providers.base import Capabilities, OwnCandles
from tests.ingestion.making import NOW, Script, Tape, build_candle, build_listing, build_snapshot

THIS_HOUR = NOW.replace(minute=0)
LOOKBACK = timedelta(days=2)
SINCE = THIS_HOUR - LOOKBACK - 2 * HOUR


def plan(
    ages: dict[str, int | None], *, budget: int | None = None, asked: datetime = SINCE
) -> dict[str, datetime]:
    """From when on each listing is asked for; `ages` are hours since its last final candle."""
    listings = {symbol: build_listing(symbol) for symbol in ages}
    planned = plan_history(
        listings.values(),
        {
            listings[name].key: THIS_HOUR - age * HOUR
            for name, age in ages.items()
            if age is not None
        },
        {listings[name].key: asked for name, age in ages.items() if age is not None},
        Capabilities(granularities=frozenset(Granularity), candle_calls_per_run=budget),
        now=NOW,
        lookback=LOOKBACK,
    )
    return {listing.symbol: start for start, group in planned.items() for listing in group}


def test_a_new_listing_is_asked_for_its_whole_look_back() -> None:
    assert plan({"A": None}) == {"A": SINCE}


def test_a_known_listing_continues_after_its_last_final_candle() -> None:
    assert plan({"A": 1, "B": 30}) == {"A": THIS_HOUR, "B": THIS_HOUR - 29 * HOUR}


def test_a_longer_look_back_asks_for_everything_again() -> None:
    assert plan({"A": 1}, asked=SINCE + 5 * HOUR) == {"A": SINCE}


def test_nothing_older_than_the_look_back_is_asked_for() -> None:
    assert plan({"A": 2000}) == {"A": SINCE}


def test_a_budget_goes_to_new_listings_then_to_those_that_lag_most() -> None:
    ages = {"A": 1, "B": 5, "C": 40, "D": None}
    assert set(plan(ages, budget=2)) == {"D", "C"}
    assert set(plan(ages, budget=9)) == {"D", "C", "B"}


def test_days_are_asked_for_by_days_and_count_from_the_newest_row() -> None:
    able = Capabilities(granularities=frozenset(Granularity))
    fresh, going_on, old = (build_listing(name) for name in ("A-USD", "B-USD", "C-USD"))
    today = NOW.replace(hour=0, minute=0)
    planned = plan_history(
        [fresh, going_on, old],
        {going_on.key: today - 2 * DAY},
        {going_on.key: today - 30 * DAY},
        able,
        now=NOW,
        lookback=10 * DAY,
        granularity=Granularity.DAILY,
        newest={old.key: NOW - 1000 * DAY},
    )
    assert planned == {
        today - 12 * DAY: [fresh],
        today - 1 * DAY: [going_on],
        today - 1012 * DAY: [old],
    }


def test_a_changed_past_is_asked_for_from_its_very_beginning() -> None:
    one, other = build_listing("A-USD"), build_listing("B-USD")
    known = {one.key: SINCE - 900 * DAY, other.key: SINCE}
    last = {one.key: THIS_HOUR - HOUR, other.key: THIS_HOUR - HOUR}
    able = Capabilities(granularities=frozenset(Granularity))
    planned = plan_history(
        [one, other], last, known, able, now=NOW, lookback=LOOKBACK, changed={one.key}
    )
    assert planned == {SINCE - 900 * DAY: [one], THIS_HOUR: [other]}


@pytest.mark.parametrize(
    ("now_is", "was", "is_changed_now"),
    [(None, "x", False), ("x", "x", False), ("y", "x", True), ("x", None, True), ("", "", True)],
)
def test_a_past_has_changed_unless_its_state_is_known_to_be_the_same(
    now_is: str | None, was: str | None, *, is_changed_now: bool
) -> None:
    key = build_listing().key
    known = KnownListings({}, {}, {}, {key: was} if was else {})
    assert is_changed(OwnCandles(frozenset(), now_is), key, known) is is_changed_now


def test_the_state_of_what_was_not_read_is_not_remembered() -> None:
    keys = [build_listing(name).key for name in ("A-USD", "B-USD", "C-USD")]
    states = ("1", "2", "")
    own = {key: OwnCandles(frozenset(), state) for key, state in zip(keys, states, strict=True)}
    assert Collected(own_candles=own, unread={keys[1]}).history_states == {keys[0]: "1"}


def test_only_the_finest_granularity_is_asked_for_unless_a_provider_says_otherwise() -> None:
    assert Capabilities(granularities=frozenset(Granularity)).finest == {Granularity.HOURLY}
    coarse = frozenset({Granularity.WEEKLY, Granularity.DAILY})
    assert Capabilities(granularities=coarse).finest == {Granularity.DAILY}
    assert Capabilities().finest == frozenset()


def test_a_run_continues_the_history_of_the_run_before(tape: Tape) -> None:
    candles = [build_candle(THIS_HOUR - n * HOUR) for n in range(1, 20)]
    script = Script([build_snapshot()], candles)
    tape.run(script, lookback_days=2)
    tape.run(script, now=NOW + HOUR, lookback_days=2)
    assert script.calls == [
        f"hourly from {SINCE:%Y-%m-%d %H:%M}",
        f"hourly from {THIS_HOUR:%Y-%m-%d %H:%M}",
    ]


def test_without_a_look_back_no_history_is_asked_for(tape: Tape) -> None:
    script = Script([build_snapshot()])
    tape.run(script, lookback_days=0)
    assert script.calls == []


def test_the_history_of_a_market_without_snapshot_is_not_asked_for(tape: Tape) -> None:
    script = Script([build_snapshot()])
    tape.run(script, markets="ETH-USD,BTC-USD", lookback_days=1)
    assert tape.rows(
        "SELECT m.symbol FROM listing l JOIN market m ON m.id = l.market_id "
        "WHERE l.history_from IS NOT NULL"
    ) == ["BTC-USD"]


def test_an_empty_list_fails_the_run(tape: Tape) -> None:
    with pytest.raises(PermanentProviderError, match="scripted delivered no usable snapshot"):
        tape.run([])
    assert tape.count("market") == 0


def test_rows_that_are_all_bad_fail_the_run_and_say_how_many(tape: Tape) -> None:
    rows = [build_snapshot("0"), build_snapshot("-1")]
    with pytest.raises(PermanentProviderError, match="no usable snapshot; 2 rows were rejected"):
        tape.run(rows)


def test_a_ranking_counts_every_market_it_was_to_bring(tape: Tape) -> None:
    coins: list[Listing] = [
        build_listing(f"C{n}-USD", chosen_by="discovered", rank=n + 1) for n in range(10)
    ]
    script = Script([build_snapshot(listing=each) for each in coins], ranked=coins)
    report = tape.run(script, markets="top:50")
    assert (report.markets_requested, report.markets_ingested) == (50, 10)

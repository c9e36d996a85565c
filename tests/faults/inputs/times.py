"""Bad inputs 25 to 41: instants, the edges of intervals, and the operator's own time zone."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from app.cron import CronSchedule
from app.domain import RunStatus
from tests.faults.inputs.table import Check, Desk, bad_input, rejections, snapshots
from tests.ingestion.exchange import Deck, page, row

SET_ASIDE = "set aside alone, with its reason"
# Number, what it is, the instant as JSON, and the reason; seen on 4 March 2026 at 10:20 UTC.
REFUSED = (
    (25, "more than 5 minutes in the future", '"2026-03-04T10:26:00Z"', "time_in_future"),
    (26, "older than 30 days", '"2026-02-02T10:19:00Z"', "time_too_old"),
    (27, "milliseconds", "1772619600000", "bad_shape"),
    (28, "microseconds", "1772619600000000", "bad_shape"),
    (29, "ISO 8601 without a zone", '"2026-03-04T10:00:00"', "bad_time"),
    (31, "0, -1 and true", "0", "bad_shape"),
    (31, "0, -1 and true", "-1", "bad_shape"),
    (31, "0, -1 and true", "true", "bad_shape"),
    (32, "NaN", '"NaN"', "bad_time"),
    (34, "30 February", '"2026-02-30T10:00:00Z"', "bad_time"),
    (34, "29 February", '"2026-02-29T10:00:00Z"', "bad_time"),
    (36, "the year 58000", '"+58000-01-01T00:00:00Z"', "bad_time"),
    (36, "the year 58000", '"58000-01-01T00:00:00Z"', "bad_time"),
)
# The instant stored, and its flags.
STORED = (
    (25, '"2026-03-04T10:23:00Z"', "2026-03-04T10:20:00", ["time_clamped"]),
    (26, '"2026-02-02T10:21:00Z"', "2026-02-02T10:21:00", ["stale"]),
    (30, '"2026-03-04T15:50:00+05:30"', "2026-03-04T10:20:00", []),
    (33, '"2026-02-28T23:59:60Z"', "2026-03-01T00:00:00", ["stale"]),
    (35, "null", "2026-03-04T10:20:00", ["time_local"]),
)


def _with_time(text: str, coin_id: str) -> str:
    return json.dumps(row(coin_id, last_updated=None)).replace(
        '"last_updated": null', f'"last_updated": {text}'
    )


def _try_times(deck: Deck) -> tuple[dict[str, str], dict[str, Any]]:
    rows = [(number, text) for number, _, text, _ in REFUSED]
    rows += [(number, text) for number, text, _, _ in STORED]
    detail = deck.ingest(page(*(_with_time(text, f"{number} {text}") for number, text in rows)))
    assert detail.run.status is RunStatus.PARTIAL
    return rejections(deck, detail.run.id), snapshots(deck, "s.observed_at, s.flags")


def _check_times(number: int) -> Check:
    def check(desk: Desk) -> None:
        reasons, stored = desk.once("times", _try_times)
        for text, reason in [each[2:] for each in REFUSED if each[0] == number]:
            assert reasons[f"{number} {text}"] == reason
            assert f"{number} {text}" not in stored
        for text, instant, flags in [each[1:] for each in STORED if each[0] == number]:
            at = datetime.fromisoformat(instant).replace(tzinfo=UTC)
            assert stored[f"{number} {text}"] == (at, flags)

    return check


for _number, _what in {each[0]: each[1] for each in REFUSED}.items():
    if _number not in (25, 26, 34):
        bad_input(_number, _what, SET_ASIDE)(_check_times(_number))
bad_input(25, "in the future", "set aside from 5 minutes on, up to that taken as the present")(
    _check_times(25)
)
bad_input(26, "old", "flagged as stale, set aside from 30 days on")(_check_times(26))
bad_input(30, "an offset of +05:30", "stored in UTC")(_check_times(30))
bad_input(33, "a leap second (:60)", "stored as the next second")(_check_times(33))
bad_input(35, "no time at all", "the time of the run, and a flag that says so")(_check_times(35))


@bad_input(34, "29 and 30 February", "set aside, unless the year has that day")
def _february(desk: Desk) -> None:
    _check_times(34)(desk)
    deck = desk.fresh()
    deck.clock.now = datetime(2028, 3, 1, 10, 20, tzinfo=UTC)
    deck.ingest(page(row(last_updated="2028-02-29T10:00:00Z")))
    assert snapshots(deck, "s.observed_at")["bitcoin"] == datetime(2028, 2, 29, 10, tzinfo=UTC)


def _observe(deck: Deck, instant: str, price: int) -> None:
    """A run a minute after an observation at that instant (UTC)."""
    at = datetime.fromisoformat(instant).replace(tzinfo=UTC)
    deck.clock.now = max(deck.clock.now, at + timedelta(minutes=1))
    text = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    detail = deck.ingest(page(row(current_price=price, last_updated=text)))
    assert detail.run.snapshots_ingested == 1


def _candles(deck: Deck, granularity: str) -> dict[str, tuple[Any, ...]]:
    """Open, high, low, close and sample count of each candle, by its opening."""
    rows = deck.rows(
        "SELECT to_char(opened_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), open::int, high::int, "
        "low::int, close::int, sample_count FROM market_aggregate "
        f"WHERE granularity = '{granularity}' ORDER BY opened_at"
    )
    return {found[0]: found[1:] for found in rows}


@bad_input(37, "an observation out of order", "changes the candles it falls into and no other")
def _late(desk: Desk) -> None:
    deck = desk.fresh()
    for instant, price in (("2026-03-04T10:05", 100), ("2026-03-04T10:55", 110)):
        _observe(deck, instant, price)
    _observe(deck, "2026-03-04T12:10", 120)
    before = _candles(deck, "hourly")
    _observe(deck, "2026-03-04T10:30", 300)
    after = _candles(deck, "hourly")
    assert before["2026-03-04 10:00"] == (100, 110, 100, 110, 2)
    assert after.pop("2026-03-04 10:00") == (100, 300, 100, 110, 3)
    before.pop("2026-03-04 10:00")
    assert after == before
    assert _candles(deck, "daily")["2026-03-04 00:00"][:4] == (100, 300, 100, 120)


@bad_input(38, "an observation at the very edge of an hour", "belongs to the new hour")
def _edge(desk: Desk) -> None:
    deck = desk.fresh()
    _observe(deck, "2026-03-05T23:59:59.999999", 100)
    _observe(deck, "2026-03-06T00:00:00", 110)
    for granularity, first in (("hourly", "2026-03-05 23:00"), ("daily", "2026-03-05 00:00")):
        assert _candles(deck, granularity) == {
            first: (100, 100, 100, 100, 1),
            "2026-03-06 00:00": (110, 110, 110, 110, 1),
        }


@bad_input(39, "Sunday's last microsecond and Monday's first", "two weeks")
def _turn_of_week(desk: Desk) -> None:
    deck = desk.fresh()
    _observe(deck, "2026-03-08T23:59:59.999999", 100)
    _observe(deck, "2026-03-09T00:00:00", 110)
    assert list(_candles(deck, "weekly")) == ["2026-03-02 00:00", "2026-03-09 00:00"]


@bad_input(40, "the turn of the year in week 53", "splits the day, not the week")
def _turn_of_year(desk: Desk) -> None:
    deck = desk.fresh()
    for instant in ("2026-12-31T23:59:59.999999", "2027-01-01T00:00:00", "2027-01-04T00:00:00"):
        _observe(deck, instant, 100)
    assert date(2027, 1, 3).isocalendar()[:2] == (2026, 53)
    days = ["2026-12-31 00:00", "2027-01-01 00:00", "2027-01-04 00:00"]
    assert list(_candles(deck, "daily")) == days
    assert list(_candles(deck, "weekly")) == ["2026-12-28 00:00", "2027-01-04 00:00"]


@bad_input(41, "an operator's zone with summer time", "candles and ticks stay in UTC")
def _summer_time(desk: Desk) -> None:
    deck = desk.fresh()
    with _living_in("Europe/Berlin"):
        for day in ("2026-03-29", "2026-10-25"):
            _observe(deck, f"{day}T00:30:00", 100)
            _observe(deck, f"{day}T01:30:00", 110)
            hours = [opened for opened in _candles(deck, "hourly") if opened.startswith(day)]
            assert hours == [f"{day} 00:00", f"{day} 01:00"]
            assert _candles(deck, "daily")[f"{day} 00:00"][4] == 2
            midnight = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=UTC)
            ticks = CronSchedule("30 * * * *").due_between(midnight, midnight + timedelta(days=1))
            assert ticks == [midnight + timedelta(hours=hour, minutes=30) for hour in range(24)]
    assert snapshots(deck, "s.price")["bitcoin"] == Decimal(110)


@contextmanager
def _living_in(zone: str) -> Iterator[None]:
    """This process in another time zone."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = zone
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()

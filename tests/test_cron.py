"""What cron expressions mean, against tables of real cron and across daylight saving."""

import json
import os
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cron import MACROS, CronSchedule

BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"
# Where the table's library and Debian's cron differ: */n beside a weekday, and what a clock
# change does to a fixed time. The values are ours.
ACTIVATION_DIFFERS = {("Sun Jul 15 00:00 2012", "* * */10 * Sun"): False}
NEXT_DIFFERS = {
    ("Mon Jul 9 23:35 2012", "0 0 */5 Apr,Aug,Oct Mon"): "2012-08-06T00:00:00+0000",
    ("2012-03-11T00:00:00-0500", "30 2 11 Mar ?"): "2012-03-11T03:00:00-0400",
    ("2012-03-11T00:00:00-0500", "0 2 * * ?"): "2012-03-11T03:00:00-0400",
    ("2012-11-04T01:45:00-0400", "30 1 04 Nov ?"): "2013-11-04T01:30:00-0500",
    ("2012-11-04T01:00:00-0400", "0 1 * * ?"): "2012-11-05T01:00:00-0500",
}


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    folder = os.environ.get("TAPEDECK_RECORDINGS")
    if not folder:
        pytest.skip("TAPEDECK_RECORDINGS is not set: the recorded cron tables are not here")
    text = (Path(folder) / "cron-tables" / "robfig-cron.json").read_text("utf-8")
    return dict(json.loads(text))


def instant(text: str, zone: str = "UTC") -> datetime:
    """Read one of the table's two ways of writing a moment."""
    if "T" in text and text[0] == "2":
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z")
    # Some weekday names in the table are wrong, so they are not read.
    _, month, day, clock, year = text.split()
    clock = clock if clock.count(":") == 2 else f"{clock}:00"
    wall = f"{year} {month} {day} {clock}"
    return datetime.strptime(wall, "%Y %b %d %H:%M:%S").replace(tzinfo=ZoneInfo(zone))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due(expression: str, after: str, until: str, zone: str) -> list[str]:
    """The wall-clock times due between two UTC instants."""
    schedule = CronSchedule(expression, timezone=zone)
    ticks = schedule.due_between(utc(after), utc(until))
    return [tick.astimezone(ZoneInfo(zone)).strftime("%d %H:%M %Z") for tick in ticks]


def test_every_activation_of_the_recorded_table_is_met(table: dict[str, Any]) -> None:
    cases = table["activation"]["cases"]
    assert len(cases) == 29
    for case in cases:
        moment = instant(case["time"])
        fires = CronSchedule(case["spec"]).latest_until(moment) == moment
        expected = ACTIVATION_DIFFERS.get((case["time"], case["spec"]), case["fires"])
        assert fires == expected, case


def _five_fields(case: dict[str, str]) -> tuple[str, str, str] | None:
    """(from, expression, zone) of a case without seconds of its own, None for the others."""
    zone, came_from = "UTC", case["from"]
    fields = case["spec"].split()
    if "TZ=" in fields[0]:
        zone = fields.pop(0).partition("=")[2]
    if came_from.startswith("TZ="):
        zone, came_from = came_from.removeprefix("TZ=").split()
    return (came_from, " ".join(fields[1:]), zone) if fields[0] == "0" else None


def test_every_next_time_of_the_recorded_table_is_met(table: dict[str, Any]) -> None:
    seen = 0
    for case in table["next"]["cases"]:
        if (read := _five_fields(case)) is None:
            continue
        seen += 1
        came_from, fields, zone = read
        if case["next"] == "":
            with pytest.raises(ValueError, match="no such date ever comes"):
                CronSchedule(fields)
            continue
        expected = NEXT_DIFFERS.get((came_from, fields), case["next"])
        found = CronSchedule(fields, timezone=zone).next_after(instant(came_from, zone))
        assert found == instant(expected, zone), case
    assert seen == 52


def test_every_invalid_expression_of_the_recorded_table_is_refused(table: dict[str, Any]) -> None:
    for spec in table["invalid"]:
        with pytest.raises(ValueError, match=r"field|is not a valid |longer than"):
            CronSchedule(spec)
        with pytest.raises(ValueError, match=r"field|is not a valid |longer than"):
            CronSchedule(" ".join(spec.split()[1:]))


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "0 fields instead of 5"),
        ("   ", "0 fields instead of 5"),
        ("* * * *", "4 fields instead of 5"),
        ("0 * * * * *", "6 fields instead of 5"),
        ("60 * * * *", "'60' is not a valid minute .0 to 59, or a list"),
        ("* 24 * * *", "'24' is not a valid hour"),
        ("* * 0 * *", "'0' is not a valid day of month .1 to 31"),
        ("* * * 13 *", "'13' is not a valid month .1 to 12"),
        ("* * * * 8", "'8' is not a valid weekday .0 to 7"),
        ("*/0 * * * *", r"'\*/0' is not a valid minute"),
        ("*/99 * * * *", "step /99 is longer than the minute field"),
        ("0 */24 * * *", "step /24 is longer than the hour field"),
        ("1-5,9-3 * * * *", "'1-5,9-3' is not a valid minute"),
        ("? * * * *", r"'\?' is not a valid minute"),
        ("4-4/0 * * * *", "'4-4/0' is not a valid minute"),
        ("0 0 31 2 *", "no such date ever comes"),
        ("0 0 31 4,6,9,11 *", "no such date ever comes"),
        ("0 0 31 2 */2", "no such date ever comes"),
        ("５ * * * *", "not printable ASCII"),
        ("٥ * * * *", "not printable ASCII"),
        ("* * * * *;x", r"'\*;x' is not a valid weekday"),
        ("* * * *\n*", "not printable ASCII"),
        ("@reboot", "'@reboot' is none of @hourly"),
        ("*/" + "9" * 5000 + " * * * *", "longer than 200 characters"),
    ],
)
def test_a_bad_expression_is_refused_with_its_reason(expression: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        CronSchedule(expression)


@given(st.text(alphabet="0123456789*/-,?@#L SUNFEBhourly\t;ſ", max_size=30))
@settings(max_examples=300)
def test_any_text_is_either_a_schedule_or_a_value_error(text: str) -> None:
    try:
        schedule = CronSchedule(text)
    except ValueError:
        return
    assert schedule.next_after(utc("2026-01-01")) > utc("2026-01-01")


@pytest.mark.parametrize("weekday", ["0", "7", "sun", "SUN", "Sun"])
def test_zero_seven_and_sun_all_mean_sunday(weekday: str) -> None:
    schedule = CronSchedule(f"0 0 * * {weekday}")
    ticks = schedule.due_between(utc("2026-01-01"), utc("2026-01-31"))
    assert [tick.day for tick in ticks] == [4, 11, 18, 25]


def test_names_of_weekdays_and_months_are_read() -> None:
    schedule = CronSchedule("30 6 * jan,MAR mon-fri")
    ticks = schedule.due_between(utc("2026-01-29"), utc("2026-03-04"))
    assert [(tick.month, tick.day) for tick in ticks] == [
        (1, 29),
        (1, 30),
        (3, 2),
        (3, 3),
    ]


def test_day_of_month_and_weekday_both_restricted_means_either() -> None:
    schedule = CronSchedule("0 0 13 * 5")
    ticks = schedule.due_between(utc("2026-01-08"), utc("2026-01-17"))
    assert [tick.day for tick in ticks] == [9, 13, 16]


@pytest.mark.parametrize("macro", [*MACROS, "@HOURLY", " @daily "])
def test_a_macro_means_its_five_fields(macro: str) -> None:
    fields = CronSchedule(MACROS[macro.strip().lower()])
    start, end = utc("2025-12-27"), utc("2027-01-02")
    assert CronSchedule(macro).due_between(start, end) == fields.due_between(start, end)


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../etc/passwd", "Europe", "\0"])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="is not a known time zone"):
        CronSchedule("@hourly", timezone=zone)


def test_a_fixed_time_that_spring_skips_runs_right_after() -> None:
    ticks = due("30 2 * * *", "2026-03-27T23:00", "2026-03-30T22:00", BERLIN)
    assert ticks == ["28 02:30 CET", "29 03:00 CEST", "30 02:30 CEST"]
    ticks = due("30 2 * * *", "2026-03-07T05:00", "2026-03-09T22:00", NEW_YORK)
    assert ticks == ["07 02:30 EST", "08 03:00 EDT", "09 02:30 EDT"]


def test_a_fixed_time_that_autumn_repeats_runs_once() -> None:
    ticks = due("30 2 * * *", "2026-10-23T22:00", "2026-10-26T22:00", BERLIN)
    assert ticks == ["24 02:30 CEST", "25 02:30 CEST", "26 02:30 CET"]
    ticks = due("30 1 * * *", "2026-10-31T04:00", "2026-11-02T22:00", NEW_YORK)
    assert ticks == ["31 01:30 EDT", "01 01:30 EDT", "02 01:30 EST"]


def test_two_times_that_spring_moves_together_are_one_tick() -> None:
    ticks = due("0,30 2,3 * * *", "2026-03-28T23:00", "2026-03-29T22:00", BERLIN)
    assert ticks == ["29 03:00 CEST", "29 03:30 CEST"]


def test_an_interval_keeps_its_pace_through_both_changes() -> None:
    spring = due("*/30 * * * *", "2026-03-29T00:29", "2026-03-29T01:30", BERLIN)
    assert spring == ["29 01:30 CET", "29 03:00 CEST", "29 03:30 CEST"]
    autumn = due("*/30 * * * *", "2026-10-25T00:00", "2026-10-25T02:00", BERLIN)
    assert autumn == ["25 02:30 CEST", "25 02:00 CET", "25 02:30 CET", "25 03:00 CET"]


def test_next_is_later_than_the_second_pass_of_a_repeated_hour() -> None:
    schedule = CronSchedule("30 2 * * *", timezone=BERLIN)
    assert schedule.next_after(utc("2026-10-25T01:10")) == utc("2026-10-26T01:30")


def test_latest_until_includes_the_instant_itself_and_nothing_later() -> None:
    schedule = CronSchedule("*/15 * * * *")
    assert schedule.latest_until(utc("2026-01-01T12:15")) == utc("2026-01-01T12:15")
    assert schedule.latest_until(utc("2026-01-01T12:14:59.999999")) == utc("2026-01-01T12:00")
    assert schedule.latest_until(utc("2026-01-01T00:00:00.000001")) == utc("2026-01-01T00:00")


def test_due_between_is_half_open_and_bounded() -> None:
    schedule = CronSchedule("@hourly")
    start, end = utc("2026-01-01T00:00"), utc("2026-01-01T03:00")
    assert [tick.hour for tick in schedule.due_between(start, end)] == [1, 2, 3]
    assert [tick.hour for tick in schedule.due_between(start, end, limit=2)] == [1, 2]
    assert schedule.due_between(end, start) == []


LORD_HOWE = "Australia/Lord_Howe"


@pytest.mark.parametrize(
    ("expression", "after", "until", "walls"),
    [
        # In autumn the half hour before two comes twice, and two o'clock only after it.
        (
            "*/20 2 * * *",
            "2026-04-04T12:00",
            "2026-04-04T17:00",
            ["05 02:00 +1030", "05 02:20 +1030", "05 02:40 +1030"],
        ),
        (
            "45 */1 * * *",
            "2026-04-04T14:00",
            "2026-04-04T16:30",
            ["05 01:45 +11", "05 01:45 +1030", "05 02:45 +1030"],
        ),
        ("5 */2 * * *", "2026-04-04T13:30", "2026-04-04T17:30", ["05 02:05 +1030"]),
        # In spring two o'clock is half past two.
        (
            "*/20 3 * * *",
            "2026-10-03T14:40",
            "2026-10-03T17:00",
            ["04 03:00 +11", "04 03:20 +11", "04 03:40 +11"],
        ),
        ("15 2 * * *", "2026-10-03T14:40", "2026-10-03T17:00", ["04 02:30 +11"]),
    ],
)
def test_a_change_of_half_an_hour_passes_over_no_tick(
    expression: str, after: str, until: str, walls: list[str]
) -> None:
    assert due(expression, after, until, LORD_HOWE) == walls


ZONES = ["UTC", BERLIN, NEW_YORK, LORD_HOWE, "Antarctica/Troll", "Europe/Dublin", "Asia/Beirut"]
DAYS = [
    *("2026-03-08", "2026-03-28", "2026-03-29", "2026-04-04", "2026-04-05", "2026-10-03"),
    *("2026-10-04", "2026-10-24", "2026-10-25", "2026-11-01"),
]
FIXED = ["30 2 * * *", "0,30 2,3 * * *", "15,45 1-3 * * *", "0 0 * * *", "0 0 29 2 *", "@weekly"]
PACED = [
    "*/15 * * * *",
    "15 */2 * * *",
    "45 */2 * * *",
    "*/20 2 * * *",
    "*/20 3 * * *",
    "* 1 * * 0",
]


CHANGES = [
    *((BERLIN, "2026-03-29T01:00"), (BERLIN, "2026-10-25T01:00")),
    *((LORD_HOWE, "2026-04-04T15:00"), (LORD_HOWE, "2026-10-03T15:30")),
    *(("Antarctica/Troll", "2026-03-29T01:00"), ("Antarctica/Troll", "2026-10-25T01:00")),
    *(("Europe/Dublin", "2026-10-25T01:00"), (NEW_YORK, "2026-11-01T06:00")),
]


@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_looking_back_finds_what_looking_forward_does_all_around_a_change(
    zone: str, change: str
) -> None:
    start, end = utc(change) - timedelta(hours=4), utc(change) + timedelta(hours=4)
    for expression in FIXED + PACED:
        schedule = CronSchedule(expression, timezone=zone)
        before = schedule.latest_until(start - timedelta(days=3))
        ticks = [before, *schedule.due_between(before, end)]
        for number in range(0, 8 * 60, 7):
            moment = start + timedelta(minutes=number)
            expected = max(tick for tick in ticks if tick <= moment)
            assert schedule.latest_until(moment) == expected, (expression, moment)


@given(
    expression=st.sampled_from(FIXED + PACED),
    zone=st.sampled_from(ZONES),
    day=st.sampled_from(DAYS),
    seconds=st.integers(0, 2 * 86_400),
)
@settings(max_examples=300, deadline=None)
def test_latest_and_next_enclose_any_instant(
    expression: str, zone: str, day: str, seconds: int
) -> None:
    schedule = CronSchedule(expression, timezone=zone)
    moment = utc(day) + timedelta(seconds=seconds)
    latest = schedule.latest_until(moment)
    assert latest <= moment < schedule.next_after(moment)
    assert schedule.due_between(latest - timedelta(seconds=1), moment) == [latest]


@given(expression=st.sampled_from(PACED), zone=st.sampled_from(ZONES), day=st.sampled_from(DAYS))
@settings(max_examples=150, deadline=None)
def test_a_paced_expression_is_due_at_every_minute_whose_wall_time_matches(
    expression: str, zone: str, day: str
) -> None:
    schedule, start = CronSchedule(expression, timezone=zone), utc(day)
    minutes = [start + timedelta(minutes=number) for number in range(1, 2 * 1440)]
    walls = {minute: minute.astimezone(ZoneInfo(zone)) for minute in minutes}
    # A schedule in UTC, asked about the wall time as if it were one, knows of no change.
    plain = CronSchedule(expression)
    matching = {
        minute
        for minute, wall in walls.items()
        if plain.latest_until(wall.replace(tzinfo=UTC)) == wall.replace(tzinfo=UTC)
    }
    assert schedule.due_between(start, minutes[-1], limit=5000) == sorted(matching)


def test_an_expression_is_described_in_words() -> None:
    assert CronSchedule("*/15 * * * *").describe() == "Every 15 minutes"
    assert CronSchedule("*/5 * * * 1").describe() == "Every 5 minutes on Monday"
    assert CronSchedule("*/20 9-17 * * *").describe() == "Every 20 minutes from 09:00 through 17:59"
    assert CronSchedule("*/7 * * * *").describe() == "Every seventh minute of every hour"


def test_two_days_that_either_may_match_are_described_with_or() -> None:
    assert CronSchedule("0 9 13 * 5").describe() == "At 09:00 on the 13th day of month or on Friday"
    both = CronSchedule("0 9 */2 * 5").describe()
    assert both == "At 09:00 on every second day of month if it's on Friday"


def test_ordinals_of_the_description_have_their_english_ending() -> None:
    spoken = CronSchedule("0 9 11,21,22,23 * *").describe()
    assert spoken == "At 09:00 on the 11th, the 21st, the 22nd, and the 23rd day of month"


@pytest.mark.parametrize(
    ("expression", "same"),
    [
        ("4-4/2 3 * * *", "4 3 * * *"),
        ("0 0 * jan-1/5,6 *", "0 0 * 1,6 *"),
        ("0 0 * * MON-1/2", "0 0 * * 1"),
        ("10-20/15 * * * *", "10 * * * *"),
    ],
)
def test_a_range_of_one_value_with_a_step_is_that_value(expression: str, same: str) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    expected = list(islice(CronSchedule(same).upcoming(start), 50))
    assert list(islice(CronSchedule(expression).upcoming(start), 50)) == expected

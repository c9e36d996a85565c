"""Ticks: one run each, or a recorded reason; pauses; what people are shown of it."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from sqlalchemy import text

from app.domain import Trigger
from app.errors import InvalidRequest
from app.extensions import db
from app.services import ticks as ticks_service
from app.services.house import House
from app.services.job_states import INGEST, record_job
from app.services.pauses import end_pause
from app.services.schedule import (
    ScheduleView,
    load_schedule,
    pause_schedule,
    preview_schedule,
    resume_schedule,
    run_due_tick,
)
from tests.apps import bare_app
from tests.web.real_app import empty_tables

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOON + timedelta(seconds=1)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(database_url: str, clock: Clock) -> Iterator[Flask]:
    with bare_app(database_url, clock=clock, ingestion_lookback_days=0) as app:
        empty_tables(app)
        yield app


@pytest.fixture
def house(app: Flask) -> House:
    house: House = app.extensions["tapedeck"]
    return house


def tick(house: House, trigger: Trigger = Trigger.SCHEDULER) -> str:
    """Look once, and wait for the run that comes of it; what happened to the tick."""
    outcome = run_due_tick(db.session, house, trigger=trigger, now=house.clock())
    if outcome.run_id and outcome.status != "active":
        assert house.runner.wait(outcome.run_id, timeout_seconds=30)
    return outcome.status


def ticks(house: House) -> list[tuple[str, str, str]]:
    """Minute, status and reason of every tick, oldest first."""
    view = load_schedule(db.session, house)
    return [(f"{one.due_at:%H:%M}", one.status, one.reason) for one in reversed(view.ticks)]


def test_first_look_of_a_new_installation_runs_nothing_and_the_next_tick_does(
    house: House, clock: Clock
) -> None:
    assert tick(house) == "skipped"
    clock.now += QUARTER
    assert tick(house) == "started"
    assert tick(house) == "already_ran"
    assert [one[:2] for one in ticks(house)] == [("12:00", "missed"), ("12:15", "ran")]


def test_after_an_outage_the_newest_tick_runs_and_the_others_are_missed(
    house: House, clock: Clock
) -> None:
    assert tick(house, Trigger.CRON) == "started"
    clock.now += 3 * QUARTER
    assert tick(house) == "started"
    reason = "No process was there to run it."
    assert ticks(house) == [
        ("12:00", "ran", ""),
        ("12:15", "missed", reason),
        ("12:30", "missed", reason),
        ("12:45", "ran", ""),
    ]


def test_every_tick_of_a_long_outage_has_its_row(
    database_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.ticks.MISSED_AT_ONCE", 1000)
    every_minute = {"ingestion_cron_expression": "* * * * *", "ingestion_lookback_days": 0}
    with bare_app(database_url, clock=clock, **every_minute) as app:
        empty_tables(app)
        house: House = app.extensions["tapedeck"]
        assert tick(house, Trigger.CRON) == "started"
        clock.now += timedelta(days=3)
        assert tick(house) == "started"
        assert counted_ticks() == {"missed": 3 * 1440 - 1, "ran": 2}


def test_an_outage_that_ends_twice_leaves_no_hole(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.ticks.MISSED_AT_ONCE", 2)
    record, calls = ticks_service.record_missed, []

    def die_at_the_third(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 3:
            raise InvalidRequest("the process died")
        record(*arguments)

    assert tick(house, Trigger.CRON) == "started"
    clock.now += 10 * QUARTER
    with monkeypatch.context() as patch:
        patch.setattr(ticks_service, "record_missed", die_at_the_third)
        with pytest.raises(InvalidRequest):
            tick(house)
    assert counted_ticks() == {"missed": 4, "ran": 1}
    assert tick(house) == "started"
    assert counted_ticks() == {"missed": 9, "ran": 2}


def test_ticks_older_than_ticks_are_kept_get_no_row(database_url: str, clock: Clock) -> None:
    with bare_app(
        database_url, clock=clock, ingestion_lookback_days=0, retention_run_days=2
    ) as app:
        empty_tables(app)
        house: House = app.extensions["tapedeck"]
        assert tick(house, Trigger.CRON) == "started"
        clock.now += timedelta(days=30)
        assert tick(house) == "started"
        assert counted_ticks() == {"missed": 2 * 96 - 1, "ran": 2}


def counted_ticks() -> dict[str, int]:
    statement = text("SELECT status, count(*) FROM schedule_tick GROUP BY status")
    found = {row.status: row[1] for row in db.session.execute(statement)}
    db.session.rollback()
    return found


@pytest.mark.parametrize("recorded", ["due_at - interval '1 min'", "clock_timestamp() + '1 h'"])
def test_ticks_missed_by_a_clock_that_was_ahead_run_when_they_are_due(
    house: House, clock: Clock, caplog: pytest.LogCaptureFixture, recorded: str
) -> None:
    assert tick(house, Trigger.CRON) == "started"
    clock.now += 4 * QUARTER
    assert tick(house) == "started"
    db.session.execute(text(f"UPDATE schedule_tick SET claimed_at = {recorded}"))
    db.session.commit()
    clock.now -= 4 * QUARTER
    outcomes = []
    for _ in range(5):
        outcomes.append(tick(house))
        clock.now += QUARTER
    # The tick of 13:00 ran an hour early; those of the hour before it run in their turn.
    assert outcomes == ["already_ran", "started", "started", "started", "already_ran"]
    assert [one[1:] for one in ticks(house)] == [("ran", "")] * 5
    told = [one for one in caplog.messages if one == "tick was missed before it was due"]
    assert len(told) >= 3


def test_fifty_claims_of_a_tick_missed_by_a_clock_ahead_start_one_run(
    app: Flask, house: House, clock: Clock
) -> None:
    assert tick(house, Trigger.CRON) == "started"
    clock.now += 2 * QUARTER
    assert tick(house) == "started"
    ahead = text("UPDATE schedule_tick SET claimed_at = clock_timestamp() + '1 h'")
    db.session.execute(ahead)
    db.session.commit()
    clock.now -= QUARTER
    assert claim_at_once(app, house) == {"already_ran": 49, "started": 1}
    assert db.session.execute(text("SELECT count(*) FROM ingestion_run")).scalar() == 3


def test_a_pause_holds_for_a_tick_missed_by_a_clock_ahead(house: House, clock: Clock) -> None:
    assert tick(house, Trigger.CRON) == "started"
    clock.now += 2 * QUARTER
    assert tick(house) == "started"
    db.session.execute(text("UPDATE schedule_tick SET claimed_at = clock_timestamp() + '1 h'"))
    db.session.commit()
    clock.now -= QUARTER
    pause_schedule(db.session, house, reason="moving", author="ops")
    assert tick(house) == "skipped"
    assert ticks(house)[1] == ("12:15", "skipped", "Paused by ops: moving")


def test_ticks_before_the_last_look_are_not_missed(house: House, clock: Clock) -> None:
    assert tick(house, Trigger.CRON) == "started"
    clock.now += 3 * QUARTER
    record_job(db.session, INGEST, duration_ms=1, trouble="", every_seconds=5)
    looked = text("UPDATE job_state SET succeeded_at = :at")
    db.session.execute(looked, {"at": clock.now - QUARTER})
    db.session.commit()
    assert tick(house) == "started"
    assert [one[0] for one in ticks(house)] == ["12:00", "12:45"]


def test_tick_that_became_due_during_a_long_look_is_missed(house: House, clock: Clock) -> None:
    assert tick(house, Trigger.CRON) == "started"
    # The look of 12:00 ended only after 12:15, and nobody looked in between.
    as_of = clock.now
    record_job(db.session, INGEST, duration_ms=1, trouble="", every_seconds=5, as_of=as_of)
    clock.now += 2 * QUARTER
    assert tick(house) == "started"
    assert [one[:2] for one in ticks(house)] == [
        ("12:00", "ran"),
        ("12:15", "missed"),
        ("12:30", "ran"),
    ]


def test_tick_during_an_active_run_is_skipped_with_its_id(database_url: str, clock: Clock) -> None:
    slow = {"mock": {"delay_seconds": 30}}
    with bare_app(database_url, clock=clock, providers=slow) as app:
        empty_tables(app)
        house: House = app.extensions["tapedeck"]
        run_id = house.runner.start(trigger=Trigger.MANUAL)
        assert tick(house, Trigger.CRON) == "active"
        assert ticks(house) == [("12:00", "skipped", f"Run {run_id} was still active.")]
        assert tick(house, Trigger.CRON) == "skipped"


def claim_at_once(app: Flask, house: House) -> dict[str, int]:
    """Claim the due tick fifty times, ten at a time; how often what happened to it."""

    def claim() -> tuple[str, str]:
        with app.app_context():
            outcome = run_due_tick(db.session, house, trigger=Trigger.CRON, now=house.clock())
            return outcome.status, outcome.run_id

    with ThreadPoolExecutor(10) as pool:
        outcomes = [one.result() for one in [pool.submit(claim) for _ in range(50)]]
    assert len({run_id for _, run_id in outcomes}) == 1
    return Counter(status for status, _ in outcomes)


def test_fifty_claims_of_one_tick_start_one_run(app: Flask, house: House) -> None:
    assert claim_at_once(app, house) == {"already_ran": 49, "started": 1}
    assert db.session.execute(text("SELECT count(*) FROM ingestion_run")).scalar() == 1


def test_refused_start_leaves_the_tick_to_the_next_look(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise InvalidRequest("not now")

    with monkeypatch.context() as patch:
        patch.setattr("app.services.runner.open_run", fail)
        with pytest.raises(InvalidRequest):
            tick(house, Trigger.CRON)
    assert ticks(house) == []
    assert tick(house, Trigger.CRON) == "started"


def test_paused_tick_is_skipped_with_author_and_reason_until_resumed(
    house: House, clock: Clock
) -> None:
    assert tick(house, Trigger.CRON) == "started"
    pause_schedule(db.session, house, reason="provider  moves", author="ops")
    clock.now += QUARTER
    assert tick(house) == "skipped"
    assert resume_schedule(db.session, house, author="ops")
    assert tick(house) == "skipped"
    clock.now += QUARTER
    assert tick(house) == "started"
    assert ticks(house)[1] == ("12:15", "skipped", "Paused by ops: provider moves")


def test_pause_with_an_end_ends_by_itself(house: House, clock: Clock) -> None:
    until = clock.now + timedelta(minutes=20)
    pause_schedule(db.session, house, reason="nap", author="ops", until=until)
    assert load_schedule(db.session, house).is_paused
    clock.now += 2 * QUARTER
    assert not load_schedule(db.session, house).is_paused
    assert tick(house, Trigger.CRON) == "started"
    end_pause(db.session, now=clock.now)
    assert not resume_schedule(db.session, house, author="ops")
    assert db.session.execute(text("SELECT count(*) FROM schedule_pause")).scalar() == 0


def test_second_pause_changes_words_and_end_but_not_its_age(house: House, clock: Clock) -> None:
    first = pause_schedule(db.session, house, reason="nap", author="ops")
    clock.now += QUARTER
    second = pause_schedule(db.session, house, reason="longer nap", author="boss")
    assert (second.paused_at, second.paused_by) == (first.paused_at, "boss")
    assert second.words == "Paused by boss: longer nap"


@pytest.mark.parametrize(
    ("reason", "until", "complaint"),
    [
        ("  ", None, "reason must have"),
        ("x" * 501, None, "reason must have"),
        ("nap", NOON, "must lie in the future"),
        ("nap", datetime(2027, 1, 1), "needs a time zone"),  # noqa: DTZ001
        ("nap", datetime(9999, 12, 31, 23, tzinfo=ZoneInfo("Etc/GMT+12")), "within ten years"),
    ],
)
def test_pause_that_makes_no_sense_is_refused(
    house: House, reason: str, until: datetime | None, complaint: str
) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        pause_schedule(db.session, house, reason=reason, author="ops", until=until)


def test_schedule_is_shown_in_words_with_its_next_ticks_and_jobs(
    app: Flask, database_url: str, clock: Clock
) -> None:
    with bare_app(database_url, clock=clock, scheduler_enabled=True) as app:
        house: House = app.extensions["tapedeck"]
        record_job(db.session, "reaper", duration_ms=7, trouble="", every_seconds=5)
        view = load_schedule(db.session, house)
    assert view.upcoming.next_ticks[:2] == (NOON + QUARTER, NOON + 2 * QUARTER)
    assert len(view.upcoming.next_ticks) == 5
    assert "15" in view.upcoming.words
    jobs = {job.name: job for job in view.jobs}
    assert jobs["reaper"].next_at == jobs["reaper"].last_at + timedelta(seconds=5)
    assert shown(view, "ingest") == (None, None)


def shown(view: ScheduleView, name: str) -> tuple[datetime | None, datetime | None]:
    job = next(job for job in view.jobs if job.name == name)
    return job.last_at, job.next_at


def test_other_expressions_can_be_tried_in_another_zone(house: House) -> None:
    found = preview_schedule(house, expression="0 9 * * sun", timezone="Europe/Berlin")
    assert found.next_ticks[0] == datetime(2026, 3, 8, 8, 0, tzinfo=UTC)
    assert found.next_ticks[4] == datetime(2026, 4, 5, 7, 0, tzinfo=UTC)


@pytest.mark.parametrize("expression", ["", "0 0 31 2 *", "60 * * * *", "* * * *"])
def test_expression_that_is_never_due_is_refused_with_its_fault(
    house: House, expression: str
) -> None:
    with pytest.raises(InvalidRequest, match="is not a schedule: "):
        preview_schedule(house, expression=expression)

"""The jobs of a process: done at their interval whatever happens to clock, thread or database."""

import ctypes
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest
from apscheduler.schedulers import base
from flask import Flask
from sqlalchemy import text

from app.domain import Trigger
from app.errors import InvalidRequest
from app.extensions import db
from app.job_clock import JobClock
from app.jobs import JOBS, do_job, start_jobs, stop_jobs
from app.services.house import House
from app.services.job_states import PLANS, load_jobs
from app.services.pulse import Pulse
from app.tallies import Kind, count, take
from tests.apps import bare_app
from tests.web.real_app import empty_tables

PERIOD = 0.2
ENOUGH_SECONDS = 20


class Counter:
    """A job that counts how often it was done, and lets a test wait for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.count = 0

    def __call__(self) -> None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def await_more(self, more: int = 2) -> None:
        with self._changed:
            wanted = self.count + more
            assert self._changed.wait_for(lambda: self.count >= wanted, ENOUGH_SECONDS)


@pytest.fixture
def pulse() -> Pulse:
    return Pulse()


@pytest.fixture
def clock(pulse: Pulse) -> Iterator[JobClock]:
    clock = JobClock(Flask("jobs"), pulse, every_seconds=PERIOD)
    yield clock
    clock.stop()


def scheduler_thread() -> threading.Thread:
    return next(thread for thread in threading.enumerate() if thread.name == "APScheduler")


def test_job_goes_on_when_the_wall_clock_is_set_back(
    clock: JobClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) - timedelta(hours=1)

    job = Counter()
    clock.add("job", job)
    clock.start()
    job.await_more()
    monkeypatch.setattr(base, "datetime", Earlier)
    monkeypatch.setattr("app.job_clock.datetime", Earlier)
    job.await_more(4)


def test_job_goes_on_when_the_wall_clock_was_ahead_for_a_while(
    clock: JobClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(hours=1)

    job = Counter()
    clock.add("job", job)
    clock.start()
    with monkeypatch.context() as patch:
        patch.setattr(base, "datetime", Later)
        job.await_more()
    job.await_more(4)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_job_goes_on_when_the_scheduler_thread_dies(clock: JobClock) -> None:
    job = Counter()
    clock.add("job", job)
    clock.start()
    job.await_more()
    thread = scheduler_thread()
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit)
    )
    thread.join(ENOUGH_SECONDS)
    assert not thread.is_alive()
    job.await_more(3)
    assert scheduler_thread() is not thread


class Stumbling(Pulse):
    """Raises the first time the watchdog asks; says when it is asked again."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._errors, self.is_asked_again = [error], threading.Event()

    def quiet_seconds(self, name: str | None = None) -> float:
        if self._errors:
            raise self._errors.pop()
        self.is_asked_again.set()
        return super().quiet_seconds(name)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("error", "event"),
    [(RuntimeError("no thread"), "watchdog stumbled"), (ValueError("odd"), "watchdog died")],
)
def test_watchdog_goes_on_after_trouble_of_its_own_and_says_so(
    error: Exception, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    pulse = Stumbling(error)
    clock = JobClock(Flask("jobs"), pulse, every_seconds=PERIOD)
    clock.add("job", Counter())
    clock.start()
    try:
        assert pulse.is_asked_again.wait(ENOUGH_SECONDS)
    finally:
        clock.stop()
    assert caplog.messages.count(event) == 1


def test_job_that_hangs_is_not_begun_twice_and_keeps_no_other_from_work(
    clock: JobClock, pulse: Pulse
) -> None:
    release, begun, other = threading.Event(), [], Counter()

    def hang() -> None:
        begun.append(1)
        release.wait(ENOUGH_SECONDS)

    clock.add("hanging", hang)
    clock.add("other", other)
    clock.start()
    other.await_more(8)
    assert (len(begun), pulse.is_at_work("hanging")) == (1, True)
    assert pulse.quiet_seconds() > 2 * PERIOD
    release.set()


def test_job_that_raises_is_done_again(clock: JobClock) -> None:
    job = Counter()

    def fail() -> None:
        job()
        raise ValueError("no")

    clock.add("failing", fail)
    clock.start()
    job.await_more(3)


def test_nothing_is_begun_after_the_stop(clock: JobClock, pulse: Pulse) -> None:
    job = Counter()
    clock.add("job", job)
    clock.start()
    job.await_more()
    clock.stop()
    assert pulse.quiet_seconds() == 0
    assert not clock._scheduler.running
    done = job.count
    clock._do("job")
    assert job.count == done


@pytest.fixture
def app(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    settings = {
        "scheduler_enabled": True,
        "scheduler_poll_seconds": 0.5,
        "ingestion_lookback_days": 0,
    }
    with bare_app(database_url, **settings) as app:
        empty_tables(app)
        take()
        monkeypatch.setattr("app.tallies._taken_at", float("-inf"))
        yield app


def state_of(name: str) -> Any:
    db.session.rollback()
    return db.session.execute(
        text("SELECT trouble, succeeded_at, last_by FROM job_state WHERE name = :name"),
        {"name": name},
    ).one()


def test_trouble_of_a_job_is_noted_until_it_goes_well_again(app: Flask) -> None:
    def refuse(house: House) -> None:
        raise InvalidRequest("The disk is full.")

    do_job(app, "ingest", refuse)
    assert tuple(state_of("ingest"))[:2] == ("The disk is full.", None)
    do_job(app, "ingest", lambda house: None)
    trouble, succeeded_at, by = state_of("ingest")
    assert trouble == ""
    assert succeeded_at is not None
    assert by.count(":") == 2


def test_job_counts_from_the_instant_it_looked_at_and_never_backwards(app: Flask) -> None:
    looked_at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
    for seconds in (0, -30):
        do_job(app, "ingest", lambda house, late=seconds: looked_at + timedelta(seconds=late))
        db.session.execute(text("UPDATE job_state SET last_at = last_at - interval '1 hour'"))
        db.session.commit()
        assert state_of("ingest").succeeded_at == looked_at


def test_unforeseen_trouble_of_a_job_is_noted_without_its_words(app: Flask) -> None:
    def break_down(house: House) -> None:
        raise KeyError("secret")

    with pytest.raises(KeyError):
        do_job(app, "reaper", break_down)
    assert "unforeseen" in state_of("reaper").trouble


def test_job_that_the_end_of_the_process_broke_off_is_not_noted(app: Flask) -> None:
    app.extensions["tapedeck"].runner.shutdown(grace_seconds=0)
    do_job(app, "reaper", JOBS["reaper"])
    assert db.session.execute(text("SELECT count(*) FROM job_state")).scalar() == 0


def test_every_job_is_planned_and_shown() -> None:
    assert {plan.name for plan in PLANS} == set(JOBS)


@pytest.mark.parametrize("name", ["candles", "partitions", "prune", "figures"])
def test_a_job_that_is_not_due_leaves_the_time_of_its_last_one(app: Flask, name: str) -> None:
    count(Kind.READ, "memory")
    do_job(app, name, JOBS[name])
    db.session.execute(text("UPDATE job_state SET last_at = last_at - interval '50 seconds'"))
    db.session.commit()
    done_at = last_at_of(name)
    do_job(app, name, JOBS[name])
    assert last_at_of(name) == done_at
    plan = next(plan for plan in PLANS if plan.name == name)
    shown = next(
        job for job in load_jobs(db.session, every_seconds=5, is_on=True) if name == job.name
    )
    assert plan.every_seconds is not None
    assert shown.next_at == done_at + timedelta(seconds=plan.every_seconds)


def last_at_of(name: str) -> datetime:
    db.session.rollback()
    statement = text("SELECT last_at FROM job_state WHERE name = :name")
    found: datetime = db.session.execute(statement, {"name": name}).scalar_one()
    return found


def test_started_process_runs_the_due_tick_and_takes_up_a_dead_run(app: Flask) -> None:
    house: House = app.extensions["tapedeck"]
    due_at = house.settings.schedule.latest_until(house.clock())
    insert = text(
        "INSERT INTO schedule_tick (schedule, due_at, status, claimed_by) "
        "VALUES ('ingestion', :due_at, 'missed', 'test')"
    )
    db.session.execute(insert, {"due_at": due_at - timedelta(minutes=15)})
    db.session.commit()
    start_jobs(app)
    try:
        run_id = await_value(
            "SELECT run_id FROM schedule_tick WHERE status = 'ran' AND run_id IS NOT NULL"
        )
        assert house.runner.wait(str(run_id), timeout_seconds=30)
        db.session.execute(
            text(
                "UPDATE ingestion_run SET status = 'running', finished_at = NULL, "
                "lease_until = now() - interval '1 second', owner = 'host:1:abc'"
            )
        )
        db.session.commit()
        assert await_value("SELECT attempt FROM ingestion_run WHERE attempt = 2") == 2
    finally:
        stop_jobs(app, grace_seconds=20)


def await_value(statement: str) -> object:
    """The first value of the statement, once there is one."""
    pause = threading.Event()
    for _ in range(ENOUGH_SECONDS * 10):
        db.session.rollback()
        found = db.session.execute(text(statement)).scalar()
        if found is not None:
            return found
        pause.wait(0.1)
    raise AssertionError(f"nothing came of: {statement}")


def test_stopping_process_says_every_second_that_it_is_still_here(database_url: str) -> None:
    heard: list[int] = []
    note: Callable[[], None] = lambda: heard.append(1)  # noqa: E731
    with bare_app(database_url, providers={"mock": {"delay_seconds": 60}}) as app:
        empty_tables(app)
        app.extensions["tapedeck"].runner.start(trigger=Trigger.MANUAL)
        stop_jobs(app, grace_seconds=1.2, still_here=note)
        assert db.session.execute(text("SELECT error_class FROM ingestion_run")).scalar() == (
            "shutdown"
        )
    assert len(heard) >= 2

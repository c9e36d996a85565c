"""A scheduler that stands still is told of, wherever it is looked at."""

from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.extensions import db
from app.services.overview import load_overview
from app.services.schedule import load_schedule
from app.services.stall import stalled_for
from tests.services.seeding import NOW, add_markets, add_run, execute, seeded_app

_LOOKED = """
    INSERT INTO job_state (name, last_at, last_by, duration_ms, trouble, succeeded_at)
    VALUES ('ingest', clock_timestamp(), 'x:1', 5, 'no', clock_timestamp() - :ago)
"""


def age(app: Flask, minutes: float) -> None:
    """Let the process have run for so long."""
    object.__setattr__(app.extensions["tapedeck"], "started_at", NOW - timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("enabled", "quiet_minutes", "up_minutes", "is_stalled"),
    [
        (True, 12, 60, True),
        (True, None, 12, True),
        (True, 0.5, 60, False),
        # It was away, and has only just come back.
        (True, 600, 0.5, False),
        (False, 12, 60, False),
    ],
)
def test_a_scheduler_is_stalled_once_nobody_looked_for_long(
    database_url: str,
    enabled: bool,
    quiet_minutes: float | None,
    up_minutes: float,
    is_stalled: bool,
) -> None:
    with seeded_app(database_url, scheduler_enabled=enabled) as app:
        age(app, up_minutes)
        if quiet_minutes is not None:
            execute(_LOOKED, ago=timedelta(minutes=quiet_minutes))
        house = app.extensions["tapedeck"]
        view, schedule = load_overview(db.session, house), load_schedule(db.session, house)
    assert (view.state.level == "stalled", schedule.stalled is not None) == (is_stalled,) * 2


def test_a_slow_poll_is_given_three_of_its_turns(database_url: str) -> None:
    with seeded_app(database_url, scheduler_enabled=True, scheduler_poll_seconds=60) as app:
        age(app, 60)
        house = app.extensions["tapedeck"]
        assert stalled_for(house, 170.0, now=NOW) is None
        assert stalled_for(house, 190.0, now=NOW) == timedelta(seconds=190)


def test_the_pages_and_the_badge_say_so_in_one_word(database_url: str) -> None:
    with seeded_app(database_url, scheduler_enabled=True) as app:
        add_markets(["A-USD"])
        add_run()
        age(app, 60)
        client: FlaskClient = app.test_client()
        overview, schedule = client.get("/").text, client.get("/schedule").text
        badge = client.get("/badge.json").get_json()
    assert "level-stalled" in overview
    assert "the scheduler stopped 60 min ago" in overview
    assert "Restart Tapedeck" in overview
    assert "level-stalled" in schedule
    assert (badge["message"], badge["isError"]) == ("stalled", True)

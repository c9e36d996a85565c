"""`flask alerts`, run as a shell would."""

from collections.abc import Iterator

import pytest
from flask import Flask

from app.extensions import db
from app.services.alert_watch import judge_alerts
from tests.alerts.making import ManualClock, add_run
from tests.apps import bare_app
from tests.servers import Answer, ScriptedServer
from tests.web.real_app import empty_tables


@pytest.fixture
def app(database_url: str, http_server: ScriptedServer) -> Iterator[Flask]:
    """The application with a failed run that was judged."""
    clock = ManualClock()
    values = {"alert_webhook_url": f"{http_server.url}/hook"}
    with bare_app(database_url, clock=clock, **values) as app:
        empty_tables(app)
        add_run(db.engine, "failed", at=clock.now)
        judge_alerts(db.engine, app.extensions["tapedeck"])
        yield app


def test_the_list_shows_what_is_wrong_and_where_alerts_go(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["alerts", "list"])
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    assert line.split()[1:5] == ["critical", "firing", "2026-11-20", "12:00"]
    assert "They go to 127.0.0.1; 1 waiting to be sent" in result.stderr


@pytest.mark.parametrize(("status", "code"), [(200, 0), (500, 1)])
def test_a_test_says_how_it_went(
    app: Flask, http_server: ScriptedServer, status: int, code: int
) -> None:
    http_server.script("/hook", Answer(status))
    result = app.test_cli_runner().invoke(args=["alerts", "test"])
    assert (result.exit_code, f"answered {status}" in result.stdout) == (code, True)


@pytest.mark.parametrize(
    ("written", "said"),
    [("90m", "13:30"), ("2h", "14:00"), ("1d", "2026-11-21"), ("0m", "Not quiet any more")],
)
def test_a_snooze_takes_minutes_hours_and_days(app: Flask, written: str, said: str) -> None:
    result = app.test_cli_runner().invoke(args=["alerts", "snooze", "1", "--for", written])
    assert (result.exit_code, said in result.stdout) == (0, True)


@pytest.mark.parametrize("written", ["soon", "5", "h", "-1h", "1w"])
def test_a_time_that_is_none_is_refused_with_what_is_taken(app: Flask, written: str) -> None:
    result = app.test_cli_runner().invoke(args=["alerts", "snooze", "1", f"--for={written}"])
    assert (result.exit_code, "30m, 4h or 2d" in result.output) == (2, True)


def test_an_unknown_alert_is_one_line_and_status_one(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["alerts", "snooze", "999"])
    assert (result.exit_code, result.stderr) == (1, "Failed: There is no alert 999.\n")


def test_replay_says_how_many_wait_again(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["alerts", "replay"])
    assert (result.exit_code, result.stdout) == (0, "0 deliveries queued again\n")


@pytest.mark.parametrize("command", ["list", "list --all", "test", "snooze 7", "replay"])
def test_a_database_that_is_away_is_said_in_a_line(command: str) -> None:
    away = "postgresql://nobody@127.0.0.1:1/none"
    with bare_app(away, alert_webhook_url="http://127.0.0.1:1/hook") as app:
        result = app.test_cli_runner().invoke(args=["alerts", *command.split()])
    assert result.exit_code == 1
    assert result.stderr.startswith("Failed: The database could not be reached")
    assert len(result.stderr.splitlines()) == 1

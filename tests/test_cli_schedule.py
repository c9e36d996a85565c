"""`flask schedule` from the shell."""

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from tests.apps import bare_app
from tests.web.real_app import empty_tables


@pytest.fixture
def shell(database_url: str) -> Iterator[FlaskCliRunner]:
    with bare_app(database_url) as app:
        empty_tables(app)
        yield runner_of(app)


def runner_of(app: Flask) -> FlaskCliRunner:
    return app.test_cli_runner()


def test_schedule_is_paused_shown_and_resumed(shell: FlaskCliRunner) -> None:
    pause = ["schedule", "pause", "--reason", "moving", "--author", "ops", "--hours", "2"]
    assert "Paused until" in shell.invoke(args=pause).output
    shown = shell.invoke(args=["schedule", "show"]).output
    assert "Paused by ops: moving" in shown
    assert shown.count("next") == 5
    assert shell.invoke(args=["schedule", "resume"]).output == "Resumed.\n"
    assert "was not paused" in shell.invoke(args=["schedule", "resume"]).output


def test_another_expression_is_shown_or_refused(shell: FlaskCliRunner) -> None:
    found = shell.invoke(args=["schedule", "show", "--expression", "@hourly"])
    assert (found.exit_code, found.output.count("next")) == (0, 5)
    refused = shell.invoke(args=["schedule", "show", "--expression", "60 * * * *"])
    assert refused.exit_code == 1
    assert "is not a schedule" in refused.stderr


def test_pause_without_words_is_refused(shell: FlaskCliRunner) -> None:
    refused = shell.invoke(args=["schedule", "pause", "--reason", " "])
    assert (refused.exit_code, "reason must have" in refused.stderr) == (1, True)

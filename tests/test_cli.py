"""`flask ingest`: one run from the shell, its exit status, and what it says to people."""

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from app.domain import Trigger
from app.extensions import db
from app.paths import ROOT
from tests.apps import bare_app
from tests.ingestion.making import empty
from tests.web.real_app import count_rows

DATA_TABLES = ("market", "market_snapshot", "ingestion_run", "rejected_row")


@contextmanager
def shell(database_url: str, mock: Mapping[str, Any] | None = None) -> Iterator[Flask]:
    """The application over empty tables with the mock provider."""
    with bare_app(
        database_url,
        providers={"mock": mock or {}},
        ingestion_markets="BTC-USD,ETH-USD,SPX",
        ingestion_lookback_days=1,
    ) as app:
        empty(db.engine)
        yield app


def ingest(app: Flask, *arguments: str) -> Result:
    """What `flask ingest` printed, and its exit status."""
    return app.test_cli_runner().invoke(args=["ingest", *arguments])


def test_a_run_that_succeeds_exits_with_0_and_says_what_it_did(database_url: str) -> None:
    with shell(database_url) as app:
        result = ingest(app)
        assert result.exit_code == 0
        assert " succeeded after " in result.stdout
        assert "Markets 3 of 3, snapshots 3" in result.stdout
        assert count_rows(app, "market_snapshot") == 3


def test_a_partial_run_exits_with_3_and_names_the_market(database_url: str) -> None:
    with shell(database_url, {"fail": "market", "fail_markets": "SPX"}) as app:
        result = ingest(app)
        assert result.exit_code == 3
        assert "Markets 2 of 3" in result.stdout
        assert "SPX: " in result.stderr


def test_a_failed_run_exits_with_1_and_says_why(database_url: str) -> None:
    with shell(database_url, {"fail": "permanent"}) as app:
        result = ingest(app)
        assert result.exit_code == 1
        assert "The mock provider was told to refuse (HTTP 401)." in result.stderr
        assert count_rows(app, "market") == 0


def test_only_the_symbols_asked_for_are_collected(database_url: str) -> None:
    with shell(database_url) as app:
        assert ingest(app, "--symbols", " eth-usd,SPX,").exit_code == 0
        assert count_rows(app, "market_snapshot") == 2


def test_unknown_symbols_are_refused_by_name_before_a_run_begins(database_url: str) -> None:
    with shell(database_url) as app:
        result = ingest(app, "--symbols", "BTC-USD,DOGE-USD,x y")
        assert result.exit_code == 1
        assert "DOGE-USD is not followed." in result.stderr
        assert count_rows(app, "ingestion_run") == 0


def test_an_unknown_provider_is_refused_and_the_known_ones_are_named(database_url: str) -> None:
    with shell(database_url) as app:
        result = ingest(app, "--provider", "nobody")
        assert result.exit_code == 1
        assert "There is no provider 'nobody'." in result.stderr
        assert "coingecko" in result.stderr
        assert "Traceback" not in result.output


def test_another_provider_may_be_named(database_url: str) -> None:
    with shell(database_url) as app:
        assert ingest(app, "--provider", "mock").exit_code == 0


@pytest.mark.parametrize(
    ("mock", "status", "said"),
    [
        ({}, 0, "3 of 3 markets"),
        ({"fail": "market"}, 3, "2 of 3 markets"),
        ({"fail": "transient"}, 1, "HTTP 503"),
    ],
)
def test_a_dry_run_says_the_same_and_stores_nothing(
    database_url: str, mock: dict[str, Any], status: int, said: str
) -> None:
    with shell(database_url, mock) as app:
        result = ingest(app, "--dry-run")
        assert result.exit_code == status
        assert said in result.output
        assert [count_rows(app, table) for table in DATA_TABLES] == [0] * len(DATA_TABLES)


def test_a_run_that_is_active_is_named(database_url: str) -> None:
    with shell(database_url, {"delay_seconds": 30}) as app:
        runner = app.extensions["tapedeck"].runner
        run_id = runner.start(trigger=Trigger.MANUAL)
        with bare_app(database_url) as other:
            result = ingest(other)
        runner.cancel(run_id)
        assert runner.wait(run_id, timeout_seconds=30)
    assert result.exit_code == 1
    assert f"Run {run_id} is already active" in result.stderr


def test_a_database_that_is_away_is_one_sentence() -> None:
    with bare_app("postgresql://me:sekret@127.0.0.1:1/none") as app:
        result = ingest(app)
    assert result.exit_code == 1
    assert "The database could not be reached" in result.stderr
    assert "sekret" not in result.output
    assert "Traceback" not in result.output


def run_in_shell(
    database_url: str, folder: Path, stderr: int, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`flask ingest` as a process of its own."""
    variables = {
        "PATH": os.environ["PATH"],
        "TERM": "xterm",
        "DATABASE_URL": database_url,
        "INSTANCE_PATH": str(folder),
        "INGESTION_LOOKBACK_DAYS": "0",
    }
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "ingest"],
        cwd=ROOT,
        env=variables | environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=60,
        check=False,
    )


def on_terminal(database_url: str, folder: Path, **environment: str) -> str:
    """What a terminal shows of it."""
    master, slave = pty.openpty()
    shown: list[bytes] = []
    reader = threading.Thread(target=lambda: shown.extend(iter(lambda: read_some(master), b"")))
    reader.start()
    try:
        done = run_in_shell(database_url, folder, slave, **environment)
    finally:
        os.close(slave)
        reader.join()
        os.close(master)
    assert done.returncode == 0
    return b"".join(shown).decode()


def read_some(master: int) -> bytes:
    """The next output of a terminal; nothing once its last writer is gone."""
    try:
        return os.read(master, 10_000)
    except OSError:
        return b""


def test_a_terminal_shows_progress_and_no_log_lines(database_url: str, tmp_path: Path) -> None:
    shown = on_terminal(database_url, tmp_path)
    assert "Compute ROI statistics" in shown
    assert '"event"' not in shown


def test_a_terminal_shows_the_log_too_when_a_level_was_asked_for(
    database_url: str, tmp_path: Path
) -> None:
    assert '"event": "run finished"' in on_terminal(database_url, tmp_path, LOG_LEVEL="info")


def test_elsewhere_there_are_log_lines_and_no_progress_bar(
    database_url: str, tmp_path: Path
) -> None:
    done = run_in_shell(database_url, tmp_path, subprocess.PIPE)
    assert done.returncode == 0
    assert all(line.startswith("{") for line in done.stderr.splitlines())
    assert '"event": "run finished"' in done.stderr

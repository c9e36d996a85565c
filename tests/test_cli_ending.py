"""Commands that are ended in mid-run: the run is cancelled at once, whichever signal it was."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from app.paths import ROOT
from tests.ingestion.making import empty
from tests.processes import free_port, serving

LOOKS, LOOK_SECONDS = 600, 0.1
_pause = threading.Event()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Direct access to the database, empty."""
    made = create_engine(database_url)
    empty(made)
    yield made
    empty(made)
    made.dispose()


def _hear_signals() -> None:
    """In the child: undo what a suite that was itself started with `nohup` or `&` hands down."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def command(
    name: str, database_url: str, folder: Path, *, seconds: float, is_hang_up_ignored: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """`flask <name>` over a provider that takes so long; ended with the block."""
    variables = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database_url,
        "INSTANCE_PATH": str(folder),
        "INGESTION_LOOKBACK_DAYS": "0",
        "MOCK_DELAY_SECONDS": str(seconds),
        "PORT": str(free_port()),
    }
    line = [sys.executable, "-m", "flask", "--app", "wsgi", name]
    if is_hang_up_ignored:
        line = ["nohup", *line]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        line,
        cwd=ROOT,
        env=variables,
        stdout=pipe,
        stderr=pipe,
        text=True,
        preexec_fn=_hear_signals,
    ) as it:
        try:
            yield it
        finally:
            it.kill()


def run_status(engine: Engine) -> str:
    """The status of the only run, empty before there is one."""
    with engine.connect() as connection:
        return connection.execute(text("SELECT status FROM ingestion_run")).scalar() or ""


def wait_until(is_so: Callable[[], bool]) -> None:
    """Return once it is so."""
    for _ in range(LOOKS):
        if is_so():
            return
        _pause.wait(LOOK_SECONDS)
    raise AssertionError("it did not become so")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_from_the_shell_is_cancelled_when_its_command_is_ended(
    database_url: str, engine: Engine, tmp_path: Path, number: signal.Signals
) -> None:
    with command("ingest", database_url, tmp_path, seconds=60) as shell:
        wait_until(lambda: run_status(engine) == "running")
        shell.send_signal(number)
        said, _ = shell.communicate(timeout=30)
    assert shell.returncode == 1
    assert run_status(engine) == "cancelled"
    assert " cancelled after " in said


def test_a_hang_up_that_is_ignored_leaves_the_run_alone(
    database_url: str, engine: Engine, tmp_path: Path
) -> None:
    with command("ingest", database_url, tmp_path, seconds=3, is_hang_up_ignored=True) as shell:
        wait_until(lambda: run_status(engine) == "running")
        shell.send_signal(signal.SIGHUP)
        shell.communicate(timeout=30)
    assert shell.returncode == 0
    assert run_status(engine) == "succeeded"


def test_a_first_run_that_was_broken_off_is_made_up_for_by_the_next_start(
    database_url: str, engine: Engine, tmp_path: Path
) -> None:
    with command("serve", database_url, tmp_path, seconds=60) as shell:
        wait_until(lambda: run_status(engine) == "running")
        shell.send_signal(signal.SIGTERM)
        shell.communicate(timeout=30)
    assert run_status(engine) == "cancelled"
    with serving(tmp_path, database_url, {"INGESTION_LOOKBACK_DAYS": "0", "WEB_WORKERS": "1"}):
        pass
    with engine.connect() as connection:
        statuses = connection.execute(
            text("SELECT status FROM ingestion_run ORDER BY started_at")
        ).scalars()
        assert list(statuses) == ["cancelled", "succeeded"]

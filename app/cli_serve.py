"""`flask serve`: everything `make run` does after the set-up, in one command."""

import os
import sys
from typing import NoReturn

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from flask_migrate import upgrade
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.cli_ending import Ending, await_run, ending_kindly
from app.database.connect import Database
from app.domain import Trigger
from app.errors import AppError
from app.extensions import db
from app.paths import MIGRATIONS, ROOT
from app.services.figure_keeping import keep_last_figures
from app.services.house import House
from app.services.runs import load_run

# A first run that was broken off is made up for by the next start.
_HAS_RUNS = """
    SELECT EXISTS (SELECT FROM ingestion_run WHERE status NOT IN ('cancelled', 'abandoned'))
"""


@click.command("serve")
@with_appcontext
def serve_command() -> None:
    """Migrate, collect once into an empty database, serve.

    From then on the process is gunicorn's first.
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    house: House = app.extensions["tapedeck"]
    database: Database = app.extensions["tapedeck_database"]
    if database.is_embedded:
        click.echo("Starting the embedded PostgreSQL")
    with ending_kindly() as ending:
        upgrade(directory=str(MIGRATIONS))
        try:
            _first_run(house, ending)
        except SQLAlchemyError as error:
            click.echo(f"The database cannot be used: {getattr(error, 'orig', error)}", err=True)
            sys.exit(1)
    if ending.is_asked:
        sys.exit(1)
    db.session.remove()
    keep_last_figures(db.engine, now=house.clock())
    db.engine.dispose()
    house.runner.shutdown(grace_seconds=0)
    _become_gunicorn()


def _first_run(house: House, ending: Ending) -> None:
    """Collect once into an empty database, so that the first page shows data."""
    has_runs = db.session.execute(text(_HAS_RUNS)).scalar()
    # No transaction stays open while the run takes its time.
    db.session.remove()
    if has_runs or ending.is_asked:
        return
    click.echo(f"First run with the provider {house.settings.ingestion_provider}")
    try:
        run_id = house.runner.start(trigger=Trigger.CLI, requested_by="first start")
    except AppError as error:
        click.echo(f"The first run did not start: {error}", err=True)
        return
    seconds = house.settings.run_deadline_seconds
    await_run(house.runner, run_id, ending, at_most_seconds=seconds)
    run = load_run(db.session, run_id).run
    click.echo(f"First run {run.status}: {run.markets_ingested} markets")
    if run.error_message:
        click.echo(run.error_message, err=True)


def _become_gunicorn() -> NoReturn:
    """Replace this process, so that signals and Ctrl-C reach gunicorn itself.

    The embedded server is left running: the workers take it over and the last of them stops it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "gunicorn.conf.py")]
    # For SIGUSR2: a new master is started by its file, whose folder holds an `http` of its own.
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    os.execve(sys.executable, [*command, "wsgi:app"], environment)  # noqa: S606

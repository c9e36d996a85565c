"""`flask schedule`: look at the schedule, pause it, resume it, from the shell."""

import getpass
from datetime import UTC, datetime, timedelta

import click
from flask import current_app
from flask.cli import with_appcontext

from app.cli_failing import or_exit
from app.extensions import db
from app.services.house import House
from app.services.schedule import (
    ScheduleView,
    UpcomingTicks,
    load_schedule,
    pause_schedule,
    preview_schedule,
    resume_schedule,
)


@click.group("schedule")
def schedule_command() -> None:
    """Look at the schedule, pause it, resume it."""


@schedule_command.command("show")
@click.option("--ticks", default=10, show_default=True, help="How many past ticks.")
@click.option("--expression", default=None, help="Show when this one would be due instead.")
@click.option("--timezone", default=None, help="A time zone for --expression.")
@with_appcontext
def show_command(ticks: int, expression: str | None, timezone: str | None) -> None:
    """Show the next ticks, what became of the last ones, and the jobs."""
    if expression is not None:
        _print_upcoming(
            or_exit(lambda: preview_schedule(_house(), expression=expression, timezone=timezone))
        )
        return
    _print_schedule(or_exit(lambda: load_schedule(db.session, _house(), ticks=ticks)))


@schedule_command.command("pause")
@click.option("--reason", required=True, help="Why, for those who look later.")
@click.option(
    "--hours", type=click.FloatRange(min=0, max=87_600, min_open=True), help="End after so many."
)
@click.option("--author", default=None, help="By whom; the user of the shell unless given.")
@with_appcontext
def pause_command(reason: str, hours: float | None, author: str | None) -> None:
    """Start no run for a tick, until it is resumed.

    With --hours it resumes by itself.
    """
    until = datetime.now(UTC) + timedelta(hours=hours) if hours else None
    pause = or_exit(
        lambda: pause_schedule(
            db.session, _house(), reason=reason, author=author or _user(), until=until
        )
    )
    end = f"until {pause.until_at:%Y-%m-%d %H:%M} UTC" if pause.until_at else "until resumed"
    click.echo(f"Paused {end}.")


@schedule_command.command("resume")
@click.option("--author", default=None, help="By whom; the user of the shell unless given.")
@with_appcontext
def resume_command(author: str | None) -> None:
    """Run ticks again from the next one on."""
    was_paused = or_exit(lambda: resume_schedule(db.session, _house(), author=author or _user()))
    click.echo("Resumed." if was_paused else "The schedule was not paused.")


def _print_schedule(view: ScheduleView) -> None:
    _print_upcoming(view.upcoming)
    if not view.is_enabled:
        click.echo("The scheduler is off (SCHEDULER_ENABLED); ticks run through /api/cron only.")
    if view.pause is not None:
        click.echo(f"{view.pause.words} (since {view.pause.paused_at:%Y-%m-%d %H:%M} UTC)")
    for tick in view.ticks:
        outcome = f"run {tick.run_id} {tick.run_status}" if tick.run_id else tick.reason
        click.echo(f"{tick.due_at:%Y-%m-%d %H:%M:%S}  {tick.status:8}{outcome}")
    for job in view.jobs:
        last = f"{job.last_at:%Y-%m-%d %H:%M:%S}" if job.last_at else "never"
        click.echo(f"Job {job.name}: last {last}{', ' + job.trouble if job.trouble else ''}")


def _print_upcoming(upcoming: UpcomingTicks) -> None:
    click.echo(f"{upcoming.expression} ({upcoming.timezone}): {upcoming.words}")
    for due_at in upcoming.next_ticks:
        click.echo(f"{due_at:%Y-%m-%d %H:%M:%S} UTC  next")


def _house() -> House:
    house: House = current_app.extensions["tapedeck"]
    return house


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "shell"

"""The shell's command for pruning: says what goes, or went, and how much that is."""

import sys
from collections.abc import Iterable

import click
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from app.errors import AppError
from app.services.failures import describe_failure
from app.services.house import House
from app.services.pruning import prune
from app.services.retention import Loss, Pruning, plan_pruning

FAILED = 1
UNFINISHED = 3


@click.command("prune")
@click.option("--dry-run", is_flag=True, help="Say what would go, but change nothing.")
@with_appcontext
def prune_command(dry_run: bool) -> None:
    """Delete what is past its RETENTION_ setting.

    Exit status 0: done, 3: some of it was in use or another process is at it, 1: failed.
    """
    house: House = current_app.extensions["tapedeck"]
    try:
        status = _preview(house) if dry_run else _prune(house)
    except (AppError, SQLAlchemyError) as error:
        click.echo(f"Failed: {describe_failure(error)[2]}", err=True)
        status = FAILED
    finally:
        house.runner.shutdown(grace_seconds=0)
    sys.exit(status)


def _preview(house: House) -> int:
    with house.runner.engine.connect() as connection:
        plan = plan_pruning(connection, house.settings, now=house.clock())
    _print(plan, "Would go", "New partitions would be made")
    return 0


def _prune(house: House) -> int:
    done = prune(house.runner.engine, house.settings, now=house.clock())
    if done is None:
        click.echo("Another process is pruning right now.", err=True)
        return UNFINISHED
    _print(done, "Gone", "New partitions")
    for what in done.postponed:
        click.echo(f"Not done, because it was in use: {what}. Try again later.", err=True)
    return UNFINISHED if done.postponed else 0


def _print(pruning: Pruning, gone: str, made: str) -> None:
    for line in _lines(pruning.losses):
        click.echo(line)
    partitions = sum(1 for loss in pruning.losses if loss.partition)
    total = f"{pruning.rows:,} rows, {_size(pruning.bytes)}, whole partitions: {partitions}"
    click.echo(f"{gone}: {total if pruning.losses else 'nothing'}")
    if pruning.new_partitions:
        click.echo(f"{made}: {', '.join(pruning.new_partitions)}")


def _lines(losses: Iterable[Loss]) -> list[str]:
    return [
        f"{loss.what:<16} {loss.rows:>12,} rows {_size(loss.bytes):>10}  older than "
        f"{loss.before:%Y-%m-%d %H:%M} UTC"
        + (f", partition {loss.partition}" if loss.partition else "")
        for loss in losses
    ]


def _size(size: int) -> str:
    """Bytes in the largest unit that fits, with one decimal: 12 B, 8.0 kB, 1.5 MB."""
    number = float(size)
    for unit in ("B", "kB", "MB"):
        if number < 1024:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GB"

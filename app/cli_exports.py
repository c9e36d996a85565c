"""The shell's command that writes what is stored to a CSV file."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import click
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from app.domain import Granularity
from app.errors import AppError
from app.extensions import db
from app.services.exports import ExportFilter, ExportKind, export_csv
from app.services.failures import describe_failure

FAILED = 1
_FORMATS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%z")


@click.command("export")
@click.argument("kind", type=click.Choice([kind.value for kind in ExportKind]))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file; without it the rows go to standard output.",
)
@click.option("--market", default=None, help="Only this market.")
@click.option("--granularity", type=click.Choice([item.value for item in Granularity]))
@click.option("--start", type=click.DateTime(_FORMATS), help="From this instant on (UTC).")
@click.option("--end", type=click.DateTime(_FORMATS), help="Up to this instant, exclusive (UTC).")
@click.option("--run", type=click.UUID, help="Only the rejected rows of this run.")
@with_appcontext
def export_command(
    kind: str,
    out: Path | None,
    market: str | None,
    granularity: str | None,
    start: datetime | None,
    end: datetime | None,
    run: UUID | None,
) -> None:
    """Write stored rows as CSV. Exit status 0, or 1 when nothing was written."""
    wanted = ExportFilter(
        market=market,
        granularity=Granularity(granularity) if granularity else None,
        start=_in_utc(start),
        end=_in_utc(end),
        run=run,
    )
    try:
        _write(ExportKind(kind), wanted, out)
    except (AppError, SQLAlchemyError) as error:
        click.echo(f"Failed: {describe_failure(error)[2]}", err=True)
        sys.exit(FAILED)
    except OSError as error:
        click.echo(f"Failed: {error.strerror}: {out}", err=True)
        sys.exit(FAILED)


def _write(kind: ExportKind, wanted: ExportFilter, out: Path | None) -> None:
    parts = export_csv(db.engine, kind, wanted)
    if out is None:
        for part in parts:
            sys.stdout.buffer.write(part)
        return
    # Under another name until it is whole: who finds the file finds all of it.
    unfinished = out.with_name(f"{out.name}.part")
    try:
        with unfinished.open("wb") as file:
            file.writelines(parts)
        os.replace(unfinished, out)
    finally:
        unfinished.unlink(missing_ok=True)


def _in_utc(instant: datetime | None) -> datetime | None:
    if instant is None:
        return None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)

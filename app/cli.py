"""What the shell runs: each command is one or two service calls."""

import sys
from collections.abc import Sequence

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from app.cli_alerts import alerts_command
from app.cli_ending import await_run, ending_kindly
from app.cli_exports import export_command
from app.cli_prune import prune_command
from app.cli_schedule import schedule_command
from app.cli_serve import serve_command
from app.cli_settings import check_settings_command, write_settings_docs_command
from app.domain import RunStatus, Trigger
from app.errors import AppError, InvalidRequest
from app.extensions import db
from app.ingestion.context import StageCounts
from app.ingestion.pipeline import RunReport
from app.ingestion.stages import TITLES
from app.logs import configure_logging
from app.services.failures import describe_failure
from app.services.figure_keeping import keep_last_figures
from app.services.house import House
from app.services.runs import load_run
from app.services.views import RunDetail

EXIT_CODES = {RunStatus.SUCCEEDED: 0, RunStatus.PARTIAL: 3}
FAILED = 1


def register_commands(app: Flask) -> None:
    """Make the commands known to `flask`."""
    for command in (
        check_settings_command,
        write_settings_docs_command,
        alerts_command,
        ingest_command,
        export_command,
        prune_command,
        schedule_command,
        serve_command,
    ):
        app.cli.add_command(command)


@click.command("ingest")
@click.option("--symbols", default="", help="Only these markets, joined by commas.")
@click.option("--provider", default=None, help="Another provider than INGESTION_PROVIDER.")
@click.option("--dry-run", is_flag=True, help="Fetch and validate, but store nothing.")
@with_appcontext
def ingest_command(symbols: str, provider: str | None, dry_run: bool) -> None:
    """Collect once, now. Exit status 0: succeeded, 3: partial, 1: failed."""
    house: House = current_app.extensions["tapedeck"]
    wanted = [symbol.strip() for symbol in symbols.split(",") if symbol.strip()]
    _quieten_log(house)
    try:
        collect = _preview if dry_run else _ingest
        status = collect(house, wanted, provider)
    except (AppError, SQLAlchemyError) as error:
        click.echo(f"Failed: {describe_failure(error)[2]}", err=True)
        for detail in error.details if isinstance(error, InvalidRequest) else ():
            click.echo(detail, err=True)
        status = RunStatus.FAILED
    finally:
        house.runner.shutdown(grace_seconds=0)
        keep_last_figures(db.engine, now=house.clock())
    sys.exit(EXIT_CODES.get(status, FAILED))


def _quieten_log(house: House) -> None:
    """On a terminal, keep the log's lines out of the progress bar unless a level was asked for."""
    if sys.stderr.isatty() and "log_level" not in house.settings.model_fields_set:
        configure_logging("warning")


def _ingest(house: House, symbols: Sequence[str], provider: str | None) -> RunStatus:
    with _progress() as bar, ending_kindly() as ending:
        run_id = house.runner.start(
            trigger=Trigger.CLI,
            symbols=symbols,
            provider=provider,
            requested_by="cli",
            listener=bar.hear,
        )
        await_run(house.runner, run_id, ending)
    detail = load_run(db.session, run_id)
    _print_run(detail)
    return detail.run.status


def _preview(house: House, symbols: Sequence[str], provider: str | None) -> RunStatus:
    with _progress() as bar:
        report = house.runner.preview(symbols=symbols, provider=provider, listener=bar.hear)
    _print_preview(report)
    return report.status


def _print_run(detail: RunDetail) -> None:
    run = detail.run
    click.echo(f"Run {run.id} {run.status} after {(run.duration_ms or 0) / 1000:.1f} s")
    click.echo(
        f"Markets {run.markets_ingested} of {run.markets_requested}, "
        f"snapshots {run.snapshots_ingested}, candles {run.aggregates_ingested}, "
        f"comparisons {run.comparisons_ingested}, ROI statistics {run.roi_stats_ingested}"
    )
    counts = run.counts
    click.echo(
        f"Rows: {counts.fetched} fetched, {counts.inserted} inserted, {counts.updated} updated, "
        f"{counts.unchanged} unchanged, {counts.rejected} rejected"
    )
    if run.error_message:
        click.echo(f"{run.error_class}: {run.error_message}", err=True)
    for problem in run.problems:
        click.echo(f"{problem.symbol}: {problem.message}", err=True)


def _print_preview(report: RunReport) -> None:
    click.echo(
        f"Dry run: {report.markets_ingested} of {report.markets_requested} markets, "
        f"{report.totals.fetched} rows fetched, {report.totals.rejected} rejected; nothing stored"
    )
    for problem in report.problems:
        click.echo(f"{problem.symbol}: {problem.message}", err=True)
    for row in report.rejected[:20]:
        click.echo(f"{row.symbol or row.provider_id or row.kind}: {row.detail}", err=True)


class _Progress:
    """A progress bar on a terminal, a plain line a stage elsewhere."""

    def __init__(self) -> None:
        self._bar = (
            click.progressbar(length=len(TITLES), label="Starting", file=sys.stderr)
            if sys.stderr.isatty()
            else None
        )

    def hear(self, name: str, counts: StageCounts | None) -> None:
        """A stage started (no counts) or ended."""
        if self._bar is None:
            return
        if counts is None:
            self._bar.label = TITLES[name]
            self._bar.render_progress()
        else:
            self._bar.update(1)

    def __enter__(self) -> "_Progress":
        if self._bar is not None:
            self._bar.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        if self._bar is not None:
            self._bar.render_finish()


def _progress() -> _Progress:
    return _Progress()

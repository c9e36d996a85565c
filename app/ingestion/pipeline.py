"""One pass of the pipeline: fetch, validate, then everything that is stored in one transaction."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, text

from app.database.transactions import run_in_transaction
from app.domain import Listing, MarketProblem, RejectedRow, RunStatus
from app.ingestion.collect import Collected, collect, refuse_empty
from app.ingestion.context import Haul, Recorder, RunContext, StageCounts
from app.ingestion.history_plan import note_history
from app.ingestion.listings import Key, keep_listings
from app.ingestion.stages import STORING
from app.ingestion.validation import (
    is_sound_id,
    storable_problem,
    validate_snapshots,
)
from app.models.versions import NEW_DATA_VERSION


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run did; the counts of stored rows are those inserted or updated."""

    status: RunStatus
    markets_requested: int
    markets_ingested: int
    ingested: dict[str, int]  # snapshots, aggregates, comparisons, roi_stats
    totals: StageCounts
    problems: tuple[MarketProblem, ...]
    rejected: tuple[RejectedRow, ...]  # the first few
    rejected_reasons: Mapping[str, int] = field(default_factory=dict)  # of all of them


def run_pipeline(
    context: RunContext,
    engine: Engine,
    recorder: Recorder,
    close_run: Callable[[Connection, RunReport], None],
) -> RunReport:
    """Do everything a run does up to the commit.

    `close_run` is called with the open transaction and the report just before the commit: it sets
    the run's final status there, so that data and status appear together or not at all; a deadlock
    or serialisation failure repeats the transaction, without another fetch. Raises `ProviderError`,
    `RunStopped`, `StorageError` (`StorageConflict` when repeating did not help) or
    `sqlalchemy.exc.DBAPIError`, nothing stored.
    """
    with context.history:
        _fetch(context, engine, recorder)
        if context.order.is_dry_run:
            return build_report(context)
        return _store(context, engine, recorder, close_run)


def _fetch(context: RunContext, engine: Engine, recorder: Recorder) -> None:
    """Fill the haul and the history; candles are judged while they come."""
    collected = Collected()
    with _Stage(context, recorder, "fetch") as counts:
        try:
            collect(context, engine, collected)
        finally:
            counts.rejected = collected.rejected_count
            counts.fetched = _row_count(context, collected)
    with _Stage(context, recorder, "validate") as counts:
        counts.fetched = _row_count(context, collected) - collected.rejected_count
        validate(context, collected)
        counts.rejected = context.rejected.count - collected.rejected_count
        refuse_empty(context, len(context.haul.snapshots))
    context.rejected.seal()


def validate(context: RunContext, collected: Collected) -> None:
    """Split what was collected into the rows to keep and those set aside."""
    listings = [item for item in collected.listings if is_sound_id(item.provider_id)]
    asked = {listing.key for listing in collected.listings}
    snapshots, bad = validate_snapshots(
        collected.snapshots,
        now=context.latest_now(),
        asked=asked,
        is_recorded=context.provider.capabilities.is_recorded,
    )
    context.set_aside(bad)
    context.haul = Haul(
        listings=listings,
        snapshots=snapshots,
        problems=[storable_problem(problem) for problem in collected.problems],
        history_from=collected.history_from,
        history_states=collected.history_states,
        own_candles=collected.own_candles,
    )


def build_report(context: RunContext) -> RunReport:
    """Sum the stages up and judge the run."""
    haul = context.haul
    ingested: Counter[str] = Counter()
    totals = StageCounts(fetched=context.counts["fetch"].fetched, rejected=context.rejected.count)
    for stage in STORING:
        counts = context.counts.get(stage.name, StageCounts())
        ingested[stage.total] += counts.inserted + counts.updated
        totals.inserted += counts.inserted
        totals.updated += counts.updated
        totals.unchanged += counts.unchanged
    is_whole = not haul.problems and not context.rejected.count
    seen = {row.snapshot.listing.key for row in haul.snapshots}
    return RunReport(
        status=RunStatus.SUCCEEDED if is_whole else RunStatus.PARTIAL,
        markets_requested=_requested(context),
        markets_ingested=len(seen),
        ingested={stage.total: ingested[stage.total] for stage in STORING},
        totals=totals,
        problems=tuple(haul.problems),
        rejected=context.rejected.first,
        rejected_reasons=context.rejected.reasons,
    )


def _requested(context: RunContext) -> int:
    """How many markets the run was to bring: those listed and named, and all of `top:N`."""
    haul = context.haul
    listed = {listing.key for listing in haul.listings}
    symbols = {listing.symbol for listing in haul.listings}
    unlisted = {problem.symbol for problem in haul.problems} - symbols
    ranked = {symbol for symbol in unlisted if symbol.startswith("top:")}
    return max(len(listed) + len(unlisted - ranked), context.order.selection.top)


def _store(
    context: RunContext,
    engine: Engine,
    recorder: Recorder,
    close_run: Callable[[Connection, RunReport], None],
) -> RunReport:
    """All that is stored, in one transaction; begun again when it lost a conflict with another."""
    fetched, counts = context.haul, context.counts

    def work(connection: Connection) -> RunReport:
        context.start_over(fetched, counts)
        _store_rows(context, connection, recorder)
        context.rejected.store(connection)
        report = build_report(context)
        if report.totals.inserted or report.totals.updated:
            # Last but for the run's own row.
            connection.execute(text(NEW_DATA_VERSION))
        close_run(connection, report)
        return report

    return run_in_transaction(engine, work, pause=context.pause)


def _store_rows(context: RunContext, connection: Connection, recorder: Recorder) -> None:
    provider, order, haul = context.provider.name, context.order, context.haul
    _place(haul, keep_listings(connection, provider, haul.listings, now=order.now))
    note_history(connection, provider, haul.history_from, haul.history_states)
    for stage in STORING:
        context.check_stop()
        with _Stage(context, recorder, stage.name) as counts:
            _copy_counts(counts, stage.store(context, connection))
    context.check_stop()


def _place(haul: Haul, stored: Mapping[Key, Listing]) -> None:
    """Give every listing the symbol and market it is stored with."""
    haul.market_ids = {
        key: item.market_id for key, item in stored.items() if item.market_id is not None
    }
    haul.listings = [stored[key] for key in dict.fromkeys(item.key for item in haul.listings)]


class _Stage:
    """Times a stage and tells the recorder of its beginning and end."""

    def __init__(self, context: RunContext, recorder: Recorder, name: str) -> None:
        self._context, self._recorder, self._name = context, recorder, name
        self.counts = StageCounts()

    def __enter__(self) -> StageCounts:
        self._recorder.stage_started(self._name)
        return self.counts

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._context.counts[self._name] = self.counts
        status = "succeeded" if kind is None else "failed"
        self._recorder.stage_finished(self._name, self.counts, status=status)


def _copy_counts(into: StageCounts, counts: StageCounts) -> None:
    into.fetched, into.inserted, into.updated = counts.fetched, counts.inserted, counts.updated
    into.unchanged, into.rejected, into.detail = counts.unchanged, counts.rejected, counts.detail


def _row_count(context: RunContext, collected: Collected) -> int:
    """Rows that came, while no snapshot is judged yet."""
    return len(collected.snapshots) + context.history.good_count + context.rejected.count

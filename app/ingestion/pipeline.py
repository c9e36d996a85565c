"""One pass of the pipeline: fetch, validate, then everything that is stored in one transaction."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text

from app.domain import Listing, MarketProblem, RejectedRow, RunStatus
from app.ingestion.collect import Collected, collect, refuse_empty
from app.ingestion.context import Haul, Recorder, RunContext, StageCounts
from app.ingestion.listings import Key, keep_listings, note_history
from app.ingestion.stages import STORING
from app.ingestion.validation import (
    is_sound_id,
    storable_problem,
    storable_rejection,
    validate_candles,
    validate_snapshots,
)

# Last but for the run's own row, so that the version is locked as briefly as can be.
_NEW_VERSION = """
    INSERT INTO data_version (kind) VALUES ('data')
    ON CONFLICT (kind) DO UPDATE SET token = gen_random_uuid(), changed_at = clock_timestamp()
"""


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run did; the counts of stored rows are those inserted or updated."""

    status: RunStatus
    markets_requested: int
    markets_ingested: int
    ingested: dict[str, int]  # snapshots, aggregates, comparisons, roi_stats
    totals: StageCounts
    problems: tuple[MarketProblem, ...]
    rejected: tuple[RejectedRow, ...]


def run_pipeline(
    context: RunContext,
    engine: Engine,
    recorder: Recorder,
    close_run: Callable[[Connection, RunReport], None],
) -> RunReport:
    """Do everything a run does up to the commit.

    `close_run` is called with the open transaction and the report just before the commit: it sets
    the run's final status there, so that data and status appear together or not at all. Raises
    `ProviderError`, `RunStopped`, `StorageError` or `sqlalchemy.exc.DBAPIError`, nothing stored.
    """
    with _Stage(context, recorder, "fetch") as counts:
        collected = collect(context, engine)
        counts.fetched = _row_count(collected)
        counts.rejected = len(collected.rejected)
    with _Stage(context, recorder, "validate") as counts:
        validate(context, collected)
        counts.fetched = _row_count(collected) - len(collected.rejected)
        counts.rejected = len(context.haul.rejected) - len(collected.rejected)
        refuse_empty(context, len(context.haul.snapshots))
    if context.order.is_dry_run:
        return build_report(context)
    return _store(context, engine, recorder, close_run)


def validate(context: RunContext, collected: Collected) -> None:
    """Split what was collected into the rows to keep and those set aside."""
    # Not the run's own instant: what was observed while it fetched does not lie in the future.
    now = max(context.order.now, context.clock())
    listings = [item for item in collected.listings if is_sound_id(item.provider_id)]
    asked = {listing.key for listing in collected.listings}
    snapshots, bad_snapshots = validate_snapshots(collected.snapshots, now=now, asked=asked)
    candles, bad_candles = validate_candles(collected.candles, now=now, asked=asked)
    given = map(storable_rejection, collected.rejected)
    context.haul = Haul(
        listings=listings,
        snapshots=snapshots,
        candles=candles,
        rejected=[*given, *bad_snapshots, *bad_candles],
        problems=[storable_problem(problem) for problem in collected.problems],
        history_from=collected.history_from,
    )


def build_report(context: RunContext) -> RunReport:
    """Sum the stages up and judge the run."""
    haul = context.haul
    ingested: Counter[str] = Counter()
    totals = StageCounts(fetched=context.counts["fetch"].fetched, rejected=len(haul.rejected))
    for stage in STORING:
        counts = context.counts.get(stage.name, StageCounts())
        ingested[stage.total] += counts.inserted + counts.updated
        totals.inserted += counts.inserted
        totals.updated += counts.updated
        totals.unchanged += counts.unchanged
    is_whole = not haul.problems and not haul.rejected
    seen = {row.snapshot.listing.key for row in haul.snapshots}
    return RunReport(
        status=RunStatus.SUCCEEDED if is_whole else RunStatus.PARTIAL,
        markets_requested=_requested(context),
        markets_ingested=len(seen),
        ingested={stage.total: ingested[stage.total] for stage in STORING},
        totals=totals,
        problems=tuple(haul.problems),
        rejected=tuple(haul.rejected),
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
    provider, order, haul = context.provider.name, context.order, context.haul
    with engine.begin() as connection:
        _place(haul, keep_listings(connection, provider, haul.listings, now=order.now))
        note_history(connection, provider, haul.history_from)
        for stage in STORING:
            context.check_stop()
            with _Stage(context, recorder, stage.name) as counts:
                _copy_counts(counts, stage.store(context, connection))
        context.check_stop()
        report = build_report(context)
        if report.totals.inserted or report.totals.updated:
            connection.execute(text(_NEW_VERSION))
        close_run(connection, report)
    return report


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


def _row_count(collected: Collected) -> int:
    return len(collected.snapshots) + len(collected.candles) + len(collected.rejected)

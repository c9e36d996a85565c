"""The pure judgement of runs, markets, schedule and processes: facts in, findings out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from app.alerts.rules import (
    BREAKER_OPEN,
    CACHE_FALLBACK,
    PAUSED_TOO_LONG,
    REJECTED_SHARE,
    SLOW_FACTOR,
    TICKS_WITHOUT_SUCCESS,
    Finding,
)
from app.domain import AssetType, RunStatus

TICKS_COUNTED = 100
# Runs that take so little are not worth a word, and a median needs a few runs to mean something.
SLOW_FLOOR_MS = 1000
RUNS_FOR_MEDIAN = 5
HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class RunFact:
    """A finished run. `median_ms` is that of the 20 runs before it, of which there were so many."""

    id: UUID
    provider: str
    status: RunStatus
    started_at: datetime
    finished_at: datetime
    duration_ms: int | None
    is_full: bool  # of every market, not only of those named
    fetched: int
    rejected: int
    problem_count: int
    error_message: str | None
    median_ms: float | None
    median_of: int


@dataclass(frozen=True, slots=True)
class MarketFact:
    """A followed market: its newest observation, and the hourly candles there should and do be."""

    symbol: str
    asset_type: str
    observed_at: datetime | None
    expected_hours: int
    present_hours: int


@dataclass(frozen=True, slots=True)
class SignalFact:
    """What a process sees: the kind is `CACHE_FALLBACK` or `BREAKER_OPEN`.

    `detail` is the reason that it knows, of a breaker `breaker_detail`.
    """

    kind: str
    subject: str
    detail: str
    succeeded_since: bool = False

    @property
    def is_over(self) -> bool:
        """True for a breaker that only waits for a call which another process has made."""
        # After its pause a breaker closes with the next call and not before.
        is_waiting = self.kind == BREAKER_OPEN and self.detail.partition(": ")[0] == HALF_OPEN
        return is_waiting and self.succeeded_since

    @property
    def reason(self) -> str:
        """Why, in a few words; empty where nobody knows."""
        return self.detail.partition(": ")[2] if self.kind == BREAKER_OPEN else self.detail


@dataclass(frozen=True, slots=True)
class ScheduleFact:
    """The ticks due since data came last, and since when the schedule is paused (None: it runs)."""

    last_success_at: datetime | None
    ticks_since: int
    paused_at: datetime | None = None
    paused_by: str = ""


def breaker_detail(state: str, reason: str) -> str:
    """What a signal says of a breaker that is not closed."""
    return f"{state}: {reason}" if reason else state


def judge_run(run: RunFact) -> Iterator[Finding]:
    """What one finished run shows; nothing for one that somebody cancelled."""
    if run.status is RunStatus.CANCELLED:
        return
    is_bad = run.status in (RunStatus.FAILED, RunStatus.ABANDONED)
    # A run of a few markets can show trouble, but not that there is none.
    if is_bad or run.is_full:
        yield _failed(run, is_bad=is_bad)
        yield from _rejected(run)
    if run.status is RunStatus.PARTIAL or (run.status is RunStatus.SUCCEEDED and run.is_full):
        yield _partial(run)
    if run.is_full and not is_bad:
        yield from _slow(run)


def judge_markets(
    markets: Iterable[MarketFact], *, now: datetime, limit: timedelta
) -> Iterator[Finding]:
    """Stale markets (older than `limit`) and gaps; nothing of markets in order."""
    for market in markets:
        if market.observed_at is not None and now - market.observed_at > limit:
            yield _stale(market, market.observed_at, limit)
        missing = market.expected_hours - market.present_hours
        if missing > 0 and market.asset_type == AssetType.CRYPTO:
            yield _gap(market, missing)


def judge_schedule(fact: ScheduleFact, *, now: datetime) -> Iterator[Finding]:
    """Whether runs succeed and the schedule runs; while it is paused, success is not judged."""
    paused_for = timedelta(0) if fact.paused_at is None else now - fact.paused_at
    yield Finding(
        "schedule_paused",
        "",
        paused_for > PAUSED_TOO_LONG,
        "The schedule is still paused",
        f"{fact.paused_by or 'Somebody'} paused it {_length(paused_for)} ago.",
        _length(paused_for),
    )
    if fact.paused_at is None:
        count = _ticks(fact.ticks_since)
        last = fact.last_success_at
        yield Finding(
            "no_success",
            "",
            fact.ticks_since >= TICKS_WITHOUT_SUCCESS,
            f"No run brought data for {count}",
            f"The last one did at {_clock(last)}." if last else "None has done so yet.",
            count,
        )


def judge_signals(signals: Iterable[SignalFact]) -> Iterator[Finding]:
    """Troubled caches and breakers; each subject once, however many processes see it."""
    seen: dict[tuple[str, str], list[str]] = {}
    for signal in signals:
        if not signal.is_over:
            seen.setdefault((signal.kind, signal.subject), []).append(signal.reason)
    for (kind, subject), reasons in seen.items():
        processes = "1 process" if len(reasons) == 1 else f"{len(reasons)} processes"
        reason = next(filter(None, reasons), "")
        if kind == CACHE_FALLBACK:
            title, text = "The cache fell back to memory", f"Redis fails {processes}"
            text += f": {reason}." if reason else "."
        else:
            title = f"{subject} is not asked after repeated failures"
            text = f"The breaker is open in {processes}."
            text += f" The last failure: {reason}" if reason else ""
        yield Finding(kind, subject, True, title, text, processes)


def _failed(run: RunFact, *, is_bad: bool) -> Finding:
    reason = run.error_message or "No reason is known."
    text = f"The run of {_clock(run.started_at)}: {reason}" if is_bad else _back(run)
    title = f"The run from {run.provider} failed"
    if run.status is RunStatus.ABANDONED:
        title = f"The process of the run from {run.provider} died"
    return Finding("run_failed", run.provider, is_bad, title, text, run.status, run_id=run.id)


def _back(run: RunFact) -> str:
    return f"The run of {_clock(run.started_at)} ended as {run.status}."


def _partial(run: RunFact) -> Finding:
    markets, rows = _counted(run.problem_count, "market"), _counted(run.rejected, "row")
    parts = [f"{markets} could not be served"] if run.problem_count else []
    parts += [f"{rows} {'was' if run.rejected == 1 else 'were'} set aside"] if run.rejected else []
    text = f"The run of {_clock(run.started_at)}: {' and '.join(parts) or 'a part is missing'}."
    is_partial = run.status is RunStatus.PARTIAL
    return Finding(
        "run_partial",
        run.provider,
        is_partial,
        f"The run from {run.provider} kept only a part",
        text if is_partial else _back(run),
        run.status,
        run_id=run.id,
    )


def _rejected(run: RunFact) -> Iterator[Finding]:
    if not run.fetched:
        return
    share = run.rejected / run.fetched
    yield Finding(
        "rows_rejected",
        run.provider,
        share > REJECTED_SHARE,
        f"{share:.0%} of the rows from {run.provider} were rejected",
        f"The run of {_clock(run.started_at)} set {run.rejected} of {run.fetched} rows aside.",
        f"{share:.1%}",
        run_id=run.id,
    )


def _slow(run: RunFact) -> Iterator[Finding]:
    if run.duration_ms is None or run.median_ms is None or run.median_of < RUNS_FOR_MEDIAN:
        return
    is_slow = run.duration_ms > max(SLOW_FACTOR * run.median_ms, SLOW_FLOOR_MS)
    seconds, usual = run.duration_ms / 1000, run.median_ms / 1000
    yield Finding(
        "run_slow",
        run.provider,
        is_slow,
        f"The run from {run.provider} took {seconds:.1f} s",
        f"The run of {_clock(run.started_at)} took {seconds:.1f} s; the median is {usual:.1f} s.",
        f"{seconds:.1f} s",
        run_id=run.id,
    )


def _stale(market: MarketFact, observed_at: datetime, limit: timedelta) -> Finding:
    symbol, newest = market.symbol, _clock(observed_at)
    text = f"Its newest observation is of {newest}; the limit is an age of {_length(limit)}."
    return Finding("market_stale", symbol, True, f"{symbol} is stale", text, newest, market=symbol)


def _gap(market: MarketFact, missing: int) -> Finding:
    symbol = market.symbol
    hours = _counted(missing, "hour")
    verb = "has" if missing == 1 else "have"
    text = f"{hours} of the last {market.expected_hours} {verb} no candle."
    return Finding("data_gap", symbol, True, f"{symbol} has a gap", text, hours, market=symbol)


def _ticks(count: int) -> str:
    if count >= TICKS_COUNTED:
        return f"{count} or more ticks"
    return _counted(count, "tick")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _clock(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def _length(span: timedelta) -> str:
    """A span in its largest fitting unit, so that it does not change with every look."""
    seconds = max(0, int(span.total_seconds()))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= (2 * size if size > 60 else size):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"

"""What the panel of a manual run shows: idle, running with its stages, or finished."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from app.ingestion.stages import TITLES
from app.services.views import RunDetail, RunView, StageView
from app.web.charts import elapsed_words

# A running stage counts by half, so that the bar moves when a stage begins.
_WEIGHTS = {"succeeded": 1.0, "running": 0.5}
# Never full before it is over.
_MOST_WHILE_RUNNING = 97.0


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The state of the panel; `share` is per cent done, `message` what was wrong with a request."""

    run: RunView | None = None
    stages: tuple[StageView, ...] = ()
    elapsed_ms: int = 0
    share: float = 0.0
    estimate: str = ""
    message: str = ""
    details: tuple[str, ...] = ()
    symbols: str = ""

    @property
    def state(self) -> str:
        """`idle`, `running` or `finished`."""
        if self.run is None:
            return "idle"
        return "running" if self.run.is_active else "finished"

    @property
    def expected_end_at(self) -> datetime | None:
        """When an active run should be over by the median of past ones; None once it is late."""
        run = self.run
        if run is None or not run.is_active or not run.expected_ms:
            return None
        if self.elapsed_ms >= run.expected_ms:
            return None
        return run.started_at + timedelta(milliseconds=run.expected_ms)

    @classmethod
    def refused(cls, message: str, details: Sequence[str], *, symbols: str) -> Self:
        """The idle panel with what was wrong, keeping what had been typed."""
        return cls(message=message, details=tuple(details), symbols=symbols)

    @classmethod
    def of(cls, detail: RunDetail, *, now: datetime, message: str = "") -> Self:
        """The panel of a run as it stands at `now`."""
        run = detail.run
        elapsed_ms = run_elapsed_ms(run, now=now)
        return cls(
            run=run,
            stages=detail.stages,
            elapsed_ms=elapsed_ms,
            share=_share(detail, elapsed_ms) if run.is_active else 100.0,
            estimate=elapsed_words(elapsed_ms, run.expected_ms),
            message=message,
        )


def outline(run: RunView) -> RunDetail:
    """An active run with what its own row tells of its stages, without asking for them."""
    names = list(TITLES)
    reached = names.index(run.stage) if run.stage in TITLES else 0
    words = ["succeeded" if place < reached else "pending" for place in range(len(names))]
    words[reached] = "running"
    stages = (StageView(name, TITLES[name], word) for name, word in zip(names, words, strict=True))
    return RunDetail(run=run, stages=tuple(stages), rejected=())


def run_elapsed_ms(run: RunView, *, now: datetime) -> int:
    """Milliseconds a run took, or has been at work until `now`."""
    if run.duration_ms is not None:
        return run.duration_ms
    return max(0, round((now - run.started_at).total_seconds() * 1000))


def _share(detail: RunDetail, elapsed_ms: int) -> float:
    """Per cent done: by time against the median of past runs, else by stages."""
    expected_ms = detail.run.expected_ms
    if expected_ms:
        return round(min(_MOST_WHILE_RUNNING, 100 * elapsed_ms / expected_ms), 1)
    if not detail.stages:
        return 0.0
    done = sum(_WEIGHTS.get(stage.status, 0.0) for stage in detail.stages)
    return round(min(_MOST_WHILE_RUNNING, 100 * done / len(detail.stages)), 1)

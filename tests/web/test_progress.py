"""What the panel of a manual run shows at a given moment."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.domain import RunStatus, Trigger
from app.ingestion.stages import TITLES
from app.services.views import Counts, RunDetail, RunView, StageView
from app.web.progress import RunProgress, outline

START = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
RUN = RunView(
    id="x", status=RunStatus.RUNNING, trigger=Trigger.MANUAL, provider="mock", requested_by="",
    due_at=None, attempt=1, owner="w", started_at=START, finished_at=None, deadline_at=START,
    cancel_requested_at=None, duration_ms=None, stage="validate", symbols=(), markets_requested=0,
    markets_ingested=0, snapshots_ingested=0, aggregates_ingested=0, comparisons_ingested=0,
    roi_stats_ingested=0, counts=Counts(), error_class=None, error_message=None, problem_count=0,
    problems=(),
)  # fmt: skip


def panel(run: RunView, *stages: StageView, seconds: float = 2) -> RunProgress:
    """The panel of a run some seconds after its start."""
    detail = RunDetail(run=run, stages=stages, rejected=())
    return RunProgress.of(detail, now=START + timedelta(seconds=seconds))


def test_nothing_runs_in_an_idle_panel() -> None:
    assert RunProgress().state == "idle"
    assert RunProgress.refused("No.", ["why"], symbols="X").state == "idle"


@pytest.mark.parametrize(("seconds", "share"), [(1, 10), (5, 50), (60, 97)])
def test_progress_goes_by_the_median_and_is_never_full_early(seconds: float, share: float) -> None:
    shown = panel(replace(RUN, expected_ms=10_000), seconds=seconds)
    assert (shown.state, shown.share) == ("running", share)


def test_without_a_past_progress_goes_by_stages() -> None:
    stages = [StageView("a", "A", "succeeded"), StageView("b", "B", "running")]
    assert panel(RUN, *stages, *[StageView("c", "C", "pending")] * 2).share == 37.5
    assert panel(RUN).share == 0


def test_a_clock_that_is_behind_shows_no_negative_time() -> None:
    assert panel(RUN, seconds=-3).elapsed_ms == 0


def test_a_finished_run_is_full_and_took_what_it_took() -> None:
    shown = panel(replace(RUN, status=RunStatus.FAILED, duration_ms=1234), seconds=99)
    assert (shown.state, shown.share, shown.elapsed_ms) == ("finished", 100, 1234)


def test_the_outline_of_an_active_run_names_every_stage() -> None:
    stages = outline(RUN).stages
    assert [stage.title for stage in stages] == list(TITLES.values())
    assert [stage.status for stage in stages][:3] == ["succeeded", "running", "pending"]


def test_a_run_that_has_reached_no_stage_is_at_its_first() -> None:
    assert outline(replace(RUN, stage="")).stages[0].status == "running"

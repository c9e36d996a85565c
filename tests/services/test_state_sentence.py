"""One sentence in terms of age, with its cause."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.domain import RunStatus, Trigger
from app.services.state_sentence import FreshnessFacts, counted, format_age, judge
from app.services.views import Counts, HealthState, RunView, SchedulePauseView

NOW = datetime(2026, 3, 4, 10, 20, tzinfo=UTC)
LIMIT = timedelta(minutes=30)
RUN = RunView(
    id="1", status=RunStatus.SUCCEEDED, trigger=Trigger.SCHEDULER, provider="mock", requested_by="",
    due_at=None, attempt=1, owner="x:1", started_at=NOW - timedelta(minutes=6),
    finished_at=NOW - timedelta(minutes=5), deadline_at=NOW, cancel_requested_at=None,
    duration_ms=1000, stage="", symbols=(), markets_requested=3, markets_ingested=3,
    snapshots_ingested=3, aggregates_ingested=0, comparisons_ingested=0, roi_stats_ingested=0,
    counts=Counts(), error_class=None, error_message=None, problem_count=0, problems=(),
)  # fmt: skip
FAILED = replace(RUN, status=RunStatus.FAILED, error_message="The provider answered HTTP 429.")
PAUSE = SchedulePauseView("ann", "moving house", NOW + timedelta(hours=2))


def facts(*ages: float) -> FreshnessFacts:
    """Markets A, B, … of these ages in minutes."""
    seen = sorted((NOW - timedelta(minutes=age), chr(65 + n)) for n, age in enumerate(ages))
    late = sum(NOW - at > LIMIT for at, _ in seen)
    if not seen:
        return FreshnessFacts(0, 0, None, None, None)
    return FreshnessFacts(len(seen), late, seen[-1][0], seen[0][0], seen[0][1])


def look(*ages: float, runs: tuple[RunView, ...] = (RUN,), **values: object) -> HealthState:
    return judge(runs, facts(*ages), now=NOW, limit=LIMIT, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ages", "headline"),
    [((1, 2, 3), "3 markets, newest 1 min old"), ((1,), "1 market, newest 1 min old")],
)
def test_good_data_says_how_much_and_how_new(ages: tuple[float, ...], headline: str) -> None:
    assert look(*ages) == HealthState("good", headline, "")


def test_good_data_says_how_many_markets_have_none() -> None:
    fresh = replace(facts(1, 2), followed_count=3)
    state = judge((RUN,), fresh, now=NOW, limit=LIMIT)
    assert (state.level, state.headline) == ("good", "2 of 3 markets, newest 1 min old")


def test_late_data_names_the_oldest_market_its_age_and_the_limit() -> None:
    state = look(1, 42)
    assert state.level == "late"
    assert state.headline.startswith("B is 42 min old, limit 30 min: the last good run ended 5 min")


def test_several_late_markets_are_counted() -> None:
    headline = look(41, 42, 1).headline
    assert headline.startswith("B and 1 more of 3 markets are late, up to 42 min old, limit 30 min")


@pytest.mark.parametrize(
    ("runs", "cause"),
    [
        ((FAILED,), "the last run failed with HTTP 429"),
        ((FAILED, FAILED, RUN), "the last 2 runs failed with HTTP 429"),
        ((FAILED, replace(FAILED, error_message="HTTP 500")), "the last 2 runs failed"),
        ((replace(FAILED, error_message="Its process died."),), "the last run failed"),
    ],
)
def test_failing_runs_are_counted_and_named_by_their_answer(
    runs: tuple[RunView, ...], cause: str
) -> None:
    state = look(42, runs=runs)
    assert state.headline == f"A is 42 min old, limit 30 min: {cause}"
    assert (state.level, state.reason) == ("failing", runs[0].error_message)


def test_a_failure_counts_before_data_is_late() -> None:
    state = look(12, runs=(FAILED, RUN))
    assert state.headline == "1 market, newest 12 min old: the last run failed with HTTP 429"


def test_without_any_data_a_failure_says_so() -> None:
    assert look(runs=(FAILED,)).headline.startswith("there is no data: the last run failed")


def test_before_the_first_run_nothing_is_wrong_yet() -> None:
    assert look(runs=()).level == "empty"


def test_a_pause_before_the_first_run_explains_the_emptiness() -> None:
    state = look(runs=(), pause=PAUSE)
    assert state == HealthState("paused", "nothing has been collected yet", PAUSE.words)


def test_a_pause_explains_late_data_and_a_failure_outweighs_it() -> None:
    paused, failing = look(42, pause=PAUSE), look(42, runs=(FAILED,), pause=PAUSE)
    assert paused.level == "paused"
    assert paused.headline.endswith(": the schedule is paused until 2026-03-04 12:20 UTC")
    assert paused.reason == "Paused by ann: moving house"
    assert failing.level == "failing"


def test_a_partial_run_tells_what_is_missing_in_the_right_number() -> None:
    partial = replace(RUN, status=RunStatus.PARTIAL, problem_count=1, counts=Counts(rejected=2))
    reason = look(1, runs=(partial,)).reason
    assert (
        reason == "The last run was partial: 1 market could not be served and 2 rows were set "
        "aside."
    )


def test_ages_and_counts_are_short() -> None:
    ages = [timedelta(seconds=s) for s in (-5, 42, 61, 7200, 200_000)]
    assert [format_age(age) for age in ages] == ["0 s", "42 s", "1 min", "2 h", "2 d"]
    assert (counted(1, "row"), counted(2000, "row")) == ("1 row", "2,000 rows")


def test_a_failure_says_since_when_and_what_to_do() -> None:
    first = replace(FAILED, finished_at=NOW - timedelta(minutes=25))
    state = look(12, runs=(replace(FAILED, error_class="PlanLimitError"), first, RUN))
    assert state.since == NOW - timedelta(minutes=25)
    assert state.advice.startswith("This does not pass by itself: follow fewer markets")


def test_a_failure_during_a_pause_promises_no_next_run() -> None:
    state = look(12, runs=(replace(FAILED, error_class="StorageError"),), pause=PAUSE)
    assert state.advice.startswith("The schedule is paused, so there is no next run until")


@pytest.mark.parametrize("error_class", [None, "", "KeyError"])
def test_a_failure_of_no_known_kind_leads_to_its_log(error_class: str | None) -> None:
    state = look(12, runs=(replace(FAILED, error_class=error_class),))
    assert state.advice.startswith("Open the run")


def test_late_data_is_late_since_it_reached_the_limit() -> None:
    state = look(1, 42)
    assert state.since == NOW - timedelta(minutes=12)
    assert state.advice.startswith("Ingest now")


def test_a_pause_says_since_when_and_whether_it_ends_by_itself() -> None:
    begun = replace(PAUSE, paused_at=NOW - timedelta(hours=1))
    bounded, endless = look(1, pause=begun), look(1, pause=replace(begun, until_at=None))
    assert bounded.since == NOW - timedelta(hours=1)
    assert bounded.advice.startswith("It ends by itself")
    assert endless.advice.startswith("Resume it")


def test_a_scheduler_that_stands_still_is_told_of_before_all_else() -> None:
    quiet = timedelta(minutes=12)
    state = look(42, runs=(FAILED,), pause=PAUSE, quiet=quiet)
    assert state.level == "stalled"
    assert state.headline == "A is 42 min old, limit 30 min: the scheduler stopped 12 min ago"
    assert state.advice.startswith("Restart Tapedeck")


def test_good_data_asks_for_nothing() -> None:
    assert (look(1).advice, look(1).since) == ("", None)

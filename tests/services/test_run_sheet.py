"""One run in full: relatives, outcomes of markets, log."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from flask import Flask

from app.domain import Trigger
from app.errors import NotFound
from app.extensions import db
from app.services import run_changes
from app.services.run_changes import change_pct
from app.services.run_sheet import RunSheet, load_run_sheet
from tests.services.seeding import execute
from tests.web.real_app import real_app


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> Iterator[Flask]:
    with real_app(database_url, tmp_path) as app, app.app_context():
        yield app


def run(app: Flask, *, parent: str | None = None, symbols: tuple[str, ...] = ()) -> str:
    """A finished run; its id."""
    runner = app.extensions["tapedeck"].runner
    run_id = runner.start(trigger=Trigger.MANUAL, symbols=symbols, parent_run_id=parent)
    assert runner.wait(run_id, timeout_seconds=60)
    return str(run_id)


def sheet(run_id: str, **values: str) -> RunSheet:
    db.session.rollback()
    return load_run_sheet(db.session, run_id, **values)


def outcomes(found: RunSheet) -> dict[str, str]:
    assert found.changes is not None
    return {market.symbol: market.outcome for market in found.changes.markets}


def test_the_first_run_brings_new_markets_and_has_no_run_before_it(app: Flask) -> None:
    found = sheet(run(app))
    assert outcomes(found) == {"BTC-USD": "new", "ETH-USD": "new", "SPX": "new"}
    assert found.relatives.previous is None


def test_a_run_is_read_beside_the_good_run_before_it(app: Flask) -> None:
    first = run(app)
    # A minute earlier, so that the mock provider has newer prices for the second run.
    execute("UPDATE market_snapshot SET observed_at = observed_at - interval '1 minute', price = 1")
    found = sheet(run(app))
    assert found.relatives.previous is not None
    assert found.relatives.previous.id == first
    assert set(outcomes(found).values()) == {"stored"}
    assert found.changes is not None
    assert len(found.changes.moved(Decimal(5))) == 3


def test_a_market_with_a_problem_stands_first_with_its_message(app: Flask) -> None:
    run(app)
    run_id = run(app)
    execute(
        "UPDATE ingestion_run SET problem_count = 2, problems = CAST(:p AS jsonb) WHERE id = :id",
        id=run_id,
        p='[{"symbol": "SPX", "error_class": "NotFound", "message": "gone"},'
        ' {"symbol": "OLD", "error_class": "NotFound", "message": "never there"}]',
    )
    found = sheet(run_id)
    assert found.changes is not None
    first = found.changes.markets[:2]
    assert {(market.symbol, market.message) for market in first} == {
        ("SPX", "gone"), ("OLD", "never there"),
    }  # fmt: skip
    assert found.changes.counts["problem"] == 2


def test_a_market_that_the_provider_no_longer_sends_is_lost(app: Flask) -> None:
    execute_at = "UPDATE ingestion_run SET started_at = started_at - interval '1 hour', "
    run(app)
    execute(execute_at + "finished_at = finished_at - interval '1 hour'")
    execute("UPDATE market SET created_at = created_at - interval '2 hours'")
    run_id = run(app)
    execute("UPDATE listing SET seen_at = seen_at - interval '1 hour' WHERE provider_id = 'spx'")
    assert outcomes(sheet(run_id))["SPX"] == "lost"


def test_a_repetition_and_its_parent_know_each_other(app: Flask) -> None:
    parent = run(app)
    retry = run(app, parent=parent, symbols=("SPX",))
    assert [child.id for child in sheet(parent).relatives.retries] == [retry]
    found = sheet(retry)
    assert found.relatives.parent is not None
    assert found.relatives.parent.id == parent
    assert outcomes(found).keys() == {"SPX"}


def test_a_parent_that_is_gone_is_left_out(app: Flask) -> None:
    retry = run(app, parent="00000000-0000-0000-0000-000000000000")
    assert sheet(retry).detail.run.parent_run_id is None


def test_the_log_begins_with_the_start_and_ends_with_the_last_stage(app: Flask) -> None:
    lines = sheet(run(app)).log.lines
    assert [line.event for line in (lines[0], lines[-2])] == ["run started", "run finished"]
    assert [line.stage for line in lines[1:3]] == ["fetch", "validate"]


def test_a_level_shows_its_own_lines_and_worse_ones_with_the_counts_of_all(app: Flask) -> None:
    run_id = run(app)
    execute(
        "UPDATE run_log_line SET level = CASE position WHEN 0 THEN 'error' WHEN 1 THEN 'warning' "
        "ELSE level END"
    )
    log = sheet(run_id, level="warning").log
    assert [line.level for line in log.lines] == ["error", "warning"]
    assert log.counts == {"info": 10, "warning": 2, "error": 1}


def test_a_failed_run_changed_nothing(database_url: str, tmp_path: Path) -> None:
    with real_app(database_url, tmp_path, mock={"fail": "permanent"}) as app, app.app_context():
        found = sheet(run(app))
    assert found.changes is None
    assert "error" in {line.level for line in found.log.lines}


def test_an_unknown_run_is_not_found(app: Flask) -> None:
    with pytest.raises(NotFound):
        sheet("00000000-0000-0000-0000-000000000000")


def test_a_change_needs_two_prices() -> None:
    assert change_pct(Decimal("1.1"), Decimal(1)) == Decimal(10)
    assert change_pct(Decimal("1e-12"), Decimal("2e-12")) == Decimal(-50)
    assert change_pct(None, Decimal(1)) is None
    assert change_pct(Decimal(1), None) is None


def test_a_run_of_the_same_markets_is_looked_for_so_far_back_and_no_further(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(app, symbols=("SPX",))
    run(app)
    last = run(app, symbols=("SPX",))
    found = sheet(last).relatives.previous
    assert found is not None
    assert found.id == first
    monkeypatch.setattr(run_changes, "PREVIOUS_AMONG", 1)
    assert sheet(last).relatives.previous is None

"""The rejected rows of a run by reason, a hundred at a time."""

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import text

from app.domain import Trigger
from app.errors import InvalidRequest
from app.extensions import db
from app.services.paging import write_cursor
from app.services.rejected_rows import RejectedFilter
from app.services.runs import load_run
from app.services.views import RunDetail
from tests.apps import bare_app
from tests.services.seeding import add_run, execute, seeded_app

# Two markets whose own rows were refused, then history: 240 of one reason, 10 of another.
_ROWS = """
    INSERT INTO rejected_row (run_id, provider, kind, symbol, reason, detail, raw)
    SELECT :id, 'mock', CASE WHEN n <= 2 THEN 'snapshot' ELSE 'candle' END,
           CASE WHEN n <= 2 THEN 'M' || n ELSE 'C' END,
           CASE WHEN n <= 2 THEN 'price_missing' WHEN n > 242 THEN 'late' ELSE 'odd' END,
           '', n::text
    FROM generate_series(1, 252) n
"""
_BY_REASON = (
    "SELECT reason, count(*) AS number FROM rejected_row WHERE run_id = :id GROUP BY reason"
)
_COUNTS = (
    """UPDATE ingestion_run SET rejected_reasons = '{"late": 10, "odd": 240, "price_missing": 2}'"""
)


@pytest.fixture
def run_id(database_url: str) -> Iterator[str]:
    with seeded_app(database_url) as app:
        yield fill(app)


def fill(app: Flask) -> str:
    bad, other = add_run("partial", rejected=252), add_run("partial", rejected=252)
    for run in (bad, other):
        execute(_ROWS, id=run)
    execute(_COUNTS)
    return bad


def look(run_id: str, reason: str | None = None, cursor: str | None = None) -> RunDetail:
    return load_run(db.session, run_id, rejected=RejectedFilter(reason=reason, cursor=cursor))


@pytest.mark.parametrize(("reason", "count"), [(None, 252), ("odd", 240), ("late", 10), ("x", 0)])
def test_pages_lead_through_every_row_of_a_reason_once(
    run_id: str, reason: str | None, count: int
) -> None:
    seen: list[str] = []
    detail = look(run_id, reason)
    seen += [row.raw for row in detail.rejected]
    while detail.rejected_cursor:
        assert len(detail.rejected) == 100
        detail = look(run_id, reason, detail.rejected_cursor)
        seen += [row.raw for row in detail.rejected]
    assert len(seen) == len(set(seen)) == count
    assert seen == sorted(seen, key=int)


def test_counts_and_markets_are_of_the_whole_run_whatever_page_is_shown(run_id: str) -> None:
    for detail in (look(run_id), look(run_id, "late"), look(run_id, None, write_cursor([10**9]))):
        assert next(iter(detail.rejected_reasons.items())) == ("odd", 240)
        assert detail.set_aside == ("M1", "M2")


@pytest.mark.parametrize("value", ["", "-1", "x", "1e3", "9" * 19, "\u0661"])
def test_a_cursor_of_ones_own_making_is_refused(run_id: str, value: str) -> None:
    with pytest.raises(InvalidRequest):
        look(run_id, None, write_cursor([value]))


def test_a_run_keeps_its_counts(database_url: str) -> None:
    settings = {"ingestion_markets": "top:30", "ingestion_lookback_days": 1}
    with bare_app(database_url, providers={"mock": {"bad_rows": 0.3}}, **settings) as app:
        runner = app.extensions["tapedeck"].runner
        run_id = runner.start(trigger=Trigger.MANUAL)
        assert runner.wait(run_id, timeout_seconds=60)
        detail = load_run(db.session, run_id)
        rows = db.session.execute(text(_BY_REASON), {"id": run_id})
        stored = {row.reason: row.number for row in rows}
    assert detail.rejected_reasons == stored
    assert sum(stored.values()) == detail.run.counts.rejected > 0

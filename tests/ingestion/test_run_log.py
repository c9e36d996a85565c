"""The lines of a run's log that are kept beside its row."""

import logging
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import create_engine, event, text

from app.extensions import db
from app.ingestion import run_log
from app.ingestion.run_log import keep_run_log
from app.ingestion.run_row import RunTicket
from app.logs import bind, register_secret
from tests.services.seeding import add_run, seeded_app

logger = logging.getLogger("tests.run_log")


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    with seeded_app(database_url) as app:
        yield app


@pytest.fixture
def ticket(app: Flask) -> RunTicket:
    """A run of no stages."""
    return RunTicket(add_run())  # type: ignore[arg-type]


def stored() -> list[Any]:
    with db.engine.connect() as connection:
        return list(connection.execute(text("SELECT * FROM run_log_line ORDER BY position")))


def test_lines_of_the_run_are_kept_with_level_stage_and_fields(ticket: RunTicket) -> None:
    with bind(run_id=ticket.run_id), keep_run_log(db.engine, ticket), bind(stage="fetch"):
        logger.warning("provider slow", extra={"seconds": 3, "market": "BTC-USD"})
    (line,) = stored()
    assert (line.level, line.stage, line.event) == ("warning", "fetch", "provider slow")
    assert line.fields == {"seconds": 3, "market": "BTC-USD"}


def test_lines_of_other_runs_and_below_info_are_left_out(ticket: RunTicket) -> None:
    with bind(run_id=ticket.run_id), keep_run_log(db.engine, ticket):
        logger.debug("too small")
        with bind(run_id=uuid4()):
            logger.info("somebody else")
    assert stored() == []


def test_a_line_of_another_thread_belongs_to_the_run_it_is_bound_to(ticket: RunTicket) -> None:
    def beat() -> None:
        with bind(run_id=ticket.run_id):
            logger.warning("heartbeat failed")

    with keep_run_log(db.engine, ticket):
        thread = threading.Thread(target=beat)
        thread.start()
        thread.join()
    assert [line.event for line in stored()] == ["heartbeat failed"]


def test_secrets_are_masked_and_texts_are_cut(ticket: RunTicket) -> None:
    register_secret("a-secret-of-tests")
    with bind(run_id=ticket.run_id), keep_run_log(db.engine, ticket):
        logger.error("call failed", extra={"url": "?key=a-secret-of-tests", "body": "x" * 9000})
    (line,) = stored()
    assert line.fields["url"] == "?key=***"
    assert len(line.fields["body"]) == run_log.TEXT_KEPT


def test_what_postgresql_can_not_store_is_replaced(ticket: RunTicket) -> None:
    with bind(run_id=ticket.run_id), keep_run_log(db.engine, ticket):
        logger.info("odd text", extra={"nul": "a\0b", "half": "\ud800", "whole": "🙂"})
    (line,) = stored()
    assert line.fields == {"nul": "a\ufffdb", "half": "\ufffd", "whole": "🙂"}


def test_an_exception_is_kept_with_its_end(ticket: RunTicket) -> None:
    with bind(run_id=ticket.run_id), keep_run_log(db.engine, ticket):
        try:
            raise ValueError("x" * 5000 + "the end")
        except ValueError:
            logger.exception("run failed")
    (line,) = stored()
    assert line.fields["exception"].endswith("the end")


def test_only_the_last_lines_are_kept(ticket: RunTicket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "LINES_KEPT", 5)
    with bind(run_id=ticket.run_id), keep_run_log(db.engine, ticket) as log:
        for number in range(12):
            logger.info("line", extra={"number": number})
            if number % 4 == 3:
                log.store_lines()
    assert [line.fields["number"] for line in stored()] == [7, 8, 9, 10, 11]


def test_lines_are_written_in_one_statement_at_a_time(ticket: RunTicket) -> None:
    statements: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    with bind(run_id=ticket.run_id), keep_run_log(db.engine, ticket):
        for _ in range(50):
            logger.info("line")
    assert len(statements) == 1


def test_a_database_that_is_away_costs_the_lines_and_nothing_else(ticket: RunTicket) -> None:
    nowhere = create_engine("postgresql+psycopg2://nobody@127.0.0.1:1/none")
    with bind(run_id=ticket.run_id), keep_run_log(nowhere, ticket) as log:
        logger.info("line")
        log.store_lines()
    assert log not in logging.getLogger().handlers
    assert stored() == []

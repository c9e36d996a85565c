"""Connections of the settings' address: what it says counts, our limits and names stay."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from app.database.connect import Database
from app.database.engine import Patience, page_patience, run_patience
from app.database.identity import process_name, runs_name
from app.settings import Settings

GIVEN = {"application_name": "ours", "options": "-c search_path=public -c lock_timeout=123"}


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Settings whose address has a name and options of its own."""
    url = make_url(database_url).update_query_dict(GIVEN)
    return Settings(database_url=SecretStr(url.render_as_string(hide_password=False)))


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings)
    yield database
    database.release()


def look(database: Database, patience: Patience, *names: str) -> tuple[str, ...]:
    connection: Any = database.connector(patience)()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT " + ", ".join(f"current_setting('{name}')" for name in names))
            return tuple(cursor.fetchone())
    finally:
        connection.close()


def test_options_of_the_address_come_after_our_limits(
    database: Database, settings: Settings
) -> None:
    names = ("statement_timeout", "lock_timeout", "search_path", "timezone")
    limit = f"{settings.database_statement_timeout_seconds:.0f}s"
    assert look(database, page_patience(settings), *names) == (limit, "123ms", "public", "UTC")


def test_the_name_of_the_address_is_that_of_pages_and_never_that_of_runs(
    database: Database, settings: Settings
) -> None:
    assert look(database, page_patience(settings), "application_name") == ("ours",)
    # By this name alone a stopped process is found and its locks are taken from it.
    run = runs_name(process_name())
    assert look(database, run_patience(settings), "application_name") == (run,)


def test_limits_that_do_not_reach_the_server_are_told_once(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    # A pooler that ignores the options of a session leaves the server's own: no limits.
    without = {"options": " ".join(f"-c {name}=0" for name in names)}
    url = make_url(database_url).update_query_dict(without)
    given = Settings(database_url=SecretStr(url.render_as_string(hide_password=False)))
    database = Database(given)
    for patience in (page_patience(given), run_patience(given)):
        assert look(database, patience, *names) == ("0", "0", "0")
    assert caplog.messages.count("timeouts of the database are not kept") == 1


def test_limits_that_the_server_keeps_are_not_worth_a_word(
    database: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    look(database, page_patience(settings), "statement_timeout")
    assert caplog.messages == []

"""What people are told of trouble, in one sentence."""

import psycopg2
import pytest
from sqlalchemy.exc import OperationalError

from app.services.failures import describe_failure
from tests.apps import bare_app
from tests.servers import create_database


@pytest.mark.parametrize("command", [["ingest"], ["schedule", "show"], ["prune"]])
def test_a_command_over_a_database_without_tables_says_how_to_add_them(
    postgres_url: str, worker_id: str, command: list[str]
) -> None:
    url = create_database(postgres_url, f"tapedeck_bare_{worker_id}")
    with bare_app(url) as app:
        result = app.test_cli_runner().invoke(args=command)
    assert result.exit_code == 1
    assert "`flask --app wsgi db upgrade` adds it: relation" in result.stderr


def test_an_error_without_words_is_told_by_its_name() -> None:
    error = OperationalError("SELECT 1", {}, psycopg2.OperationalError(""))
    words = "The database could not be reached: OperationalError"
    assert describe_failure(error)[1:] == ("StorageError", words)


def test_only_the_first_line_of_the_drivers_words_is_told() -> None:
    error = OperationalError("SELECT 1", {}, psycopg2.OperationalError("no route\nhint\n"))
    assert describe_failure(error)[2] == "The database could not be reached: no route"

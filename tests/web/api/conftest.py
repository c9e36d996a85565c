"""What the tests of the API can ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.web.real_app import real_app


@pytest.fixture(scope="module")
def full_client(
    fresh_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FlaskClient]:
    """A client of an application that has ingested once; for tests that only read."""
    with real_app(fresh_database_url, tmp_path_factory.mktemp("instance")) as app:
        client = app.test_client()
        assert client.post("/api/ingest").json["status"] == "succeeded"
        yield client


@pytest.fixture
def slow_client(database_url: str, tmp_path: Path) -> Iterator[FlaskClient]:
    """A client whose provider takes its time."""
    with real_app(database_url, tmp_path, mock={"delay_seconds": 30}) as app:
        yield app.test_client()

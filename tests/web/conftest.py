"""What the tests of the web room can ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.web.real_app import real_app
from tests.web.small_app import AppFactory, small_app


@pytest.fixture
def make_app() -> AppFactory:
    """A factory of small applications, without a database, from settings."""
    return small_app


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> Iterator[Flask]:
    """The whole application on the real database, its tables empty, every door open."""
    with real_app(database_url, tmp_path) as app:
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of the whole application."""
    return app.test_client()

"""What the tests of the web room can ask for."""

import pytest

from tests.web.small_app import AppFactory, small_app


@pytest.fixture
def make_app() -> AppFactory:
    """A factory of small applications, without a database, from settings."""
    return small_app

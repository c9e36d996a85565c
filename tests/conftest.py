"""What every test can ask for: the servers of the session and its own database."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask_migrate import upgrade

from app.database.embedded import EmbeddedPostgres
from app.paths import MIGRATIONS
from app.providers import http_limits
from tests.apps import bare_app
from tests.servers import (
    FAST_AND_LOOSE,
    ScriptedServer,
    create_database,
    create_database_once,
    make_enterable_directory,
    running_valkey,
)

TEMPLATE_NAME = "tapedeck_template"
SESSION_DIRECTORY = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Make one folder for the whole session, workers included."""
    handed_down = getattr(config, "workerinput", {}).get("session_directory")
    config.stash[SESSION_DIRECTORY] = Path(handed_down or make_enterable_directory())


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand the folder down to a worker of pytest-xdist."""
    node.workerinput["session_directory"] = str(node.config.stash[SESSION_DIRECTORY])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder after the last worker has ended."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(config.stash[SESSION_DIRECTORY], ignore_errors=True)


@pytest.fixture(autouse=True)
def forget_provider_servers() -> Iterator[None]:
    """Breakers and budgets are the process's: none of a test's own servers may outlive it."""
    yield
    http_limits._channels.clear()


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The one embedded PostgreSQL of the session; its own database is for administration."""
    data_directory = request.config.stash[SESSION_DIRECTORY] / "postgres"
    with EmbeddedPostgres(data_directory, options=FAST_AND_LOOSE) as url:
        yield url


def prepare_template(url: str) -> None:
    """Bring the template of all test databases to its schema; runs once in a session."""
    with bare_app(url) as app:
        upgrade(directory=str(MIGRATIONS))
        app.extensions["migrate"].db.engine.dispose()


@pytest.fixture(scope="session")
def database_url(postgres_url: str, worker_id: str) -> str:
    """A database of this worker's own, copied from the migrated template."""
    create_database_once(postgres_url, TEMPLATE_NAME, prepare_template)
    return create_database(postgres_url, f"tapedeck_{worker_id}", TEMPLATE_NAME)


@pytest.fixture(scope="module")
def fresh_database_url(postgres_url: str, database_url: str, worker_id: str) -> str:
    """An empty, migrated database for one module that keeps its rows from test to test."""
    return create_database(postgres_url, f"tapedeck_module_{worker_id}", TEMPLATE_NAME)


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """A real Valkey of this worker's own."""
    with running_valkey() as url:
        yield url


@pytest.fixture
def http_server() -> Iterator[ScriptedServer]:
    """A scripted HTTP server of the test's own on a free loopback port."""
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def enterable_directory() -> Iterator[Path]:
    """A temporary folder that the account of the database server can enter too."""
    folder = make_enterable_directory()
    yield folder
    shutil.rmtree(folder)

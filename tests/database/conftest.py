"""Folders for the embedded PostgreSQL: one with a database, one without."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded import embedded, stop_left_over
from tests.servers import make_enterable_directory


@pytest.fixture(scope="session")
def made_database() -> Iterator[Path]:
    """A database made once, as making it is what takes the time."""
    folder = make_enterable_directory()
    try:
        with embedded(folder / "postgres"):
            pass
        yield folder / "postgres"
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def data_directory(made_database: Path) -> Iterator[Path]:
    """A stopped database, perhaps with tables of other tests."""
    yield made_database
    stop_left_over(made_database)


@pytest.fixture
def empty_place(enterable_directory: Path) -> Iterator[Path]:
    """Where a database may be made; neither folder exists yet."""
    data_directory = enterable_directory / "instance" / "postgres"
    yield data_directory
    stop_left_over(data_directory)

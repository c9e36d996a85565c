"""What the tests of the pipeline can ask for."""

from collections.abc import Iterator

import pytest

from tests.ingestion.making import Tape, tape_on


@pytest.fixture
def tape(database_url: str) -> Iterator[Tape]:
    """The pipeline over empty tables of a real database."""
    with tape_on(database_url) as tape:
        yield tape

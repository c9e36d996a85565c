"""What the fault tests share: a PostgreSQL of their own, and a folder for their processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bench import Bench
from tests.faults.frozen import OwnPostgres, own_postgres


@pytest.fixture(scope="session")
def own_server() -> Iterator[OwnPostgres]:
    """A server that may be frozen and stopped."""
    with own_postgres() as server:
        yield server


@pytest.fixture
def bench(own_server: OwnPostgres, tmp_path: Path) -> Bench:
    """The database of that server, and a folder."""
    return Bench(own_server.url, tmp_path)

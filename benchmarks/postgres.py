"""The benchmark's own PostgreSQL: embedded, durable as in production, gone afterwards."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flask_migrate import upgrade
from pydantic import SecretStr
from sqlalchemy import Engine, NullPool, create_engine, make_url, text

from app import create_app
from app.database.embedded import EmbeddedPostgres
from app.extensions import db
from app.paths import MIGRATIONS
from app.providers.base import provider_classes
from app.settings import Settings
from app.settings_loader import LoadedSettings

OPTIONS = "-c timezone=UTC -c jit=off"
TEMPLATE = "bench_template"


@dataclass(frozen=True, slots=True)
class BenchServer:
    """A running server, and a folder that is removed with it."""

    url: str
    folder: Path

    def database(self, name: str) -> str:
        """The URL of a new, migrated, empty database."""
        with self._administration().connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}"'))
        return self._url_of(name)

    def drop(self, name: str) -> None:
        """Remove a database, for the room that it takes."""
        with self._administration().connect() as connection:
            connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))

    def make_template(self) -> None:
        """The database that all others are copies of."""
        with self._administration().connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{TEMPLATE}"'))
        loaded = load(self._url_of(TEMPLATE), self.folder)
        app = create_app(loaded)
        with app.app_context():
            upgrade(directory=str(MIGRATIONS))
            db.session.remove()
            db.engine.dispose()

    def _url_of(self, name: str) -> str:
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def _administration(self) -> Engine:
        return create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)


@contextmanager
def running_postgres() -> Iterator[BenchServer]:
    """A server of the benchmark's own for as long as the block lasts."""
    folder = Path(tempfile.mkdtemp(prefix="tapedeck-bench-"))
    folder.chmod(0o755)  # as root, the server's account has to get in
    try:
        with EmbeddedPostgres(folder / "postgres") as url:
            server = BenchServer(url, folder)
            server.make_template()
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def load(url: str, folder: Path, **values: object) -> LoadedSettings:
    """Settings as if only these had been set."""
    settings = Settings(
        **{
            "database_url": SecretStr(url),
            "instance_path": folder,
            "scheduler_enabled": False,
            "log_level": "warning",
            **values,
        }
    )
    groups = {name: cls.Settings() for name, cls in provider_classes().items()}
    return LoadedSettings(settings=settings, providers=groups)


def connect(url: str) -> Engine:
    """An engine whose every connection is new, so that the server counts what it did at once."""
    return create_engine(url, poolclass=NullPool, connect_args={"options": OPTIONS})


def pooled(url: str) -> Engine:
    """An engine that keeps its connection, as the application's does."""
    return create_engine(url, pool_size=1, connect_args={"options": OPTIONS})


def add_markets(engine: Engine, count: int) -> None:
    """Markets 1 to `count`, each with a listing at the mock provider."""
    with engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO market (id, symbol, name, asset_type, quote)
                SELECT n, 'M' || n || '-USD', 'Market ' || n, 'crypto', 'USD'
                FROM generate_series(1, :count) n
            """),
            {"count": count},
        )
        connection.execute(
            text("""
                INSERT INTO listing (market_id, provider, provider_id, quote, provider_symbol, name,
                                     rank, chosen_by, seen_at)
                SELECT id, 'mock', symbol, 'USD', symbol, name, id, 'provider', now() FROM market
            """)
        )

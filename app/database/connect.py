"""Opening connections: to the PostgreSQL of the settings, or to the embedded one."""

import atexit
import threading
from collections.abc import Callable
from typing import Any

import psycopg2
from sqlalchemy.engine import make_url

from app.database.embedded import EmbeddedPostgres
from app.database.engine import Patience, engine_options
from app.settings import Settings

PLACEHOLDER_URL = "postgresql+psycopg2://"


class Database:
    """Where this process's database is; nothing is opened or started before the first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._embedded: EmbeddedPostgres | None = None
        self._address: dict[str, Any] | None = None

    @property
    def is_embedded(self) -> bool:
        """True when Tapedeck runs the server itself."""
        return self._settings.database_url is None

    def engine_options(self, patience: Patience, **pool: int) -> dict[str, Any]:
        """Keyword arguments for `create_engine(PLACEHOLDER_URL, …)`."""
        options = engine_options(self._settings, patience, **pool)
        arguments = options.pop("connect_args")
        return options | {"creator": self._connector(arguments)}

    def connector(self, patience: Patience) -> Callable[[], Any]:
        """A function that opens one raw connection of psycopg2."""
        return self._connector(engine_options(self._settings, patience)["connect_args"])

    def release(self) -> None:
        """Let go of the embedded server; the last process to do so stops it."""
        with self._lock:
            embedded, self._embedded, self._address = self._embedded, None, None
        if embedded is not None:
            embedded.release()

    def _connector(self, arguments: dict[str, Any]) -> Callable[[], Any]:
        # What the address itself says after its question mark wins.
        return lambda: psycopg2.connect(**(arguments | self._where()))

    def _where(self) -> dict[str, Any]:
        with self._lock:
            if self._address is None:
                url = self._settings.database_url
                text = url.get_secret_value() if url else self._start_embedded()
                self._address = _libpq_arguments(text)
            return self._address

    def _start_embedded(self) -> str:
        self._embedded = EmbeddedPostgres(self._settings.instance_path / "postgres")
        atexit.register(self.release)
        return self._embedded.start()


def _libpq_arguments(url: str) -> dict[str, Any]:
    """A SQLAlchemy address as libpq's keywords; what its query says wins over nothing else."""
    parts = make_url(url)
    named = parts.translate_connect_args(username="user", database="dbname")
    query = {
        key: value if isinstance(value, str) else value[-1] for key, value in parts.query.items()
    }
    return named | query

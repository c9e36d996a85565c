"""Opening connections: to the PostgreSQL of the settings, or to the embedded one."""

import atexit
import logging
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy.engine import make_url

from app.database.embedded import EmbeddedPostgres
from app.database.engine import Patience, engine_options
from app.database.identity import process_name, runs_name
from app.database.patience import Watch
from app.database.patience_ping import Ping
from app.database.patient_connection import PatientConnection, open_connection, server_answers
from app.settings import Settings

logger = logging.getLogger(__name__)

PLACEHOLDER_URL = "postgresql+psycopg2://"
# So many operations may wait for the database at a time; two threads stay free for the others.
PLACES = 6
THREADS_KEPT_FREE = 2
_IS_BOUNDLESS = """
    SELECT bool_and(setting = '0') FROM pg_settings WHERE name IN
        ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')
"""


class Database:
    """Where this process's database is; nothing is opened or started before the first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._embedded: EmbeddedPostgres | None = None
        self._address: dict[str, Any] | None = None
        self._is_looked_at = False
        places = max(1, min(PLACES, settings.web_threads - THREADS_KEPT_FREE))
        self.watch = Watch(self._answers, places=places, line=Ping(lambda: self._address))

    @property
    def is_embedded(self) -> bool:
        """True when Tapedeck runs the server itself."""
        return self._settings.database_url is None

    def engine_options(self, patience: Patience, **pool: int) -> dict[str, Any]:
        """Keyword arguments for `create_engine(PLACEHOLDER_URL, …)`."""
        options = engine_options(self._settings, patience, **pool)
        arguments = options.pop("connect_args")
        return options | {"creator": self._connector(arguments, patience)}

    def connector(self, patience: Patience) -> Callable[[], Any]:
        """A function that opens one raw connection of psycopg2."""
        return self._connector(engine_options(self._settings, patience)["connect_args"], patience)

    def release(self) -> None:
        """Let go of the embedded server; the last process to do so stops it."""
        with self._lock:
            embedded, self._embedded, self._address = self._embedded, None, None
        if embedded is not None:
            embedded.release()

    def _connector(self, arguments: dict[str, Any], patience: Patience) -> Callable[[], Any]:
        def connect() -> Any:
            connection = open_connection(
                self._told(arguments, is_gated=patience.is_gated),
                self.watch,
                limit_seconds=patience.limit_seconds,
                is_gated=patience.is_gated,
            )
            self._look_at_limits(connection)
            return connection

        return connect

    def _look_at_limits(self, connection: PatientConnection) -> None:
        """Say once a process that a pooler in between dropped the limits of the session."""
        if self._is_looked_at:
            return
        with connection.cursor() as cursor:
            cursor.execute(_IS_BOUNDLESS)
            (is_boundless,) = cursor.fetchone() or (False,)
        connection.rollback()
        self._is_looked_at = True
        if is_boundless:
            reason = "A pooler in between drops them; connect to PostgreSQL itself."
            logger.warning("timeouts of the database are not kept", extra={"reason": reason})

    def _told(self, arguments: dict[str, Any], *, is_gated: bool) -> dict[str, Any]:
        """Our arguments and those of the address; what that says after its question mark wins.

        Two of them are never lost: the limits of the session, which its `options` come after, and
        the name of a run's connections.
        """
        where = self._where()
        told = arguments | where
        if "options" in where:
            told["options"] = f"{arguments['options']} {where['options']}"
        return told if is_gated else told | _name_of_runs()

    def _answers(self) -> bool:
        return self._address is None or server_answers(self._address)

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


def _name_of_runs() -> dict[str, str]:
    """By this name whoever takes a run up ends the connections of the process before it."""
    return {"application_name": runs_name(process_name())}


def _libpq_arguments(url: str) -> dict[str, Any]:
    """A SQLAlchemy address as libpq's keywords; what its query says wins over nothing else."""
    parts = make_url(url)
    named = parts.translate_connect_args(username="user", database="dbname")
    query = {
        key: value if isinstance(value, str) else value[-1] for key, value in parts.query.items()
    }
    return named | query

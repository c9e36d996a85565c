"""How connections are made: timeouts, keepalives and the pool, the same for every process."""

from dataclasses import dataclass
from typing import Any

from app.settings import Settings

# What this process allows beyond the server's own limit of a statement.
BEYOND_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the database may take, in seconds.

    `is_gated`: requests wait, so a database that does not answer is found out and refused at once.
    """

    statement: float
    lock: float
    idle: float
    is_gated: bool = False

    @property
    def limit_seconds(self) -> float:
        """How long this process itself waits for one operation."""
        return self.statement + BEYOND_SECONDS

    def options(self) -> str:
        """The same as libpq's `options`: server settings of the session."""
        millis = {
            "statement_timeout": self.statement,
            "lock_timeout": self.lock,
            "idle_in_transaction_session_timeout": self.idle,
        }
        parts = [f"-c {name}={int(seconds * 1000)}" for name, seconds in millis.items()]
        return " ".join([*parts, "-c timezone=UTC", "-c jit=off"])


def page_patience(settings: Settings) -> Patience:
    """What a page, the API or the scheduler's poll may wait for."""
    return Patience(
        settings.database_statement_timeout_seconds,
        settings.database_lock_timeout_seconds,
        settings.database_idle_timeout_seconds,
        is_gated=True,
    )


def run_patience(settings: Settings) -> Patience:
    """What a run may wait for; its transaction also computes between statements."""
    return Patience(
        settings.database_run_statement_timeout_seconds,
        settings.database_lock_timeout_seconds,
        settings.run_deadline_seconds,
    )


def engine_options(
    settings: Settings, patience: Patience, *, pool_size: int = 5, overflow: int = 5
) -> dict[str, Any]:
    """The keyword arguments for `create_engine`.

    A dead connection is found by the ping before its use; a silent peer by TCP keepalives.
    """
    return {
        "pool_pre_ping": True,
        "pool_size": pool_size,
        "max_overflow": overflow,
        "pool_timeout": 3,
        "pool_recycle": 1800,
        "connect_args": {
            "connect_timeout": settings.database_connect_timeout_seconds,
            "application_name": "tapedeck",
            "options": patience.options(),
            "keepalives": 1,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 8000,
        },
    }

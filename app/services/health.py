"""Whether the process can serve: database, schema, cache and scheduler."""

from dataclasses import dataclass
from functools import lru_cache

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.database.base import AnySession
from app.paths import MIGRATIONS
from app.services.house import House

QUIET_POLLS = 3


@dataclass(frozen=True, slots=True)
class Readiness:
    """Ready, and the state of each part in a word or two."""

    ready: bool
    parts: dict[str, str]


@lru_cache(maxsize=1)
def schema_head() -> str:
    """The revision that the code expects."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return ScriptDirectory.from_config(config).get_current_head() or ""


def check_readiness(session: AnySession, house: House) -> Readiness:
    """Ask every part; the cache may be in fallback without making the process unready."""
    cache = house.cache_state()
    parts = {"database": "ok", "migrations": "ok", "cache": cache.mode.value}
    parts["cache_since"] = cache.since.isoformat(timespec="seconds").replace("+00:00", "Z")
    try:
        found = session.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    except SQLAlchemyError:
        session.rollback()
        parts |= _database_state(session)
    else:
        if list(found) != [schema_head()]:
            parts["migrations"] = "pending"
    parts["scheduler"] = _scheduler_state(house)
    ready = parts["database"] == "ok" and parts["migrations"] == "ok"
    return Readiness(ready, parts)


def _scheduler_state(house: House) -> str:
    """Stalled after three polls without a sign of a job; pages can be served all the same."""
    if not house.settings.scheduler_enabled:
        return "off"
    limit = QUIET_POLLS * house.settings.scheduler_poll_seconds
    return "stalled" if house.pulse.quiet_seconds() > limit else "on"


def _database_state(session: AnySession) -> dict[str, str]:
    """Tell a database that is away from one that has no schema yet."""
    try:
        session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        session.rollback()
        return {"database": "unreachable", "migrations": "unknown"}
    return {"migrations": "pending"}

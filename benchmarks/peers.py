"""What else could load candles, with SQLAlchemy and psycopg2 alone; each into the same table."""

from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any

from psycopg2.extras import execute_values
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.database.copy_text import NULL
from app.ingestion.targets import CANDLES
from app.models import MarketAggregate

ALL_COLUMNS = (*CANDLES.columns, "run_id", "stored_at")
Peer = Callable[[Engine, Sequence[dict[str, Any]]], None]
_NAMES = ", ".join(f'"{name}"' for name in ALL_COLUMNS)
_KEY = ", ".join(CANDLES.key)
_SETS = ", ".join(
    f'"{name}" = excluded."{name}"' for name in ALL_COLUMNS if name not in CANDLES.key
)


def raw_copy(engine: Engine, text: str) -> None:
    """COPY of a ready-made text into the table itself: nothing can be faster."""
    with engine.begin() as connection, connection.connection.cursor() as cursor:
        statement = f"COPY market_aggregate ({_NAMES}) FROM STDIN (NULL '{NULL}')"
        cursor.copy_expert(statement, StringIO(text))


def session_merge(engine: Engine, rows: Sequence[dict[str, Any]]) -> None:
    """One object after the other through the ORM."""
    with Session(engine) as session:
        for row in rows:
            session.merge(MarketAggregate(**row))
        session.commit()


def sqlalchemy_upsert(engine: Engine, rows: Sequence[dict[str, Any]]) -> None:
    """SQLAlchemy's own batches of INSERT … ON CONFLICT."""
    statement = insert(MarketAggregate)
    values = {name: statement.excluded[name] for name in ALL_COLUMNS if name not in CANDLES.key}
    upsert = statement.on_conflict_do_update(index_elements=list(CANDLES.key), set_=values)
    with Session(engine) as session:
        session.execute(upsert, list(rows))
        session.commit()


def values_upsert(engine: Engine, rows: Sequence[dict[str, Any]]) -> None:
    """psycopg2's execute_values with ON CONFLICT."""
    statement = (
        f"INSERT INTO market_aggregate ({_NAMES}) VALUES %s ON CONFLICT ({_KEY}) DO UPDATE "
        f"SET {_SETS}"
    )
    with engine.begin() as connection, connection.connection.cursor() as cursor:
        execute_values(cursor, statement, [tuple(row.values()) for row in rows], page_size=1000)

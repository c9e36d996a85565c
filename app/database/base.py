"""The declarative base: column types and the naming convention that every table shares."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    MetaData,
    Numeric,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column, registry, scoped_session

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """What every model is; handed to `SQLAlchemy(model_class=Base)`."""

    # The map stands in the registry: Flask-SQLAlchemy copies the class, and SQLAlchemy refuses a
    # copy that has both a registry and a map of its own.
    registry = registry(
        metadata=MetaData(naming_convention=NAMING),
        type_annotation_map={
            datetime: DateTime(timezone=True),
            Decimal: Numeric,
            str: Text,
            UUID: Uuid,
            list[str]: ARRAY(Text),
            dict[str, Any]: JSONB,
            list[dict[str, Any]]: JSONB,
        },
    )


MarketId = Annotated[int, mapped_column(ForeignKey("market.id", ondelete="CASCADE"))]
SerialId = Annotated[int, mapped_column(BigInteger, primary_key=True)]
StoredAt = Annotated[datetime, mapped_column(server_default=func.clock_timestamp())]


def positive(column: str) -> CheckConstraint:
    """A number above zero; NaN and infinity are refused too (both compare above every number)."""
    return CheckConstraint(f"{column} > 0 AND {column} < 'Infinity'", name=f"{column}_positive")


def not_negative(column: str) -> CheckConstraint:
    """Null, or zero and more; neither NaN nor infinity."""
    return CheckConstraint(
        f"{column} >= 0 AND {column} < 'Infinity'", name=f"{column}_not_negative"
    )


def finite(*columns: str) -> CheckConstraint:
    """Null, or a real number: neither NaN nor an infinity."""
    terms = " AND ".join(
        f"({column} IS NULL OR ({column} > '-Infinity' AND {column} < 'Infinity'))"
        for column in columns
    )
    return CheckConstraint(terms, name="finite")


def one_of(column: str, values: type) -> CheckConstraint:
    """The column holds a value of that enumeration."""
    listed = ", ".join(f"'{member.value}'" for member in values)  # type: ignore[attr-defined]
    return CheckConstraint(f'"{column}" IN ({listed})', name=f"{column}_known")


AnySession = Session | scoped_session[Any]
"""What services read through: a session, or the one that belongs to the current request."""

"""What a merge writes into: a table, the columns its rows carry, and what must never be undone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import Table
from sqlalchemy.types import TypeEngine


@dataclass(frozen=True, slots=True)
class MergeTarget:
    """A table to merge into; the key is its primary key.

    `columns` are those the rows carry, in their order. `guard` is an SQL condition over `s` (the
    staged row) and `t` (the stored one): where it is false a stored row is left as it is.
    """

    table: Table
    columns: tuple[str, ...]
    guard: str = "true"

    @property
    def key(self) -> tuple[str, ...]:
        """The names of the key columns."""
        return tuple(column.name for column in self.table.primary_key)

    @property
    def kinds(self) -> tuple[TypeEngine[Any], ...]:
        """The types of the columns."""
        return tuple(self.table.c[name].type for name in self.columns)

    def key_getter(self) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
        """A function that gives the key of a row; every key has two parts or more."""
        return itemgetter(*(self.columns.index(name) for name in self.key))

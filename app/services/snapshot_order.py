"""How the latest snapshots are sorted: the statement of a page, and where it starts."""

import re
from typing import Any

from sqlalchemy import RowMapping

from app.errors import InvalidRequest
from app.models.newest import with_values
from app.services.market_sql import MARKET_IS_FOUND, NEWEST, SNAPSHOT_COLUMNS
from app.services.paging import read_cursor, write_cursor

# The columns of a snapshot that a list can be sorted by: a number, its absence last.
_NUMBERS = {
    "price": "price",
    "volume": "volume",
    "roi_1h": "roi_1h_pct",
    "roi_24h": "roi_24h_pct",
    "roi_7d": "roi_7d_pct",
    "roi_30d": "roi_30d_pct",
}
SORTS = ("rank", *_NUMBERS, "age")
"""What a list can be sorted by besides `symbol`; ties are broken by symbol."""
# As `ix_listing_order` has it.
_PLACE = "coalesce(l.rank, 1000000 + l.market_id)"
_LARGEST_PLACE = 2**31 - 1
_LISTINGS = f"""
    SELECT l.market_id, l.provider, l.observed_at, m.symbol
    FROM listing l JOIN market m ON m.id = l.market_id
    WHERE l.provider = :provider AND {MARKET_IS_FOUND}
"""  # noqa: S608 - made of a constant
# As PostgreSQL and `str` of a Decimal write what the validation lets through.
_NUMBER = re.compile(r"-?[0-9]{1,250}(\.[0-9]{1,1200})?(E[+-]?[0-9]{1,4})?", re.ASCII)


class SnapshotOrder:
    """One way to sort the latest snapshots, and where a page of it starts."""

    def __init__(self, sort: str) -> None:
        self.is_descending = sort.startswith("-")
        self.name = sort.removeprefix("-")
        if self.name not in SORTS and self.name != "symbol":
            known = ", ".join([*SORTS, "symbol"])
            raise InvalidRequest(f"sort is {sort[:40]!r}, but must be one of {known}, or -NAME.")

    def statement(self, *, is_first: bool) -> str:
        """The SQL of a page: parameters `provider`, `search`, `limit`, and those `read` gives.

        Where the listings say the order, a page costs its own snapshots only; else the newest
        snapshot of every listing is looked at.
        """
        if self.name == "rank":
            return self._by_listing(_PLACE, f"{_PLACE} {self._direction}, m.symbol", is_first)
        if self.name == "symbol":
            return self._by_listing("NULL", f"m.symbol {self._direction}", is_first)
        return self._by_number(is_first)

    def write(self, row: RowMapping) -> str:
        """The cursor of the page after this row."""
        return write_cursor([row["sort_key"], row["symbol"]])

    def read(self, cursor: str | None) -> dict[str, Any]:
        """The parameters of a cursor, none without one; `InvalidRequest` for a bad one."""
        values = read_cursor(cursor, 2)
        if values is None:
            return {}
        value, symbol = values
        if self.name == "symbol":
            return {"symbol": symbol or ""}
        if self.name == "rank":
            return {"value": _place(value or ""), "symbol": symbol or ""}
        if not _NUMBER.fullmatch(value or "0"):
            raise InvalidRequest("The cursor belongs to another list.")
        return {"is_null": value is None, "value": value or "0", "symbol": symbol or ""}

    @property
    def _direction(self) -> str:
        return "DESC" if self.is_descending else "ASC"

    def _by_listing(self, key: str, order: str, is_first: bool) -> str:
        beyond = "<" if self.is_descending else ">"
        condition = f"m.symbol {beyond} :symbol"
        if self.name == "rank":
            # Said twice, so that the index is entered at the right place.
            condition = f"{key} {beyond}= :value AND ({key} {beyond} :value OR m.symbol > :symbol)"
        return f"""
            SELECT {SNAPSHOT_COLUMNS}, {key} AS sort_key
            FROM listing l JOIN market m ON m.id = l.market_id {NEWEST}
            WHERE l.provider = :provider AND {MARKET_IS_FOUND}
              AND {"true" if is_first else condition}
            ORDER BY {order} LIMIT :limit
        """  # noqa: S608 - made of constants

    def _by_number(self, is_first: bool) -> str:
        column = _NUMBERS.get(self.name, "price")
        number = column if self.name in _NUMBERS else "(-extract(epoch FROM observed_at))"
        key = f"(-{number})" if self.is_descending else f"({number})"
        condition = (
            f"({key} IS NULL, coalesce({key}, 0), symbol) > "
            "(CAST(:is_null AS boolean), CAST(:value AS numeric), :symbol)"
        )
        # Sorted as it is stored: the key is made for those only that are shown.
        order = f"{self._stored_order} NULLS LAST, symbol"
        return f"""
            WITH {with_values(_LISTINGS, column, carry=["symbol"])}, page AS (
                SELECT market_id, provider, observed_at, {column}, symbol FROM newest_snapshot
                WHERE {"true" if is_first else condition}
                ORDER BY {order} LIMIT :limit
            ), keyed AS (
                SELECT market_id, provider, observed_at, {key} AS sort_key FROM page
            )
            SELECT {SNAPSHOT_COLUMNS}, p.sort_key
            FROM keyed p JOIN market m ON m.id = p.market_id
            JOIN market_snapshot s ON s.market_id = p.market_id AND s.provider = p.provider
                 AND s.observed_at = p.observed_at
            ORDER BY p.sort_key, m.symbol
        """  # noqa: S608

    @property
    def _stored_order(self) -> str:
        """The column that the order is by; the younger, the later."""
        if self.name == "age":
            return f"observed_at {'ASC' if self.is_descending else 'DESC'}"
        return f"{_NUMBERS[self.name]} {self._direction}"


def _place(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) or int(text) > _LARGEST_PLACE:
        raise InvalidRequest("The cursor belongs to another list.")
    return int(text)

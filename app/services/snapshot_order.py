"""How the latest snapshots are sorted, and where a page of them starts."""

import re
from typing import Any

from sqlalchemy import RowMapping

from app.errors import InvalidRequest
from app.services.paging import read_cursor, write_cursor

# What a list can be sorted by: a number, its absence last; ties are broken by symbol.
SORTS = {
    "rank": "coalesce(rank, 1000000 + market_id)",
    "price": "price",
    "volume": "volume",
    "roi_1h": "roi_1h_pct",
    "roi_24h": "roi_24h_pct",
    "roi_7d": "roi_7d_pct",
    "roi_30d": "roi_30d_pct",
    "age": "-extract(epoch FROM observed_at)",
}
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
        sign = "-" if self.is_descending else ""
        self.key = "NULL::numeric" if self.name == "symbol" else f"({sign}({SORTS[self.name]}))"
        direction, relation = ("DESC", "<") if self._is_reversed_symbol else ("ASC", ">")
        self.by = f"({self.key}) IS NULL, {self.key}, symbol {direction}"
        self.condition = f"symbol {relation} :symbol"
        if self.name != "symbol":
            self.condition = (
                f"(({self.key}) IS NULL, coalesce({self.key}, 0), symbol) > "
                "(CAST(:is_null AS boolean), CAST(:value AS numeric), :symbol)"
            )

    @property
    def _is_reversed_symbol(self) -> bool:
        return self.name == "symbol" and self.is_descending

    def write(self, row: RowMapping) -> str:
        return write_cursor([row["sort_key"], row["symbol"]])

    def read(self, cursor: str | None) -> dict[str, Any] | None:
        values = read_cursor(cursor, 2)
        if values is None:
            return None
        value, symbol = values
        if self.name == "symbol":
            return {"symbol": symbol or ""}
        if not _NUMBER.fullmatch(value or "0"):
            raise InvalidRequest("The cursor belongs to another list.")
        return {"is_null": value is None, "value": value or "0", "symbol": symbol or ""}

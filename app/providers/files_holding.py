"""What the files of a market hold: of which granularities, and in which state they are."""

from collections.abc import Sequence
from hashlib import sha256

from app.domain import DAY, HOUR, Granularity
from app.providers.files_folder import Rows
from app.providers.files_layout import Kind

DELIVERED = frozenset({Granularity.HOURLY, Granularity.DAILY})


def granularities_of(rows: Sequence[Rows]) -> frozenset[Granularity]:
    """The granularities of which there are rows of their own.

    Rows that fill an hour give hours, and their days follow from these; longer ones that fill a day
    give days. Closes alone give no candles.
    """
    found = {_granularity_of(each) for each in rows}
    return frozenset(each for each in found if each is not None)


def state_of(rows: Sequence[Rows]) -> str:
    """A text that changes with each of the files; empty while one may still be changing."""
    copies = {each.table.name: each.table.copy.identity for each in rows}
    if not all(identity.is_settled for identity in copies.values()):
        return ""
    return sha256(repr(sorted(copies.items(), key=lambda item: item[0])).encode()).hexdigest()


def _granularity_of(rows: Rows) -> Granularity | None:
    kind, step = rows.table.layout.kind, rows.series.step
    if kind is Kind.PRICES:
        return Granularity.HOURLY
    if kind is Kind.CLOSES or step is None:
        return None
    if not HOUR % step:
        return Granularity.HOURLY
    return Granularity.DAILY if not DAY % step else None

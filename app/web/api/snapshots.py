"""The newest observations over JSON."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field

from app.cache import Entry
from app.extensions import db
from app.services.markets import load_latest_snapshots
from app.web.api.paging import PageQuery, Words
from app.web.house import house
from app.web.openapi import AnswerModel, operation


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(names)


class SnapshotsQuery(PageQuery):
    """Which snapshots, in which order."""

    search: Words = Field(default="", description="Part of a symbol or name.")
    sort: Words = Field(
        default="rank",
        description="rank, symbol, price, volume, roi_1h, roi_24h, roi_7d, roi_30d or age; "
        "with `-` before it the other way round.",
    )


class SnapshotResource(AnswerModel):
    """The newest observation of a market; money in `quote`, `roi…Pct` in per cent.

    `derived` names the fields that Tapedeck computed because the provider does not give them.
    """

    symbol: str
    name: str
    asset_type: str
    quote: str
    provider: str
    observed_at: datetime
    stored_at: datetime
    run_id: str | None
    price: Decimal
    volume: Decimal | None
    market_cap: Decimal | None
    volatility: Decimal | None
    roi_1h_pct: Decimal | None
    roi_24h_pct: Decimal | None
    roi_7d_pct: Decimal | None
    roi_30d_pct: Decimal | None
    derived: Annotated[list[str], BeforeValidator(_sorted)]
    flags: list[str]


class SnapshotPageResource(AnswerModel):
    """The newest snapshot of each market."""

    snapshots: list[SnapshotResource] = Field(validation_alias="rows")
    next_cursor: str | None


@operation(
    summary="List the latest snapshots",
    query=SnapshotsQuery,
    answers={200: SnapshotPageResource},
    cached=Entry.LATEST_SNAPSHOTS,
)
def list_latest_snapshots(*, query: SnapshotsQuery) -> SnapshotPageResource:
    """The newest snapshot of every followed market."""
    page = load_latest_snapshots(
        db.session,
        provider=house().settings.ingestion_provider,
        search=query.search,
        sort=query.sort,
        cursor=query.cursor,
        limit=query.limit,
    )
    return SnapshotPageResource.model_validate(page)

"""What we follow: markets by our symbol, and their listings at providers."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Computed, Identity, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database.base import Base, MarketId, StoredAt, one_of
from app.domain import AssetType


class Market(Base):
    """A market under our own symbol; a renamed one keeps its former symbols as aliases."""

    __tablename__ = "market"
    __table_args__ = (
        UniqueConstraint("symbol"),
        CheckConstraint("symbol <> '' AND symbol = upper(symbol)", name="symbol_upper"),
        one_of("asset_type", AssetType),
        # The few that have former symbols are looked through by themselves.
        Index(None, "former_symbols", postgresql_using="gin"),
        Index("ix_market_renamed", "id", postgresql_where=text("former_symbols <> '{}'")),
        # How many there are of each kind is counted from the index alone; of each provider, too.
        Index(None, "asset_type"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    symbol: Mapped[str]
    name: Mapped[str] = mapped_column(server_default="")
    asset_type: Mapped[str]
    quote: Mapped[str]
    former_symbols: Mapped[list[str]] = mapped_column(server_default="{}")
    created_at: Mapped[StoredAt]
    # What it is found by, in lower case as ILIKE would make it for every row of every search.
    searched: Mapped[str] = mapped_column(
        Computed("lower(symbol || chr(10) || name)", persisted=True)
    )


class Listing(Base):
    """A market's id at one provider; the choice is made once and stays."""

    __tablename__ = "listing"
    __table_args__ = (
        UniqueConstraint("provider", "provider_id", "quote"),
        UniqueConstraint("market_id", "provider"),
        Index(None, "provider"),
        # The order of lists: by rank, those without one last.
        Index("ix_listing_order", "provider", text("coalesce(rank, 1000000 + market_id)")),
        # Each run changes every listing; with room on its page no index has to follow.
        {"postgresql_with": {"fillfactor": 70}},
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    market_id: Mapped[MarketId]
    provider: Mapped[str]
    provider_id: Mapped[str]
    quote: Mapped[str]
    provider_symbol: Mapped[str] = mapped_column(server_default="")
    name: Mapped[str] = mapped_column(server_default="")
    rank: Mapped[int | None]
    chosen_by: Mapped[str]
    created_at: Mapped[StoredAt]
    seen_at: Mapped[datetime]
    history_from: Mapped[datetime | None]
    # What the provider said of its own candles when all of them were read; null where it says none.
    history_state: Mapped[str | None]
    # That of its newest snapshot, noted by the run that brought it; null where that is not known.
    observed_at: Mapped[datetime | None]

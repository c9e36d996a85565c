"""What a run is told to do: the request of a caller, or the row of a dead run, as an order."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine, text

from app.domain import MarketRequest
from app.errors import InvalidRequest, SettingsError
from app.ingestion.context import RunOrder
from app.market_list import MarketSelection, parse_symbol
from app.providers.base import provider_class
from app.settings import Settings

DETAILS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class OrderBook:
    """Makes orders from the settings; `desk` gives the engine for the one question it may ask."""

    settings: Settings
    clock: Callable[[], datetime]
    desk: Callable[[], Engine]

    def provider_name(self, name: str | None) -> str:
        """The provider asked for, else that of the settings; `InvalidRequest` when unknown."""
        chosen = name or self.settings.ingestion_provider
        try:
            provider_class(chosen)
        except SettingsError as error:
            raise InvalidRequest(f"There is no provider {chosen!r}.", error.problems) from None
        return chosen

    def write(
        self,
        run_id: UUID,
        *,
        provider: str,
        symbols: Sequence[str],
        attempt: int = 1,
        is_dry_run: bool = False,
    ) -> RunOrder:
        """The order of one attempt, as of now; `InvalidRequest` for symbols not followed."""
        settings = self.settings
        return RunOrder(
            run_id=run_id,
            attempt=attempt,
            now=self.clock().replace(microsecond=0),
            selection=self._selection(symbols, provider),
            comparisons=settings.ingestion_comparisons,
            lookback_days=settings.ingestion_lookback_days,
            risk_free_rate=settings.risk_free_rate,
            minimum_acceptable_return=settings.minimum_acceptable_return,
            days_per_year=settings.days_per_year,
            is_dry_run=is_dry_run,
        )

    def _selection(self, symbols: Sequence[str], provider: str) -> MarketSelection:
        """What the settings name, or the part of it that was asked for."""
        configured = self.settings.ingestion_markets
        if not symbols:
            return configured
        followed = {request.symbol: request for request in configured.requests}
        known = self._listed_symbols(provider) if configured.top else set()
        wanted: dict[str, MarketRequest] = {}
        unknown = []
        for symbol in symbols:
            request = _request(symbol, followed, known)
            if request is None:
                unknown.append(symbol[:80])
            else:
                wanted[request.symbol] = request
        if unknown:
            listed = ", ".join(unknown[:DETAILS_SHOWN])
            raise InvalidRequest(
                f"{len(unknown)} of {len(symbols)} symbols are not followed: {listed}.",
                [f"{symbol} is not followed." for symbol in unknown[:DETAILS_SHOWN]],
            )
        return MarketSelection(tuple(wanted.values()))

    def _listed_symbols(self, provider: str) -> set[str]:
        statement = text(
            "SELECT m.symbol FROM market m JOIN listing l ON l.market_id = m.id "
            "WHERE l.provider = :provider"
        )
        with self.desk().connect() as connection:
            return set(connection.execute(statement, {"provider": provider}).scalars())


def fingerprint(settings: Settings, provider: str) -> str:
    """Twelve digits that change when the settings which shape a run's data change."""
    shaping = (
        provider,
        str(settings.ingestion_markets),
        settings.ingestion_comparisons,
        settings.ingestion_lookback_days,
        settings.risk_free_rate,
        settings.minimum_acceptable_return,
        sorted(settings.days_per_year.items()),
    )
    return hashlib.sha256(repr(shaping).encode()).hexdigest()[:12]


def _request(
    symbol: str, followed: Mapping[str, MarketRequest], known: set[str]
) -> MarketRequest | None:
    try:
        name = parse_symbol(symbol)
    except ValueError:
        return None
    return followed.get(name) or (MarketRequest(name) if name in known else None)

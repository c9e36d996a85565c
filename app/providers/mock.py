"""The mock provider: any market, at any instant, from a seed; and every trouble on demand."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from app.domain import (
    Candle,
    Granularity,
    Listing,
    MarketProblem,
    MarketRequest,
    Snapshot,
)
from app.errors import (
    AppError,
    PermanentProviderError,
    PlanLimitError,
    RunStopped,
    TransientProviderError,
)
from app.providers.base import (
    Batch,
    Capabilities,
    Provider,
    ProviderContext,
    RankedMarkets,
    Resolution,
    register,
)
from app.providers.mock_assets import ranked_coins
from app.providers.mock_candles import CandleRows
from app.providers.mock_faults import FailingMarkets, Faults
from app.providers.mock_listings import (
    NAME,
    coin_listing,
    failed_market,
    is_known,
    listing_for,
    search_listings,
    unknown_market,
)
from app.providers.mock_settings import MockSettings
from app.providers.mock_tape import (
    VOLATILITY_PLACES,
    Market,
    Observation,
    Tape,
    exact,
    hour_of,
    market_of,
)
from app.settings import ProviderSettings

BATCH_SIZE = 1000
HISTORY_DAYS = 3650
RETRY_AFTER_SECONDS = 30.0

_FAILURES: Mapping[str, Callable[[], tuple[str, AppError]]] = {
    "transient": lambda: (
        "server_error",
        TransientProviderError("The mock provider was told to be away (HTTP 503).", status=503),
    ),
    "permanent": lambda: (
        "refused",
        PermanentProviderError("The mock provider was told to refuse (HTTP 401).", status=401),
    ),
    "rate_limited": lambda: (
        "rate_limited",
        TransientProviderError(
            "The mock provider was told to be overrun (HTTP 429).",
            status=429,
            retry_after=RETRY_AFTER_SECONDS,
        ),
    ),
    "plan": lambda: (
        "refused",
        PlanLimitError("The mock provider was told that the plan is too small.", status=403),
    ),
}


@register(NAME)
class Mock(Provider):
    """Knows every well-formed symbol; values hang on the seed, the market and the instant alone.

    ROI fields stay empty, so that they are derived from what is stored. `volatility` of a snapshot
    is the sample deviation of the last 24 full hourly returns, a fraction.
    """

    Settings: ClassVar[type[ProviderSettings]] = MockSettings
    settings: MockSettings

    def __init__(self, settings: MockSettings, context: ProviderContext) -> None:
        super().__init__(settings, context)
        self._tape = Tape(settings.seed)
        failing = FailingMarkets.parse(settings.fail_markets)
        self._faults = Faults(
            seed=settings.seed,
            bad_share=settings.bad_rows,
            stale_share=settings.stale_rows,
            failing=failing if settings.fail == "market" else FailingMarkets(),
        )

    @property
    def capabilities(self) -> Capabilities:
        """Everything at once and without a rate limit; candles hourly, for ten years."""
        return Capabilities(
            batch_size=BATCH_SIZE,
            history_days=HISTORY_DAYS,
            granularities=frozenset({Granularity.HOURLY}),
            can_search=True,
            can_rank=True,
        )

    def resolve_listings(self, requests: Sequence[MarketRequest]) -> Resolution:
        """Each symbol in lower case is its id, unless another is pinned; bare ones are indices."""
        if not requests:
            return Resolution()
        self._call()
        listings = [listing_for(request) for request in dict.fromkeys(requests)]
        unknown = [listing for listing in listings if not is_known(listing)]
        return Resolution(
            [listing for listing in listings if is_known(listing)],
            [unknown_market(listing) for listing in unknown],
        )

    def fetch_snapshots(self, listings: Sequence[Listing]) -> Batch[Snapshot]:
        """The markets as they are in this second."""
        if not listings:
            return Batch()
        self._call()
        served, problems = self._served(listings)
        return Batch(self._snapshots(served), (), problems)

    def fetch_candles(
        self,
        listings: Sequence[Listing],
        granularity: Granularity,
        start: datetime,
        end: datetime,
    ) -> Batch[Candle]:
        """Hourly candles, worked out while they are read; the one that is open ends now."""
        if granularity is not Granularity.HOURLY:
            raise PermanentProviderError("The mock provider has hourly candles only.")
        if not listings:
            return Batch()
        self._call()
        now = self._now()
        first = _first_hour_from(max(start, now - timedelta(days=HISTORY_DAYS)))
        hours = _first_hour_from(min(end, now)) - first
        served, problems = self._served(listings)
        rows = CandleRows(
            self._tape, self._markets(served),
            first_hour=first, hours=hours, now=now, spoil=self._faults.spoil_candle,
        )  # fmt: skip
        return Batch(rows, (), problems)

    def fetch_ranked(self, limit: int, quote: str) -> RankedMarkets:
        """The known coins, largest first, then as many invented ones as are asked for."""
        self._call()
        listings = [
            coin_listing(asset, quote.upper(), rank)
            for rank, asset in enumerate(ranked_coins(limit, quote.upper()), start=1)
        ]
        served, problems = self._served(listings)
        return RankedMarkets(listings, Batch(self._snapshots(served), (), problems))

    def search(self, text: str) -> Sequence[Listing]:
        """Known coins (in USD) and indices whose symbol or name holds `text`."""
        return search_listings(text)

    def _now(self) -> datetime:
        return self.context.clock().astimezone(UTC).replace(microsecond=0)

    def _call(self) -> None:
        """Take the time a call takes, report it, and fail as the settings say."""
        started = time.monotonic()
        outcome, error = self._interruption() or _failure(self.settings.fail)
        self.context.on_call(outcome, time.monotonic() - started)
        if error is not None:
            raise error

    def _interruption(self) -> tuple[str, AppError] | None:
        delay, deadline = self.settings.delay_seconds, self.context.deadline_at
        left = delay
        if deadline is not None:
            left = (deadline - self.context.clock()).total_seconds()
        if self.context.stop.wait(max(0.0, min(delay, left))):
            return "stopped", RunStopped(
                "cancelled", "Stopped while waiting for the mock provider."
            )
        if left < delay or left < 0:
            late = TransientProviderError("The mock provider did not answer before the deadline.")
            return "timeout", late
        return None

    def _served(self, listings: Sequence[Listing]) -> tuple[list[Listing], list[MarketProblem]]:
        """What can be served, each listing once, and a problem for every other."""
        served, problems = [], []
        for listing in dict.fromkeys(listings):
            if not is_known(listing):
                problems.append(unknown_market(listing))
            elif self._faults.fails(listing):
                problems.append(failed_market(listing))
            else:
                served.append(listing)
        return served, problems

    def _markets(self, listings: Iterable[Listing]) -> list[Market]:
        return [market_of(listing, tiny=self.settings.tiny_prices) for listing in listings]

    def _snapshots(self, listings: Sequence[Listing]) -> list[Snapshot]:
        now = self._now()
        by_instant: dict[datetime, list[Listing]] = {}
        for listing in listings:
            by_instant.setdefault(self._faults.observed_at(listing, now), []).append(listing)
        rows = {
            observed.market.listing: _snapshot(observed, instant)
            for instant, together in by_instant.items()
            for observed in self._tape.observe(self._markets(together), instant)
        }
        return [self._faults.spoil_snapshot(rows[listing], now) for listing in listings]


def _snapshot(observed: Observation, instant: datetime) -> Snapshot:
    market = observed.market
    return Snapshot(
        listing=market.listing,
        observed_at=instant,
        price=exact(observed.price, market.price_unit),
        volume=exact(observed.volume, market.volume_places),
        market_cap=market.market_cap(observed.price),
        volatility=exact(observed.volatility, VOLATILITY_PLACES),
    )


def _failure(kind: str) -> tuple[str, AppError | None]:
    return _FAILURES[kind]() if kind in _FAILURES else ("ok", None)


def _first_hour_from(instant: datetime) -> int:
    """The first hour that opens at or after an instant."""
    return hour_of(instant - timedelta(microseconds=1)) + 1

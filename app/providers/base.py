"""What a provider is: the interface, its capabilities, its settings and the registry."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from importlib.metadata import entry_points
from typing import ClassVar, Generic, TypeVar

from app.domain import (
    Candle,
    Comparison,
    Granularity,
    Listing,
    MarketProblem,
    MarketRequest,
    RejectedRow,
    RoiStatistic,
    Snapshot,
    Window,
)
from app.errors import PermanentProviderError, SettingsError
from app.settings import ProviderSettings

ENTRY_POINTS = "tapedeck.providers"
Row = TypeVar("Row")
ProviderType = TypeVar("ProviderType", bound="Provider")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do.

    `batch_size` listings fit into one snapshot call; history reaches back `history_days`;
    `granularities` are those it delivers itself; `requests_per_minute` is the rate budget
    (None: unlimited); `candle_calls_per_run` bounds the listings whose history one run asks for.
    What `is_recorded` may have been written down long ago: its newest snapshot is kept however old
    it is, look-backs count from there, and it only repeats what the provider's own candles say.
    """

    batch_size: int = 1
    history_days: int = 0
    granularities: frozenset[Granularity] = frozenset()
    requests_per_minute: float | None = None
    candle_calls_per_run: int | None = None
    can_search: bool = False
    can_rank: bool = False
    is_recorded: bool = False

    @property
    def finest(self) -> frozenset[Granularity]:
        """The finest granularity alone; none where there is none."""
        return frozenset(sorted(self.granularities, key=lambda each: each.step)[:1])


@dataclass(frozen=True, slots=True)
class OwnCandles:
    """Which candles a provider has of one listing, none of them to be derived from the others.

    `state` changes when those of the past may have changed, so that all have to be read again; None
    where they never do, empty where that is not known.
    """

    granularities: frozenset[Granularity]
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Batch(Generic[Row]):
    """Rows in the provider's order, rows it could not build, and markets it could not serve."""

    rows: Sequence[Row] = ()
    rejected: Sequence[RejectedRow] = ()
    problems: Sequence[MarketProblem] = ()


@dataclass(frozen=True, slots=True)
class Resolution:
    """The listings chosen for what was asked, and the markets for which none could be chosen."""

    listings: Sequence[Listing] = ()
    problems: Sequence[MarketProblem] = ()


@dataclass(frozen=True, slots=True)
class RankedMarkets:
    """The answer to `top:N`: the listings in rank order and the snapshots that came with them."""

    listings: Sequence[Listing] = ()
    snapshots: Batch[Snapshot] = field(default_factory=Batch)


@dataclass(frozen=True, slots=True)
class ProviderContext:
    """What a provider is handed for one run.

    `clock` returns the present as aware UTC. `deadline_at` is the instant by which every call has
    to be over (None: no bound). `stop` is set when the run must end; calls end at once then.
    `on_call(outcome, seconds)` is told of every network attempt, for metrics and progress.
    """

    clock: Callable[[], datetime]
    deadline_at: datetime | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    on_call: Callable[[str, float], None] = lambda outcome, seconds: None


class Provider(ABC):
    """A source of market data. One instance serves one run and may be called from one thread.

    Every `fetch_*` and `resolve_*` raises `ProviderError` when the whole call failed; what concerns
    a single row or market comes back in the batch instead.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[ProviderSettings]] = ProviderSettings
    # What the provider bills for a call that it answered, in its own credits.
    credits_per_call: ClassVar[int] = 0

    def __init__(self, settings: ProviderSettings, context: ProviderContext) -> None:
        self.settings = settings
        self.context = context

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this provider can do under its present settings."""

    @abstractmethod
    def resolve_listings(self, requests: Sequence[MarketRequest]) -> Resolution:
        """Choose this provider's id for each request; called only for markets not yet listed."""

    @abstractmethod
    def fetch_snapshots(self, listings: Sequence[Listing]) -> Batch[Snapshot]:
        """The present observation of each listing; one missing from the answer is a problem."""

    @abstractmethod
    def fetch_candles(
        self,
        listings: Sequence[Listing],
        granularity: Granularity,
        start: datetime,
        end: datetime,
    ) -> Batch[Candle]:
        """Candles that opened in `[start, end)`, in order; an open one has `is_final=False`."""

    def own_candles(self, listing: Listing) -> OwnCandles:
        """What a run asks for of a listing whose snapshot it has: the finest granularity."""
        return OwnCandles(self.capabilities.finest)

    def fetch_ranked(self, limit: int, quote: str) -> RankedMarkets:
        """The `limit` largest markets quoted in `quote`, with their snapshots."""
        raise PermanentProviderError(
            f"{self.name} cannot rank markets, so top:N needs another one."
        )

    def fetch_comparisons(
        self, pairs: Sequence[tuple[Listing, Listing]]
    ) -> Sequence[Comparison] | None:
        """Comparisons of the provider's own; None (the default) has the pipeline derive them."""
        return None

    def fetch_roi_statistics(
        self, listings: Sequence[Listing], window: Window
    ) -> Sequence[RoiStatistic] | None:
        """ROI statistics of the provider's own; None (the default) has the pipeline derive them."""
        return None

    def search(self, text: str) -> Sequence[Listing]:
        """Listings whose id, symbol or name matches `text`; empty where search is not offered."""
        return ()

    def close(self) -> None:  # noqa: B027 - optional, most hold nothing
        """Give back what the provider holds (connections)."""


_registry: dict[str, type[Provider]] = {}


def register(name: str) -> Callable[[type[ProviderType]], type[ProviderType]]:
    """Make a provider class known under `name`; two of one name are a programming error."""

    def add(cls: type[ProviderType]) -> type[ProviderType]:
        if name in _registry:
            raise ValueError(f"two providers are called {name!r}")
        cls.name = name
        _registry[name] = cls
        return cls

    return add


def provider_classes() -> Mapping[str, type[Provider]]:
    """Every registered provider by name, those of installed packages included.

    A package offers a provider by the entry point group `tapedeck.providers`; importing the module
    that it names registers the class.
    """
    _load_plugins()
    return dict(_registry)


@lru_cache(maxsize=1)
def _load_plugins() -> None:
    for entry in entry_points(group=ENTRY_POINTS):
        entry.load()


def provider_class(name: str) -> type[Provider]:
    """The provider of that name; `SettingsError` lists the known ones otherwise."""
    if name not in provider_classes():
        known = ", ".join(sorted(_registry))
        raise SettingsError([f"INGESTION_PROVIDER is {name!r}, which is none of: {known}."])
    return _registry[name]

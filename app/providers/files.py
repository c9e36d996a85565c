"""Files: market data from a folder of CSV and JSON files that others leave there."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Generic, TypeVar

from app.domain import (
    AssetType,
    Candle,
    Granularity,
    Listing,
    MarketProblem,
    MarketRequest,
    RejectedRow,
    Snapshot,
)
from app.errors import PermanentProviderError, ProviderError, RunStopped, TransientProviderError
from app.market_list import parse_symbol
from app.providers.base import (
    Batch,
    Capabilities,
    OwnCandles,
    Provider,
    ProviderContext,
    Resolution,
    register,
)
from app.providers.files_candles import Bad, FileCandles, Plan, Span, plan_candles
from app.providers.files_copy import FileTrouble
from app.providers.files_folder import Folder, Rows
from app.providers.files_holding import DELIVERED, granularities_of, state_of
from app.providers.files_settings import FilesSettings
from app.providers.files_snapshots import newest_snapshot
from app.settings import ProviderSettings

__all__ = ["Files", "FilesSettings"]

logger = logging.getLogger(__name__)
PROVIDER = "files"
HISTORY_DAYS = 36_500
# Where the newest row is older, the run says so.
OLDEST = timedelta(days=30)
BATCH_SIZE = 1_000
FOUND_AT_MOST = 25
SHOWN = 10
Value = TypeVar("Value")


@register(PROVIDER)
class Files(Provider):
    """Candles and snapshots of a folder. A listing's id is a market's key in it, or a file's name.

    A file that can't be used as a whole is a problem of its markets; of others each bad row is set
    aside by its number. Nothing is ever read that lies outside the folder.
    """

    Settings: ClassVar[type[ProviderSettings]] = FilesSettings
    settings: FilesSettings

    def __init__(self, settings: FilesSettings, context: ProviderContext) -> None:
        super().__init__(settings, context)
        self._folder = Folder(settings, self._check)
        self._told: set[tuple[str, int]] = set()
        self._own_candles: dict[tuple[str, str, str], OwnCandles] = {}

    @property
    def capabilities(self) -> Capabilities:
        """Candles as far back as the files reach, hourly and daily; nothing is ranked."""
        return Capabilities(
            batch_size=BATCH_SIZE,
            history_days=HISTORY_DAYS,
            granularities=DELIVERED,
            can_search=True,
            is_recorded=True,
        )

    def resolve_listings(self, requests: Sequence[MarketRequest]) -> Resolution:
        """Pinned ids as they are, else the market of that symbol in the folder."""
        if not requests:
            return Resolution()
        with self._call():
            chosen = [self._choose(request) for request in requests]
        return Resolution(
            [each for each in chosen if isinstance(each, Listing)],
            [each for each in chosen if isinstance(each, MarketProblem)],
        )

    def fetch_snapshots(self, listings: Sequence[Listing]) -> Batch[Snapshot]:
        """The newest observation of each listing, as old as it may be."""

        def read(listing: Listing, rows: list[Rows]) -> _Found[Snapshot]:
            snapshot, bad = newest_snapshot(listing, rows, now)
            return _Found(snapshot, bad, _age_problem(listing, snapshot, bad, now))

        now = self.context.clock()
        return self._read_each(listings, read, kind="snapshot")

    def own_candles(self, listing: Listing) -> OwnCandles:
        """What the files held when they were last read: in this run, as a rule by its snapshot."""
        if listing.key not in self._own_candles:
            with self._call():
                self._rows_of(listing)
        return self._own_candles.get(listing.key, OwnCandles(frozenset(), ""))

    def fetch_candles(
        self,
        listings: Sequence[Listing],
        granularity: Granularity,
        start: datetime,
        end: datetime,
    ) -> Batch[Candle]:
        """Hourly or daily candles; finer rows are put together, coarser ones left out."""
        if granularity not in DELIVERED:
            raise PermanentProviderError(f"Files hold no {granularity} candles.")

        def read(listing: Listing, rows: list[Rows]) -> _Found[Plan]:
            plan, bad = plan_candles(listing, rows, span)
            if plan is None:
                _log_no_candles(listing, granularity)
            return _Found(plan, bad)

        span = Span(granularity, start, end, self.context.clock())
        plans = self._read_each(listings, read, kind="candle")
        return Batch(FileCandles(plans.rows), plans.rejected, plans.problems)

    def _read_each(
        self,
        listings: Sequence[Listing],
        read: Callable[[Listing, list[Rows]], "_Found[Value]"],
        *,
        kind: str,
    ) -> Batch[Value]:
        """What `read` makes of the rows of each listing; without rows, a problem says why."""
        values: list[Value] = []
        rejected: list[RejectedRow] = []
        problems: list[MarketProblem] = []
        if not listings:
            return Batch()
        with self._call():
            for listing in dict.fromkeys(listings):
                rows = self._rows_of(listing)
                if isinstance(rows, MarketProblem):
                    problems.append(rows)
                    continue
                found = read(listing, rows)
                rejected += self._tell(listing, found.bad, kind=kind)
                values += [] if found.value is None else [found.value]
                problems += [] if found.problem is None else [found.problem]
        return Batch(values, rejected, problems)

    def search(self, text: str) -> Sequence[Listing]:
        """Markets of the folder whose key holds `text`, at most 25."""
        wanted = text.strip().upper()
        if not wanted:
            return ()
        with self._call():
            found = [key for key in self._folder.sources if wanted in key and _is_symbol(key)]
        return [
            _listing(MarketRequest(key), key, "discovered") for key in sorted(found)[:FOUND_AT_MOST]
        ]

    def _choose(self, request: MarketRequest) -> Listing | MarketProblem:
        if request.pinned_id is not None:
            return _listing(request, request.pinned_id, "pinned")
        keys = self._folder.keys_like(request.symbol)
        if len(keys) == 1:
            return _listing(request, keys[0], "resolved")
        if not keys:
            return self._unknown(request.symbol, request.symbol)
        text = (
            f"{request.symbol} may mean {', '.join(keys[:SHOWN])} in the folder. Pin one with "
            f"{request.symbol}=<id>."
        )
        return MarketProblem(request.symbol, "AmbiguousSymbol", text)

    def _rows_of(self, listing: Listing) -> list[Rows] | MarketProblem:
        """All series of a listing, or why there are none."""
        self._check()
        sources = self._folder.find(listing.provider_id)
        if not sources:
            return self._unknown(listing.symbol, listing.provider_id)
        try:
            rows = [rows for source in sources for rows in self._folder.rows_of(source)]
        except FileTrouble as error:
            return MarketProblem(listing.symbol, "UnreadableFile", str(error))
        # The first look counts: what changes after it will be read again by the next run.
        self._own_candles.setdefault(
            listing.key, OwnCandles(granularities_of(rows), state_of(rows))
        )
        return rows

    def _unknown(self, symbol: str, wanted: str) -> MarketProblem:
        text = f"No file in the folder holds {wanted[:80]!r}."
        if self._folder.unreadable:
            reasons = list(self._folder.unreadable.values())
            text += f" It may be in a file that can't be used: {' '.join(reasons[:3])}"
        return MarketProblem(symbol, "NotFound", text)

    def _tell(self, listing: Listing, bad: Sequence[Bad], *, kind: str) -> Iterator[RejectedRow]:
        """The rows set aside, each once in a run."""
        for table, line in bad:
            place = (table.name, line.number)
            if place in self._told:
                continue
            self._told.add(place)
            where = table.describe(line.number)
            yield RejectedRow(
                kind=kind,
                reason=line.reason,
                detail=f"{where}: {line.detail}.",
                raw=f"{where}: {line.raw}",
                symbol=listing.symbol,
                provider_id=listing.provider_id,
            )

    @contextmanager
    def _call(self) -> Iterator[None]:
        """Report one look into the folder, whatever comes of it."""
        started, outcome = time.monotonic(), "ok"
        try:
            self._check()
            yield
        except RunStopped:
            outcome = "stopped"
            raise
        except ProviderError as error:
            outcome = "timeout" if isinstance(error, TransientProviderError) else "refused"
            raise
        finally:
            self.context.on_call(outcome, time.monotonic() - started)

    def _check(self) -> None:
        """A safe point: raises when the run was stopped or is past its deadline."""
        if self.context.stop.is_set():
            raise RunStopped("cancelled", "Stopped while files were read.")
        deadline = self.context.deadline_at
        if deadline is not None and self.context.clock() >= deadline:
            raise TransientProviderError("The files were not read before the deadline.")


@dataclass(frozen=True, slots=True)
class _Found(Generic[Value]):
    """What the rows of one listing gave: a value, rows set aside, and what is to be said."""

    value: Value | None
    bad: Sequence[Bad]
    problem: MarketProblem | None = None


def _listing(request: MarketRequest, provider_id: str, chosen_by: str) -> Listing:
    return Listing(
        provider=PROVIDER,
        provider_id=provider_id,
        symbol=request.symbol,
        quote=request.quote,
        provider_symbol=provider_id,
        asset_type=AssetType.INDEX if request.is_bare else AssetType.CRYPTO,
        chosen_by=chosen_by,
    )


def _age_problem(
    listing: Listing, snapshot: Snapshot | None, bad: Sequence[Bad], now: datetime
) -> MarketProblem | None:
    """What is to be said where files hold no row for a snapshot, or only one that is too old."""
    if snapshot is None or snapshot.observed_at is None:
        text = f"The files of {listing.symbol} hold no row up to now that can be read."
        if bad:
            table, line = bad[0]
            text += f" For one, {table.describe(line.number)}: {line.detail}."
        return MarketProblem(listing.symbol, "NoRows", text)
    if snapshot.observed_at >= now - OLDEST:
        return None
    observed = f"{snapshot.observed_at:%Y-%m-%d %H:%M} UTC"
    text = (
        f"The newest row in the files of {listing.symbol} is of {observed}: they hold history and "
        "nothing current. It is stored as it is."
    )
    return MarketProblem(listing.symbol, "OldData", text)


def _log_no_candles(listing: Listing, granularity: Granularity) -> None:
    fields = {"market": listing.symbol, "granularity": granularity.value}
    logger.info("files hold no such candles", extra=fields)


def _is_symbol(key: str) -> bool:
    try:
        parse_symbol(key)
    except ValueError:
        return False
    return True

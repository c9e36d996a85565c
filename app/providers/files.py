"""Files: market data from a folder of CSV and JSON files that others leave there."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import ClassVar

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
    Provider,
    ProviderContext,
    Resolution,
    register,
)
from app.providers.files_candles import Bad, FileCandles, Plan, Span, plan_candles
from app.providers.files_copy import FileTrouble
from app.providers.files_folder import Folder, Rows
from app.providers.files_settings import FilesSettings
from app.providers.files_snapshots import newest_snapshot
from app.settings import ProviderSettings

__all__ = ["Files", "FilesSettings"]

logger = logging.getLogger(__name__)
PROVIDER = "files"
HISTORY_DAYS = 36_500
# The pipeline's rules refuse older snapshots; here it is only said.
OLDEST = timedelta(days=30)
BATCH_SIZE = 1_000
FOUND_AT_MOST = 25
SHOWN = 10
_DELIVERED = frozenset({Granularity.HOURLY, Granularity.DAILY})


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

    @property
    def capabilities(self) -> Capabilities:
        """Candles as far back as the files reach, hourly and daily; nothing is ranked."""
        return Capabilities(
            batch_size=BATCH_SIZE,
            history_days=HISTORY_DAYS,
            granularities=_DELIVERED,
            can_search=True,
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
        if not listings:
            return Batch()
        snapshots: list[Snapshot] = []
        rejected: list[RejectedRow] = []
        problems: list[MarketProblem] = []
        with self._call():
            now = self.context.clock()
            for listing in dict.fromkeys(listings):
                rows = self._rows_of(listing)
                if isinstance(rows, MarketProblem):
                    problems.append(rows)
                    continue
                snapshot, bad = newest_snapshot(listing, rows, now)
                rejected += self._tell(listing, bad, kind="snapshot")
                if snapshot is not None:
                    snapshots.append(snapshot)
                if problem := _age_problem(listing, snapshot, now):
                    problems.append(problem)
        return Batch(snapshots, rejected, problems)

    def fetch_candles(
        self,
        listings: Sequence[Listing],
        granularity: Granularity,
        start: datetime,
        end: datetime,
    ) -> Batch[Candle]:
        """Hourly or daily candles; finer rows are put together, coarser ones left out."""
        if granularity not in _DELIVERED:
            raise PermanentProviderError(f"Files hold no {granularity} candles.")
        if not listings:
            return Batch()
        plans: list[Plan] = []
        rejected: list[RejectedRow] = []
        problems: list[MarketProblem] = []
        with self._call():
            span = Span(granularity, start, end, self.context.clock())
            for listing in dict.fromkeys(listings):
                rows = self._rows_of(listing)
                if isinstance(rows, MarketProblem):
                    problems.append(rows)
                    continue
                plan, bad = plan_candles(listing, rows, span)
                rejected += self._tell(listing, bad, kind="candle")
                if plan is not None:
                    plans.append(plan)
                else:
                    _log_no_candles(listing, granularity)
        return Batch(FileCandles(plans), rejected, problems)

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
            return [rows for source in sources for rows in self._folder.rows_of(source)]
        except FileTrouble as error:
            return MarketProblem(listing.symbol, "UnreadableFile", str(error))

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
    listing: Listing, snapshot: Snapshot | None, now: datetime
) -> MarketProblem | None:
    """What is to be said where files hold no row for a snapshot, or only one that is too old."""
    if snapshot is None or snapshot.observed_at is None:
        text = f"The files of {listing.symbol} hold no row up to now that can be read."
        return MarketProblem(listing.symbol, "NoRows", text)
    if snapshot.observed_at >= now - OLDEST:
        return None
    observed = f"{snapshot.observed_at:%Y-%m-%d %H:%M} UTC"
    text = (
        f"The newest row in the files of {listing.symbol} is of {observed}. Rows over "
        f"{OLDEST.days} days old give candles, but no snapshot, and a run needs one."
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

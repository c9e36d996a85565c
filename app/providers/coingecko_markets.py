"""CoinGecko's /coins/markets: pages by id or by rank, asked side by side, read row by row."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote as escape

from app.domain import Listing, MarketProblem, RejectedRow, Snapshot
from app.errors import ProviderError, TransientProviderError
from app.providers.base import Batch, RankedMarkets
from app.providers.coingecko_payloads import (
    BadRow,
    MarketRow,
    decode_rows,
    read_market_row,
    reject,
    row_id,
)
from app.providers.coingecko_resolve import PROVIDER, discovered_listing
from app.providers.http import HttpClient, Request
from app.providers.parallel import call_each

PAGE_ROWS = 250
# With the rest of the address this keeps below 6 kB, which every proxy takes.
LONGEST_IDS = 5_500


@dataclass(frozen=True, slots=True)
class Page:
    """One call: the markets of some listings of one currency, or a page of the ranking."""

    quote: str
    listings: Sequence[Listing] = ()
    number: int = 1
    rows: int = PAGE_ROWS

    def query(self) -> dict[str, str]:
        """The parameters of the call."""
        query = {
            "vs_currency": self.quote.lower(),
            "order": "market_cap_desc",
            "per_page": str(self.rows),
            "page": str(self.number),
            "precision": "full",
            "price_change_percentage": "1h,24h,7d,30d",
        }
        if self.listings:
            query["ids"] = ",".join(dict.fromkeys(each.provider_id for each in self.listings))
        return query


@dataclass(slots=True)
class _Collected:
    snapshots: list[Snapshot] = field(default_factory=list)
    rejected: list[RejectedRow] = field(default_factory=list)
    problems: list[MarketProblem] = field(default_factory=list)

    def batch(self) -> Batch[Snapshot]:
        return Batch(self.snapshots, self.rejected, self.problems)


class Markets:
    """Reads /coins/markets through `client`, up to `threads` pages at a time."""

    def __init__(self, client: HttpClient, *, threads: int) -> None:
        self._client = client
        self._threads = threads

    def snapshots(self, listings: Sequence[Listing]) -> Batch[Snapshot]:
        """One snapshot for each listing; of several pages, a failed one costs only its markets."""
        pages = list(pages_by_id(listings))
        collected = _Collected()
        for page, answer in zip(pages, self._fetch(pages), strict=True):
            if isinstance(answer, ProviderError):
                collected.problems += [_problem(each.symbol, answer) for each in page.listings]
            else:
                _collect_asked(page.listings, answer, collected)
        return collected.batch()

    def ranked(self, limit: int, quote: str) -> RankedMarkets:
        """The `limit` largest markets; of several pages, the good ones are kept."""
        rows = min(limit, PAGE_ROWS)
        count = -(-limit // rows)
        pages = [Page(quote, number=number, rows=rows) for number in range(1, count + 1)]
        answers = self._fetch(pages)
        collected = _Collected()
        for page, answer in zip(pages, answers, strict=True):
            if isinstance(answer, ProviderError):
                collected.problems.append(_missing_ranks(page, limit, answer))
        found = [
            row for answer in answers if not isinstance(answer, ProviderError) for row in answer
        ]
        if not found:
            raise TransientProviderError("CoinGecko sent an empty list of markets")
        if not collected.problems and len(found) < limit:
            text = f"CoinGecko sent only {len(found)} of the {limit} largest markets"
            collected.problems.append(MarketProblem(f"top:{limit}", "ShortAnswer", text))
        listings = _collect_ranked(found[:limit], quote, collected)
        return RankedMarkets(listings, collected.batch())

    def rows_by_id(self, ids: Sequence[str]) -> dict[str, MarketRow]:
        """The readable rows of these coins in USD; raises ProviderError when a page fails."""
        pages = list(pages_by_id([Listing(PROVIDER, coin_id, coin_id) for coin_id in ids]))
        rows: dict[str, MarketRow] = {}
        for answer in self._fetch(pages):
            if isinstance(answer, ProviderError):
                raise answer
            rows.update((row.id, row) for row in _readable(answer))
        return rows

    def _fetch(self, pages: Sequence[Page]) -> list[list[bytes] | ProviderError]:
        answers = call_each(self._fetch_page, pages, threads=self._threads)
        failures = [answer for answer in answers if isinstance(answer, ProviderError)]
        if failures and len(failures) == len(answers):
            raise failures[0]
        return answers

    def _fetch_page(self, page: Page) -> list[bytes]:
        return self._client.get(Request("/coins/markets", decode_rows, query=page.query()))


def pages_by_id(listings: Sequence[Listing]) -> Iterator[Page]:
    """Pages of one currency each, of at most 250 ids and 5,500 characters of ids."""
    by_quote: defaultdict[str, list[Listing]] = defaultdict(list)
    for listing in listings:
        by_quote[listing.quote].append(listing)
    for quote, group in by_quote.items():
        page: list[Listing] = []
        length = 0
        for listing in group:
            size = len(escape(listing.provider_id, safe="")) + 1
            if page and (len(page) == PAGE_ROWS or length + size > LONGEST_IDS):
                yield Page(quote, page)
                page, length = [], 0
            page.append(listing)
            length += size
        yield Page(quote, page)


def _collect_asked(
    listings: Sequence[Listing], rows: Sequence[bytes], collected: _Collected
) -> None:
    by_id: defaultdict[str | None, list[Listing]] = defaultdict(list)
    for listing in listings:
        by_id[listing.provider_id].append(listing)
    seen: set[str | None] = set()
    for row in rows:
        try:
            found = read_market_row(row)
        except BadRow as error:
            coin_id = row_id(row)
            if coin_id is None or coin_id in by_id:
                owner = next(iter(by_id.get(coin_id, ())), None)
                collected.rejected.append(reject(row, error, kind="snapshot", listing=owner))
                seen.add(coin_id)
            continue
        seen.add(found.id)
        collected.snapshots += [found.snapshot_of(each) for each in by_id.get(found.id, ())]
    collected.problems += [_not_found(each) for each in listings if each.provider_id not in seen]


def _collect_ranked(rows: Sequence[bytes], quote: str, collected: _Collected) -> list[Listing]:
    listings: dict[str, Listing] = {}
    for row in rows:
        try:
            found = read_market_row(row)
        except BadRow as error:
            collected.rejected.append(reject(row, error, kind="snapshot", listing=None))
            continue
        listing = listings.setdefault(found.id, _discover(found, quote))
        collected.snapshots.append(found.snapshot_of(listing))
    return sorted(listings.values(), key=lambda each: (each.rank is None, each.rank or 0))


def _discover(row: MarketRow, quote: str) -> Listing:
    return discovered_listing(row.id, symbol=row.symbol, name=row.name, quote=quote, rank=row.rank)


def _readable(rows: Sequence[bytes]) -> Iterator[MarketRow]:
    for row in rows:
        try:
            yield read_market_row(row)
        except BadRow:
            continue


def _problem(symbol: str, error: ProviderError) -> MarketProblem:
    return MarketProblem(symbol, type(error).__name__, str(error))


def _not_found(listing: Listing) -> MarketProblem:
    text = f"CoinGecko has no market with the id {listing.provider_id!r} in {listing.quote}."
    return MarketProblem(listing.symbol, "NotFound", text)


def _missing_ranks(page: Page, limit: int, error: ProviderError) -> MarketProblem:
    first = (page.number - 1) * page.rows + 1
    last = min(page.number * page.rows, limit)
    text = f"Ranks {first} to {last} are missing: {error}"
    return MarketProblem(f"top:{limit}", type(error).__name__, text)

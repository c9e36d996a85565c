"""How an operator writes down markets: `BTC-USD,ETH-USD=ethereum,SPX,top:100`, and pairs."""

import re
from dataclasses import dataclass

from app.domain import MarketRequest

SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9._-]{0,79}")
LONGEST_ID = 100
LARGEST_TOP = 10_000


@dataclass(frozen=True, slots=True)
class MarketSelection:
    """The markets to follow: those named, and the `top` largest of the provider (0: none)."""

    requests: tuple[MarketRequest, ...] = ()
    top: int = 0

    def __str__(self) -> str:
        named = [
            request.symbol + (f"={request.pinned_id}" if request.pinned_id else "")
            for request in self.requests
        ]
        return ",".join(named + ([f"top:{self.top}"] if self.top else []))


def parse_symbol(text: str) -> str:
    """The symbol in upper case; `ValueError` names what is not one."""
    symbol = text.strip().upper()
    if not SYMBOL.fullmatch(symbol) or symbol.endswith("-") or not text.isascii():
        raise ValueError(f"{text.strip()[:40]!r} is not a market symbol")
    return symbol


def parse_markets(text: str) -> MarketSelection:
    """Read a market list; a market named twice counts once. `ValueError` says what is wrong."""
    requests: dict[str, MarketRequest] = {}
    top = 0
    for item in filter(None, (part.strip() for part in text.split(","))):
        if item.lower().startswith("top:"):
            if top:
                raise ValueError("top:N may stand there once")
            top = _parse_top(item[4:])
            continue
        request = _parse_request(item)
        if requests.setdefault(request.symbol, request) != request:
            raise ValueError(f"{request.symbol} is there twice with different ids")
    if not requests and not top:
        raise ValueError("it names no market")
    return MarketSelection(tuple(requests.values()), top)


def parse_pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Read pairs such as `ETH-USD/BTC-USD,SPX/BTC-USD`, in order, each once."""
    pairs: dict[tuple[str, str], None] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        first, slash, second = item.partition("/")
        if not slash:
            raise ValueError(f"{item[:40]!r} is not a pair")
        pair = (parse_symbol(first), parse_symbol(second))
        if pair[0] == pair[1]:
            raise ValueError(f"{item[:40]!r} compares a market with itself")
        pairs[pair] = None
    return tuple(pairs)


def _parse_top(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= LARGEST_TOP:
        raise ValueError(f"'top:{text[:20]}' needs a number from 1 to {LARGEST_TOP}")
    return int(text)


def _parse_request(item: str) -> MarketRequest:
    symbol, equals, rest = item.partition("=")
    pinned_id = rest.strip()
    if equals and not (pinned_id.isprintable() and 0 < len(pinned_id) <= LONGEST_ID):
        raise ValueError(f"{item[:40]!r} pins no id")
    return MarketRequest(parse_symbol(symbol), pinned_id or None)

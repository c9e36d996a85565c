"""The table of the bad inputs, and the desk at which each is tried."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from app.extensions import db
from app.providers import http_limits
from tests.ingestion.exchange import NOW, Deck, coingecko_deck
from tests.ingestion.making import empty

Check = Callable[["Desk"], None]
MANY = "top:60"


@dataclass(frozen=True, slots=True)
class BadInput:
    """One of the 72: what comes in, what is done about it, and the proof."""

    number: int
    what: str
    outcome: str
    check: Check


CASES: dict[int, BadInput] = {}


def bad_input(number: int, what: str, outcome: str) -> Callable[[Check], Check]:
    """Put a check into the table."""

    def add(check: Check) -> Check:
        assert number not in CASES, f"there are two checks of input {number}"
        CASES[number] = BadInput(number, what, outcome, check)
        return check

    return add


class Desk:
    """The application over one database; CoinGecko is a scripted server."""

    def __init__(self, database_url: str, deck: Deck) -> None:
        self.database_url = database_url
        self.deck = deck
        self._seen: dict[str, Any] = {}
        self.held: set[int] = set()
        self.figures: list[str] = []

    def hold(self, number: int) -> None:
        """Do one check; it counts when nothing is raised."""
        CASES[number].check(self)
        self.held.add(number)

    def fresh(self) -> Deck:
        """Empty tables, a provider nobody has heard of yet, the clock at ten twenty."""
        forget_provider()
        # What was read last would keep its tables from being emptied.
        db.session.remove()
        empty(db.engine)
        self.deck.clock.now = NOW
        self.deck.server.requests.clear()
        return self.deck

    @contextmanager
    def follow(self, markets: str, **coingecko: Any) -> Iterator[Deck]:
        """Another application, which follows these markets, over empty tables."""
        forget_provider()
        db.session.remove()
        with coingecko_deck(self.database_url, markets=markets, **coingecko) as deck:
            yield deck

    def once(self, name: str, make: Callable[[Deck], Any]) -> Any:
        """What `make` found in fresh tables, for all inputs that came in one answer."""
        if name not in self._seen:
            self._seen[name] = make(self.fresh())
        return self._seen[name]


def forget_provider() -> None:
    """Breaker and budget begin anew."""
    http_limits._channels.clear()


def rejections(deck: Deck, run_id: str) -> dict[str, str]:
    """The reason of each row that was set aside, by the provider's id."""
    found = deck.client.get(f"/api/runs/{run_id}").get_json()["rejectedRows"]
    return {each["providerId"]: each["reason"] for each in found}


def snapshots(deck: Deck, columns: str) -> dict[str, Any]:
    """These columns of every stored snapshot, by the provider's id."""
    rows = deck.rows(
        f"SELECT l.provider_id, {columns} FROM market_snapshot s "
        "JOIN listing l ON l.market_id = s.market_id ORDER BY s.observed_at"
    )
    return {row[0]: row[1] if len(row) == 2 else row[1:] for row in rows}

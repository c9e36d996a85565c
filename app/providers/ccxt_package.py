"""The package ccxt: whether it is there, which exchanges it knows, and one of them made ready."""

import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from app.errors import PermanentProviderError

PACKAGE = "ccxt"
INSTALL = (
    "INGESTION_PROVIDER=ccxt needs the Python package ccxt, which is not installed: add it with "
    "`make .venv/.requirements-ccxt`, or with `pip install ccxt` into Tapedeck's environment."
)
# What ccxt's parsers raise over an answer of another shape than the one they were written for.
PARSE_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
# Modules beside the exchanges' own.
_NO_EXCHANGES = frozenset({"__init__"})
_importing = threading.Lock()

Fetch = Callable[..., Any]


def is_installed() -> bool:
    """True where ccxt can be imported; imports nothing."""
    return _folder() is not None


@lru_cache(maxsize=1)
def exchange_names() -> frozenset[str]:
    """The exchanges that the installed ccxt knows; empty without it. Imports nothing."""
    folder = _folder()
    if folder is None:
        return frozenset()
    return frozenset(path.stem for path in folder.glob("*.py")) - _NO_EXCHANGES


def _folder() -> Path | None:
    spec = importlib.util.find_spec(PACKAGE)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def build_exchange(name: str, fetch: Fetch) -> Any:
    """The exchange of that name, whose every request goes through `fetch`; it has no keys.

    `fetch(url, method, headers, body)` gives the decoded JSON. Numbers stay the text that the
    exchange sent, nothing is worked out from them, and only spot markets are kept. Raises
    PermanentProviderError where ccxt, or the exchange in it, is missing.
    """
    if not is_installed():
        raise PermanentProviderError(INSTALL)
    if name not in exchange_names():
        raise PermanentProviderError(f"The installed ccxt knows no exchange {name!r}.")
    kind = getattr(_load_module(name), name)
    exchange = kind({"enableRateLimit": False, "number": str, "session": _NoSession()})
    exchange.fetch = fetch
    # ccxt's own version fills gaps (a price from an average and a change): we take what was given.
    exchange.safe_ticker = _as_given
    _ask_for_spot_only(exchange)
    keep = exchange.set_markets
    exchange.set_markets = lambda markets, currencies=None: keep(_lean(markets), currencies)
    return exchange


def refusal_class() -> type[Exception]:
    """The root of ccxt's own exceptions; only once an exchange was built."""
    root: type[Exception] = sys.modules[f"{PACKAGE}.base.errors"].__dict__["BaseError"]
    return root


def build_shelf(exchange: Any) -> Any:
    """Another object of the same exchange that holds its markets, and can ask for nothing."""
    shelf = build_exchange(exchange.id, _NoSession().request)
    shelf.set_markets_from_exchange(exchange)
    return shelf


class _NoSession:
    """Stands where ccxt would keep connections of its own, and makes none."""

    def request(self, *_: object, **__: object) -> Any:
        """Refuse."""
        raise PermanentProviderError("ccxt tried to open a connection by itself.")

    def close(self) -> None:
        """Nothing is open."""


def _as_given(ticker: dict[str, Any], market: object = None) -> dict[str, Any]:
    return ticker


def _lean(markets: Any) -> list[dict[str, Any]]:
    """The spot markets without the raw text of their rows, which is most of their size."""
    rows = markets.values() if isinstance(markets, dict) else markets
    return [{**row, "info": {}} for row in rows if row and row.get("spot")]


def _ask_for_spot_only(exchange: Any) -> None:
    """Leave out the calls for lists of futures and options, where ccxt lets us choose."""
    chosen = exchange.options.get("fetchMarkets")
    types = chosen.get("types") if isinstance(chosen, dict) else None
    if isinstance(types, list) and "spot" in types:
        exchange.options["fetchMarkets"] = {**chosen, "types": ["spot"]}
    elif isinstance(types, dict) and "spot" in types:
        only = {kind: kind == "spot" for kind in types}
        exchange.options["fetchMarkets"] = {**chosen, "types": only}


def _load_module(name: str) -> ModuleType:
    with _importing, _bare_package():
        return importlib.import_module(f"{PACKAGE}.{name}")


@contextmanager
def _bare_package() -> Iterator[None]:
    """Lets one exchange be imported without the package's `__init__`, which imports all of them.

    That is a third of the time and half of the memory. Whoever imports ccxt afterwards gets the
    whole package as usual.
    """
    if PACKAGE in sys.modules:
        yield
        return
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    bare = ModuleType(PACKAGE)
    bare.__spec__, bare.__path__ = spec, list(spec.submodule_search_locations or ())
    sys.modules[PACKAGE] = bare
    try:
        yield
    finally:
        del sys.modules[PACKAGE]

"""The way of ccxt's requests: our own HTTP client, with ccxt's knowledge of what refusals mean."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import msgspec

from app.errors import PermanentProviderError, ProviderError, TransientProviderError
from app.providers.base import ProviderContext
from app.providers.ccxt_numbers import decode_body
from app.providers.ccxt_package import PARSE_ERRORS, refusal_class
from app.providers.ccxt_settings import CcxtSettings
from app.providers.http import CallLimits, HttpClient, Request
from app.providers.http_errors import ErrorNote, ErrorReader, read_note
from app.providers.http_exchange import CallFailed, HttpAnswer

PROVIDER = "ccxt"
# The list of an exchange's markets is by far the longest answer.
LARGEST_BYTES = 40_000_000
BANNED = 418
# Statuses that say enough by themselves.
_PLAIN_STATUSES = frozenset({408, 429})
_RATE_LIMITED = frozenset({"RateLimitExceeded", "DDoSProtection"})
_SHUT_OUT = frozenset({"AuthenticationError", "RestrictedLocation"})

Headers = tuple[tuple[str, str], ...]
HandleErrors = Callable[..., Any]


class Refused(PermanentProviderError):
    """The exchange refused what it was asked for; a part of it might be answered."""


class UnknownSymbol(Refused):
    """The exchange does not know the market that it was asked for."""


@dataclass(frozen=True, slots=True)
class _Ready(Request[Any]):
    """A request whose path and query ccxt has written; `path` alone goes into logs."""

    written: str = ""

    def target(self) -> str:
        """Path and query as ccxt wrote them."""
        return self.written


@dataclass(frozen=True, slots=True)
class _Refusals(ErrorReader):
    """Reads refusals with the help of ccxt, which knows each exchange's own codes.

    `judge(status, body)` gives the failure that a body tells of, None when it tells of none.
    """

    judge: Callable[[int, bytes], CallFailed | None] = lambda status, body: None

    def refusal(self, answer: HttpAnswer, now: datetime) -> CallFailed | None:
        """The failure that status and body tell of; None for 2xx."""
        status = answer.status
        if status == BANNED:  # what some exchanges answer to who did not heed 429
            note = read_note(answer.body) or ErrorNote()
            return self._judge(answer, HTTPStatus.TOO_MANY_REQUESTS, note, now)
        if status < 400 or status >= 500 or status in _PLAIN_STATUSES:
            return ErrorReader.refusal(self, answer, now)
        return self.judge(status, answer.body) or ErrorReader.refusal(self, answer, now)


class CcxtHttp:
    """Carries the requests of one exchange object; `fetch` takes the place of ccxt's own.

    Every address of the exchange has a client of its own, unless CCXT_BASE_URL stands for them all.
    """

    def __init__(
        self,
        settings: CcxtSettings,
        context: ProviderContext,
        *,
        limits: CallLimits | None = None,
    ) -> None:
        self.label = settings.exchange
        self._settings = settings
        self._context = context
        self._limits = limits
        self._handle_errors: HandleErrors = lambda *_: None
        self._unknown_market: str | None = None
        self._errors: ErrorReader = ErrorReader(self.label)
        self._clients: dict[tuple[str, Headers], HttpClient] = {}

    def introduce(self, exchange: Any, *, unknown_market: str | None = None) -> None:
        """Take the exchange's name for sentences, and its knowledge of its own refusals.

        A refusal with the words `unknown_market` is UnknownSymbol, though ccxt may not know it.
        """
        self.label = str(exchange.name)
        self._handle_errors = exchange.handle_errors
        self._unknown_market = unknown_market
        self._errors = _Refusals(self.label, judge=self._judge)

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def fetch(
        self, url: str, method: str = "GET", headers: object = None, body: object = None
    ) -> Any:
        """The decoded JSON; numbers with a fraction or exponent as text.

        Raises what HttpClient raises, and UnknownSymbol.
        """
        parts = urlsplit(url)
        if method != "GET" or body:
            raise PermanentProviderError(f"{self.label} is asked by {method}, not by GET alone.")
        if parts.scheme != "https":
            raise PermanentProviderError(f"{self.label}'s address {parts.hostname} is not https.")
        client = self._client(self._settings.base_url or f"https://{parts.netloc}", headers)
        written = f"{parts.path}?{parts.query}" if parts.query else parts.path
        return client.get(
            _Ready(parts.path, self._decode, max_bytes=LARGEST_BYTES, written=written)
        )

    def failure(self, error: Exception) -> ProviderError:
        """What ccxt raised beside a call, as an error of ours."""
        return self._translate(error).error

    def _client(self, base_url: str, headers: object) -> HttpClient:
        own = tuple(sorted(headers.items())) if isinstance(headers, dict) else ()
        if (base_url, own) not in self._clients:
            self._clients[base_url, own] = HttpClient(
                provider=PROVIDER,
                base_url=base_url,
                context=self._context,
                errors=self._errors,
                requests_per_minute=self._settings.requests_per_minute,
                headers=dict(own),
                wait_out_rate_limits=self._settings.wait_out_rate_limits,
                limits=self._limits,
                connections=1,
            )
        return self._clients[base_url, own]

    def _decode(self, body: bytes) -> Any:
        found = decode_body(body)
        if failure := self._judge(HTTPStatus.OK, body, found):
            raise failure
        return found

    def _judge(self, status: int, body: bytes, found: Any = None) -> CallFailed | None:
        try:
            decoded = decode_body(body) if found is None else found
        except (msgspec.MsgspecError, RecursionError):
            return None
        text = body.decode(errors="replace")
        try:
            self._handle_errors(status, "", "", "GET", {}, text, decoded, {}, None)
        except PARSE_ERRORS:
            return None  # not the shape of an error either
        except refusal_class() as error:
            return self._translate(error, status=status)
        return None

    def _translate(self, error: Exception, *, status: int | None = None) -> CallFailed:
        """The failure that an exception of ccxt stands for, told by the names of its classes."""
        names = {cls.__name__ for cls in type(error).__mro__}
        said = self._errors.clean(str(error).partition(" ")[2] or str(error))
        text = f"{self.label} refused: {said}"
        if names & _RATE_LIMITED:
            return CallFailed("rate_limited", TransientProviderError(text, status=status))
        if self._means_unknown(names, said, status):
            return CallFailed("refused", UnknownSymbol(text, status=status))
        if "BadResponse" in names:
            return CallFailed("bad_body", PermanentProviderError(text, status=status))
        if "OperationFailed" in names:
            return CallFailed("server_error", TransientProviderError(text, status=status))
        kind = PermanentProviderError if names & _SHUT_OUT else Refused
        return CallFailed("refused", kind(text, status=status))

    def _means_unknown(self, names: set[str], said: str, status: int | None) -> bool:
        if "BadSymbol" in names or status == HTTPStatus.NOT_FOUND:
            return True
        return self._unknown_market is not None and self._unknown_market in said


def problem_class(error: ProviderError) -> str:
    """What a market's problem is called that came of this error."""
    if isinstance(error, UnknownSymbol):
        return "NotFound"
    return "PermanentProviderError" if isinstance(error, Refused) else type(error).__name__

"""The one room for HTTP to providers: budget, breaker, waits, deadlines, counting and logging."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from app.errors import (
    PermanentProviderError,
    ProviderError,
    RunStopped,
    TransientProviderError,
)
from app.providers.base import ProviderContext
from app.providers.http_errors import ErrorReader
from app.providers.http_exchange import CallFailed, CallLimits, HttpAnswer, HttpExchange
from app.providers.http_limits import (
    LONGEST_HOLD_SECONDS,
    BreakerState,
    Channel,
    breaker_states,
    channel_to,
)

__all__ = ["BreakerState", "CallLimits", "HttpClient", "NotAsked", "Request", "breaker_states"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

LONGEST_WAITS = 2
_BOM = b"\xef\xbb\xbf"


class NotAsked(TransientProviderError):
    """No request was sent: the breaker is open, or the turn comes too late for this run."""


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One GET: `path` is a template whose `{names}` are filled from `values` and escaped.

    `decode` builds the result from the body (JSON as UTF-8); msgspec's errors in it become
    provider errors. `max_bytes` overrides the cap on the decoded body.
    """

    path: str
    decode: Callable[[bytes], T]
    values: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int | None = None

    def target(self) -> str:
        """Path and query, escaped; commas stay, they separate lists."""
        path = self.path.format_map({name: _segment(text) for name, text in self.values.items()})
        return f"{path}?{urlencode(self.query, quote_via=quote, safe=',')}" if self.query else path


def _segment(text: str) -> str:
    escaped = quote(text, safe="")
    # "." and ".." would be taken for steps through the path.
    return escaped.replace(".", "%2E") if set(escaped) == {"."} else escaped


class HttpClient:
    """JSON over GET from one provider at one base address; may be called from several threads.

    `label` is the provider's name in sentences, `headers` go with every request, and `secrets`
    (an API key) are masked in whatever is said about failures. The rate budget and the circuit
    breaker belong to the process, not to the client. With `wait_out_rate_limits`, 429 and 503
    with a Retry-After that fits the run's deadline are waited out, at most twice in one call; any
    other failure is raised at once.
    """

    def __init__(
        self,
        *,
        provider: str,
        base_url: str,
        context: ProviderContext,
        errors: ErrorReader,
        requests_per_minute: int,
        headers: Mapping[str, str] | None = None,
        wait_out_rate_limits: bool = True,
        limits: CallLimits | None = None,
        connections: int = 8,
    ) -> None:
        self.provider = provider
        self.base_url = base_url.rstrip("/")
        self._context = context
        self._errors = errors
        self._per_minute = requests_per_minute
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": "Tapedeck",
            **(headers or {}),
        }
        self._waits = LONGEST_WAITS if wait_out_rate_limits else 0
        self._limits = limits or CallLimits()
        self._exchange = HttpExchange(errors.label, self._limits, connections=connections)
        self._counting = threading.Lock()

    @property
    def _channel(self) -> Channel:
        return channel_to(self.provider, self.base_url)

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._exchange.close()

    def get(self, request: Request[T]) -> T:
        """The decoded answer.

        Raises TransientProviderError (with `retry_after` where the provider named one), NotAsked,
        PermanentProviderError, PlanLimitError, or RunStopped when the run is to end.
        """
        breaker = self._channel.breaker
        if (wait := breaker.admit()) is not None:
            raise self._left_alone(wait, breaker.reason)
        try:
            result = self._get_with_waits(request)
        except PermanentProviderError:
            breaker.succeed()  # it answered; what it said is not an outage
            raise
        except BaseException as error:
            if isinstance(error, TransientProviderError) and not isinstance(error, NotAsked):
                breaker.fail(str(error))
            else:
                breaker.forget_trial()
            raise
        breaker.succeed()
        return result

    def _left_alone(self, wait: float, reason: str) -> NotAsked:
        text = f"{self._errors.label} is not asked after repeated failures"
        # Or all that remains to be read of the trouble would be that it was there before.
        last = f" (the last: {reason})" if reason else ""
        return NotAsked(f"{text}{last}; the next try is in {wait:.0f} s", retry_after=wait)

    def _get_with_waits(self, request: Request[T]) -> T:
        for attempt in range(1, self._waits + 1):
            try:
                return self._attempt(request, attempt)
            except TransientProviderError as error:
                if error.retry_after is None or not self._fits(error.retry_after):
                    raise
                if isinstance(error, NotAsked) or error.retry_after > LONGEST_HOLD_SECONDS:
                    raise
        return self._attempt(request, self._waits + 1)

    def _attempt(self, request: Request[T], attempt: int) -> T:
        self._wait_for_turn()
        started = time.monotonic()
        outcome, status, said = "crashed", None, ""
        try:
            answer = self._send(request)
            status = answer.status
            result = self._read(answer, request.decode)
            outcome = "ok"
            return result
        except CallFailed as failure:
            outcome, said = failure.outcome, str(failure.error)
            status = failure.error.status or status
            self._leave_alone(failure.error)
            raise failure.error from failure.__cause__
        except RunStopped:
            outcome = "stopped"
            raise
        finally:
            self._report(request.path, outcome, status, time.monotonic() - started, attempt, said)

    def _send(self, request: Request[T]) -> HttpAnswer:
        remaining = self._remaining_seconds()
        return self._exchange.get(
            self.base_url + request.target(),
            headers=self._headers,
            seconds=self._limits.total_seconds if remaining is None else max(remaining, 0.05),
            stop=self._context.stop,
            max_bytes=request.max_bytes or self._limits.max_bytes,
        )

    def _read(self, answer: HttpAnswer, decode: Callable[[bytes], T]) -> T:
        now = self._context.clock()
        if failure := self._errors.refusal(answer, now):
            raise failure
        body = answer.body.removeprefix(_BOM)
        self._refuse_what_is_not_json(answer.status, body)
        try:
            return decode(body)
        except msgspec.ValidationError as error:
            failure = self._errors.note_in_place(answer, now)
            raise failure or self._nonsense(f"sent JSON of another shape: {error}") from error
        except msgspec.DecodeError as error:
            raise self._garbled(f"sent JSON that cannot be read: {error}") from error
        except RecursionError as error:
            raise self._nonsense("sent JSON that is nested too deeply") from error
        finally:
            self._warn_of_odd_type(answer)

    def _warn_of_odd_type(self, answer: HttpAnswer) -> None:
        kind = answer.headers.get("content-type", "")
        if "json" not in kind.lower():
            fields = {"provider": self.provider, "content_type": self._errors.clean(kind)}
            logger.warning("provider answer not labelled as JSON", extra=fields)

    def _refuse_what_is_not_json(self, status: int, body: bytes) -> None:
        start = body[:256].lstrip()
        if not start:
            raise self._garbled("sent an empty body")
        if start.startswith(b"<"):
            raise self._garbled(f"sent HTML instead of JSON (HTTP {status})")
        try:
            body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._garbled("sent text that is not UTF-8") from error

    def _garbled(self, what: str) -> CallFailed:
        error = TransientProviderError(f"{self._errors.label} {self._errors.clean(what)}")
        return CallFailed("bad_body", error)

    def _nonsense(self, what: str) -> CallFailed:
        error = PermanentProviderError(f"{self._errors.label} {self._errors.clean(what)}")
        return CallFailed("bad_body", error)

    def _leave_alone(self, error: ProviderError) -> None:
        if isinstance(error, TransientProviderError) and error.retry_after:
            self._channel.budget.hold(error.retry_after)

    def _wait_for_turn(self) -> None:
        self._wait(0)
        budget = self._channel.budget
        turn = budget.reserve(self._per_minute)
        try:
            while wait := max(budget.seconds_until(turn), self._hold_seconds()):
                self._wait(wait)
        except BaseException:
            budget.give_back(turn)
            raise

    def _hold_seconds(self) -> float:
        hold = self._channel.budget.hold_seconds()
        if hold and not self._waits:
            raise NotAsked(
                f"{self._errors.label} asked not to be called for another {hold:.0f} s",
                retry_after=hold,
            )
        return hold

    def _wait(self, seconds: float) -> None:
        if not self._fits(seconds):
            raise self._too_late(seconds)
        if self._context.stop.wait(seconds):
            raise RunStopped("cancelled", f"Stopped while waiting to ask {self._errors.label}.")

    def _too_late(self, seconds: float) -> NotAsked:
        label = self._errors.label
        if not seconds:
            return NotAsked(f"The run's time is over; {label} was not asked")
        return NotAsked(
            f"{label} may be asked again in {seconds:.0f} s at the earliest "
            f"(budget: {self._per_minute} requests a minute), too late for this run",
            retry_after=seconds,
        )

    def _fits(self, seconds: float) -> bool:
        remaining = self._remaining_seconds()
        return remaining is None or seconds < remaining

    def _remaining_seconds(self) -> float | None:
        deadline = self._context.deadline_at
        return None if deadline is None else (deadline - self._context.clock()).total_seconds()

    def _report(
        self, path: str, outcome: str, status: int | None, seconds: float, attempt: int, said: str
    ) -> None:
        with self._counting:
            self._context.on_call(outcome, seconds)
        fields = {
            "provider": self.provider,
            "path": path,
            "outcome": outcome,
            "status": status,
            "duration_ms": round(seconds * 1000, 1),
            "attempt": attempt,
        }
        if said:
            logger.warning("provider call failed", extra={**fields, "error": said})
        else:
            logger.info("provider call finished", extra=fields)

"""One HTTP exchange with a provider: a request, a bounded answer, and an end in any case."""

import ssl
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    IncompleteRead,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from app.errors import (
    PermanentProviderError,
    ProviderError,
    RunStopped,
    TransientProviderError,
)
from app.providers.http_guard import Guard, PlainPool, TlsPool

CHUNK_BYTES = 65_536
ERROR_BODY_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How long one attempt may take, in seconds, and how many bytes its decoded body may have.

    `total_seconds` bounds the attempt from first to last byte. A name lookup is the one thing the
    operating system does not let us cut short.
    """

    connect_seconds: float = 3
    read_seconds: float = 5
    total_seconds: float = 20
    max_bytes: int = 5_000_000


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back; header names are in lower case, the body is decoded from gzip."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class CallFailed(Exception):
    """One attempt failed: the `outcome` for the counters, and the `error` to raise."""

    def __init__(self, outcome: str, error: ProviderError) -> None:
        super().__init__(str(error))
        self.outcome = outcome
        self.error = error


class HttpExchange:
    """Sends GET requests; no redirects, no retries, no proxies from the environment.

    `label` is the provider's name as people know it; every failure is a sentence that starts with
    it. Certificates are always verified.
    """

    def __init__(self, label: str, limits: CallLimits, *, connections: int) -> None:
        self.label = label
        self.limits = limits
        self._pool = urllib3.PoolManager(num_pools=2, maxsize=connections)
        self._pool.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._pool.clear()

    def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        seconds: float,
        stop: threading.Event,
        max_bytes: int,
    ) -> HttpAnswer:
        """The answer to one GET, over within `seconds`; raises CallFailed or RunStopped."""
        seconds = min(seconds, self.limits.total_seconds)
        with Guard(seconds, stop) as guard:
            try:
                answer = self._send(url, headers, seconds, max_bytes)
            except (HTTPError, OSError, zlib.error, CallFailed) as error:
                self._raise_if_ended(guard, seconds)
                raise self._explain(error) from error
            self._raise_if_ended(guard, seconds)
            return answer

    def _send(
        self, url: str, headers: Mapping[str, str], seconds: float, max_bytes: int
    ) -> HttpAnswer:
        with self._response(url, headers, seconds) as response:
            names = {name.lower(): value for name, value in response.headers.items()}
            return HttpAnswer(response.status, names, self._body(response, max_bytes))

    @contextmanager
    def _response(
        self, url: str, headers: Mapping[str, str], seconds: float
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        timeout = urllib3.Timeout(
            connect=min(self.limits.connect_seconds, seconds),
            read=min(self.limits.read_seconds, seconds),
        )
        response = self._pool.request(
            "GET",
            url,
            headers=headers,
            timeout=timeout,
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        try:
            yield response
        finally:
            # A body read to its end has already given its connection back to the pool.
            response.close()

    def _body(self, response: urllib3.BaseHTTPResponse, max_bytes: int) -> bytes:
        if response.status < 300:
            return self._read(response, max_bytes)
        if response.status < 400:
            return b""
        try:
            return self._read(response, ERROR_BODY_BYTES)
        except (HTTPError, zlib.error, CallFailed):
            return b""  # the status says more than a broken error page

    def _read(self, response: urllib3.BaseHTTPResponse, max_bytes: int) -> bytes:
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise self._broken(f"{self.label} sent its answer in an encoding nobody asked for")
        unpack = _Inflater() if "gzip" in encoding else _Plain()
        pieces, size = [], 0
        while chunk := response.read1(CHUNK_BYTES):
            piece = unpack.feed(chunk, max_bytes - size)
            size += len(piece)
            if size > max_bytes:
                raise self._broken(f"{self.label}'s answer is larger than {max_bytes:,} bytes")
            pieces.append(piece)
        if not unpack.is_complete:
            raise zlib.error("ended early")
        return b"".join(pieces)

    def _broken(self, message: str) -> CallFailed:
        return CallFailed("bad_body", PermanentProviderError(message))

    def _raise_if_ended(self, guard: Guard, seconds: float) -> None:
        if guard.ended_by == "stop":
            raise RunStopped("cancelled", f"Stopped while waiting for {self.label}.")
        if guard.ended_by == "deadline":
            raise self._transient("timeout", f"{self.label} did not answer within {seconds:.3g} s")

    def _transient(self, outcome: str, message: str) -> CallFailed:
        return CallFailed(outcome, TransientProviderError(message))

    def _explain(self, error: Exception) -> CallFailed:
        if isinstance(error, CallFailed):
            return error
        label, limits = self.label, self.limits
        match error:
            case NameResolutionError():
                return self._transient("unreachable", f"{label}'s host name could not be resolved")
            case NewConnectionError():
                return self._transient(
                    "unreachable", f"{label} could not be reached ({_os(error)})"
                )
            case ConnectTimeoutError():
                text = f"{label} did not take the connection within {limits.connect_seconds:g} s"
                return self._transient("timeout", text)
            case ReadTimeoutError() | TimeoutError():
                text = f"{label} was silent for {limits.read_seconds:g} s"
                return self._transient("timeout", text)
            case SSLError():
                return self._explain_tls(error)
            case zlib.error():
                text = f"{label}'s answer could not be unpacked or ended early"
                return self._transient("bad_body", text)
        return self._explain_break(error)

    def _explain_tls(self, error: SSLError) -> CallFailed:
        cause = next((arg for arg in error.args if isinstance(arg, ssl.SSLError)), None)
        if isinstance(cause, ssl.SSLCertVerificationError):
            text = f"{self.label}'s certificate was not accepted: {cause.verify_message}"
            return CallFailed("unreachable", PermanentProviderError(text))
        return self._transient("unreachable", f"{self.label} broke off the TLS handshake")

    def _explain_break(self, error: Exception) -> CallFailed:
        cut = next((arg for arg in (error, *error.args) if isinstance(arg, IncompleteRead)), None)
        if cut is None or not isinstance(cut.partial, int) or not isinstance(cut.expected, int):
            return self._transient("bad_body", f"{self.label} broke the connection off")
        read, total = cut.partial, cut.partial + cut.expected
        text = f"{self.label}'s answer ended after {read:,} of {total:,} bytes"
        return self._transient("bad_body", text)


class _Plain:
    is_complete = True

    def feed(self, data: bytes, room: int) -> bytes:
        return data


class _Inflater:
    """Unpacks gzip a piece at a time, never more than one byte beyond the room there is."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)

    @property
    def is_complete(self) -> bool:
        return self._member.eof

    def feed(self, data: bytes, room: int) -> bytes:
        out = b""
        while data and len(out) <= room:
            if self._member.eof:
                self._member = zlib.decompressobj(wbits=31)
            out += self._member.decompress(data, room + 1 - len(out))
            data = self._member.unused_data if self._member.eof else b""
        return out


def _os(error: Exception) -> str:
    cause = error.__cause__
    return (cause.strerror if isinstance(cause, OSError) else None) or "no connection"

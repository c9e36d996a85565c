"""Sending one body to the receiver: checked address, no redirect, no proxy, an end in any case."""

import hashlib
import ssl
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit
from uuid import UUID

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError
from urllib3.exceptions import SSLError as TlsError

from app.alerts.addresses import (
    AddressRefused,
    Destination,
    NameNotFound,
    Reach,
    read_destination,
    resolve,
)
from app.alerts.alertmanager import is_alertmanager
from app.alerts.bodies import ALERTMANAGER, ALERTMANAGER_API, CONTENT_TYPE
from app.alerts.rules import Severity
from app.alerts.signature import signed_headers
from app.logs import register_secret
from app.providers.http_errors import retry_after_seconds
from app.providers.http_guard import Guard, PlainPool, TlsPool
from app.settings import Settings, is_loopback
from app.settings_values import webhook_keys

TIMEOUT_SECONDS = 10.0
CONNECT_SECONDS = 5.0
REPLY_BYTES = 65_536
REPLY_READS = 8
SHORTEST_SECRET_PART = 12


class Outcome(StrEnum):
    """What became of one try."""

    SENDING = "sending"
    DELIVERED = "delivered"
    REDIRECTED = "redirected"
    GONE = "gone"
    RATE_LIMITED = "rate_limited"
    REFUSED = "refused"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    ADDRESS_REFUSED = "address_refused"
    NOT_BUILT = "not_built"


@dataclass(frozen=True, slots=True)
class Reply:
    """How one try went: never the receiver's own words. `retry_after` is in seconds."""

    outcome: Outcome
    detail: str
    latency_ms: int
    status: int | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """The receiver of alerts, as the settings name it; shows no more of it than its host."""

    url: str = field(repr=False)
    format_name: str = "standard"
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    reach: Reach = field(default_factory=Reach)
    min_severity: Severity = Severity.WARNING
    dashboard_url: str = ""

    @property
    def fingerprint(self) -> str:
        """What tells receivers apart without telling their address."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:24]

    @property
    def body_format(self) -> str:
        """The name in `FORMATS`: Alertmanager's own address takes another body than receivers."""
        if self.format_name == ALERTMANAGER and is_alertmanager(self.url):
            return ALERTMANAGER_API
        return self.format_name

    @property
    def host(self) -> str:
        """The host's name."""
        return urlsplit(self.url).hostname or ""

    def send(
        self,
        delivery_id: UUID,
        body: bytes,
        *,
        at: datetime,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> Reply:
        """Post the body once; over within `timeout_seconds`, and never raises for the network."""
        started = time.monotonic()
        status, retry_after = None, None
        try:
            destination = read_destination(self.url)
            ip = resolve(destination, reach=self.reach, seconds=timeout_seconds)
            left = max(0.1, timeout_seconds - (time.monotonic() - started))
            headers = signed_headers(delivery_id, body, at=at, keys=self.keys)
            status, retry_after = _post(destination, ip, body, headers, left, at)
            outcome, detail = judge_status(status)
        except AddressRefused as error:
            outcome, detail = Outcome.ADDRESS_REFUSED, str(error)
        except NameNotFound as error:
            outcome, detail = Outcome.UNREACHABLE, str(error)
        except (HTTPError, OSError) as error:
            outcome, detail = explain(error)
        latency_ms = round((time.monotonic() - started) * 1000)
        return Reply(outcome, detail, latency_ms, status, retry_after)


def webhook_of(settings: Settings) -> Webhook | None:
    """The receiver that the settings name, None where they name none."""
    if settings.alert_webhook_url is None:
        return None
    url = settings.alert_webhook_url.get_secret_value()
    _hide_parts(url, settings)
    return Webhook(
        url=url,
        format_name=settings.alert_webhook_format,
        keys=webhook_keys(settings.alert_webhook_secret),
        reach=Reach(
            private=settings.alert_allow_private_targets, loopback=is_loopback(settings.host)
        ),
        min_severity=Severity(settings.alert_min_severity),
        dashboard_url=settings.alert_dashboard_url,
    )


def judge_status(status: int) -> tuple[Outcome, str]:
    """What a status means, in a word and a sentence."""
    answered = f"The receiver answered {status}"
    if 200 <= status < 300:
        return Outcome.DELIVERED, f"{answered}."
    if 300 <= status < 400:
        return Outcome.REDIRECTED, f"{answered}, a redirect, which is not followed."
    if status == 410:
        return Outcome.GONE, f"{answered}: it wants no more."
    if status == 429:
        return Outcome.RATE_LIMITED, f"{answered}: too many requests."
    if status >= 500:
        return Outcome.SERVER_ERROR, f"{answered}, an error of its own."
    return Outcome.REFUSED, f"{answered} and took nothing."


def explain(error: Exception) -> tuple[Outcome, str]:
    """What a failure of the network means; its own text would hold the address."""
    match error:
        case NewConnectionError():  # in urllib3 this too is a connection's timeout
            return Outcome.UNREACHABLE, "The receiver takes no connection."
        case ConnectTimeoutError() | ReadTimeoutError() | TimeoutError():
            return Outcome.TIMEOUT, "The receiver did not answer in time."
        case TlsError() | ssl.SSLError():
            return Outcome.UNREACHABLE, "The receiver's certificate or TLS was not accepted."
    return Outcome.UNREACHABLE, "The receiver broke the connection off."


def _post(
    destination: Destination,
    ip: str,
    body: bytes,
    headers: dict[str, str],
    seconds: float,
    at: datetime,
) -> tuple[int, float | None]:
    """The status and what Retry-After asks for; connects to `ip` and nowhere else."""
    complete = headers | {
        "Host": destination.host_header,
        "Content-Type": CONTENT_TYPE,
        "User-Agent": "Tapedeck",
    }
    pool = _pool(destination, ip)
    with Guard(seconds, threading.Event()) as guard:
        try:
            response = pool.urlopen(
                "POST",
                destination.target,
                body=body,
                headers=complete,
                timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, seconds), read=seconds),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                names = {name.lower(): value for name, value in response.headers.items()}
                _drain(response)
                return response.status, retry_after_seconds(names, at)
            finally:
                response.close()
        except (HTTPError, OSError) as error:
            if guard.ended_by == "deadline":
                raise TimeoutError("ended at the deadline") from error
            raise
        finally:
            pool.close()


def _pool(destination: Destination, ip: str) -> urllib3.HTTPConnectionPool:
    """One connection to the checked address; the certificate must still be the host's."""
    if destination.scheme == "http":
        return PlainPool(ip, destination.port)
    name = destination.host
    return TlsPool(ip, destination.port, server_hostname=name, assert_hostname=name)


def _drain(response: urllib3.BaseHTTPResponse) -> None:
    """Take a little of the reply and drop it, so that the receiver can end in peace."""
    size = 0
    try:
        for _ in range(REPLY_READS):
            piece = response.read1(REPLY_BYTES - size)
            size += len(piece)
            if not piece or size >= REPLY_BYTES:
                return
    except (HTTPError, OSError):
        return  # the status has said it all


def _hide_parts(url: str, settings: Settings) -> None:
    """Mask what may be secret in the address by itself, not only as a whole."""
    parts = urlsplit(url)
    for part in (*parts.path.split("/"), parts.query, parts.path):
        if len(part) >= SHORTEST_SECRET_PART:
            register_secret(part)
    secret = settings.alert_webhook_secret
    for text in secret.get_secret_value().split(",") if secret else ():
        register_secret(text)

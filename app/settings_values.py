"""How each kind of setting is read and checked: addresses, tokens, lists, schedules."""

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Annotated
from urllib.parse import urlsplit

from psycopg2 import ProgrammingError
from psycopg2.extensions import make_dsn
from pydantic import AfterValidator, BeforeValidator, SecretStr
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from app.cron import CronSchedule, load_zone
from app.market_list import MarketSelection, parse_markets, parse_pairs
from app.settings_fields import Secret

_NOT_IN_A_HOST = re.compile(r"[\s\[\]/@?#]")
WEBHOOK_SECRET_PREFIX = "whsec_"  # noqa: S105 - what every such secret begins with
_HOST_NAME = re.compile(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")


def _parsed_by(parse: Callable[[str], object]) -> BeforeValidator:
    """Read text with `parse`; anything else passes to be judged by its type."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def _database_url(value: SecretStr | None) -> SecretStr | None:
    """Rewrite the usual spellings of a PostgreSQL address to the driver's, options kept."""
    if value is None:
        return None
    try:
        url = make_url(value.get_secret_value().strip())
    except (ArgumentError, ValueError):
        raise ValueError("not a database address") from None
    if url.drivername not in ("postgres", "postgresql", "postgresql+psycopg2"):
        raise ValueError("not PostgreSQL")
    if _NOT_IN_A_HOST.search(url.host or ""):
        raise ValueError("not a host")
    _check_parameters(url.query)
    url = url.set(drivername="postgresql+psycopg2")
    return SecretStr(url.render_as_string(hide_password=False))


def _check_parameters(query: Mapping[str, object]) -> None:
    for name in query:
        try:
            make_dsn(**{name: ""})
        except ProgrammingError:
            raise ValueError("not a parameter of a connection") from None


def _redis_url(value: SecretStr | None) -> SecretStr | None:
    parts = urlsplit(value.get_secret_value()) if value else None
    if parts and (parts.scheme not in ("redis", "rediss", "unix") or parts.port == 0):
        raise ValueError("not a Redis address")
    return value


def _http_url(value: SecretStr | None) -> SecretStr | None:
    parts = urlsplit(value.get_secret_value()) if value else None
    if parts and (parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0):
        raise ValueError("not an http(s) address")
    return value


def _webhook_url(value: SecretStr | None) -> SecretStr | None:
    parts = urlsplit(value.get_secret_value()) if value else None
    if parts and "@" in parts.netloc:
        raise ValueError("it holds a user")
    return _http_url(value)


def _public_url(text: str) -> str:
    parts = urlsplit(text.strip())
    if not text.strip():
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("not an http(s) address")
    if "@" in parts.netloc or parts.query or parts.fragment or not text.isprintable():
        raise ValueError("more than an address")
    return text.strip().rstrip("/")


def webhook_keys(value: SecretStr | None) -> tuple[bytes, ...]:
    """The keys in a webhook secret, in order; `ValueError` where it holds none."""
    parts = value.get_secret_value().split(",") if value else []
    return tuple(_webhook_key(part.strip()) for part in parts)


def _webhook_key(text: str) -> bytes:
    if not text.startswith(WEBHOOK_SECRET_PREFIX):
        raise ValueError(f"not {WEBHOOK_SECRET_PREFIX}…")
    key = base64.b64decode(text.removeprefix(WEBHOOK_SECRET_PREFIX), validate=True)
    if not 24 <= len(key) <= 64:
        raise ValueError("not 24 to 64 bytes")
    return key


def _webhook_secret(value: SecretStr | None) -> SecretStr | None:
    if len(webhook_keys(value)) > 2:
        raise ValueError("more than two secrets")
    return value


def _bearer_token(value: SecretStr | None) -> SecretStr | None:
    """Accept only what an Authorization header can carry."""
    text = value.get_secret_value() if value else ""
    if any(not "!" <= character <= "~" for character in text):
        raise ValueError("not visible ASCII characters")
    return value


def at_least(length: int) -> AfterValidator:
    """Refuse a secret of fewer characters."""

    def check(value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < length:
            raise ValueError(f"shorter than {length} characters")
        return value

    return AfterValidator(check)


def _host_names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            raise ValueError(f"{name[:40]!r} is not a host name")
    return names


def _host(text: str) -> str:
    host = text.strip().strip("[]")
    if host != "localhost":
        ipaddress.ip_address(host)
    return host


def _time_zone(text: str) -> str:
    load_zone(text.strip())
    return text.strip()


def _cron_expression(text: str) -> str:
    return CronSchedule(text).expression


DatabaseUrl = Annotated[SecretStr | None, AfterValidator(_database_url)]
RedisUrl = Annotated[Secret, AfterValidator(_redis_url)]
WebhookUrl = Annotated[Secret, AfterValidator(_webhook_url)]
WebhookSecret = Annotated[Secret, AfterValidator(_webhook_secret)]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
BearerToken = Annotated[Secret, AfterValidator(_bearer_token)]
Markets = Annotated[MarketSelection, _parsed_by(parse_markets)]
Pairs = Annotated[tuple[tuple[str, str], ...] | None, _parsed_by(parse_pairs)]
HostNames = Annotated[tuple[str, ...], _parsed_by(_host_names)]
Host = Annotated[str, AfterValidator(_host)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
CronExpression = Annotated[str, AfterValidator(_cron_expression)]
Lowered = _parsed_by(lambda text: text.strip().lower())

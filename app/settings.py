"""Every environment variable: typed, validated once, frozen, secrets masked."""

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from app.cron import CronSchedule
from app.market_list import MarketSelection, parse_markets, parse_pairs

SYNTAX = "allowed"
Severity = Literal["info", "warning", "critical"]


def variable(default: Any, about: str, allowed: str, **limits: Any) -> Any:
    """A settings field: what it is for and, in words for an error, which values it takes."""
    return Field(default, description=about, json_schema_extra={SYNTAX: allowed}, **limits)


def _http_url(value: SecretStr | None) -> SecretStr | None:
    """Accept an absolute http(s) address only."""
    if value is None:
        return None
    parts = urlsplit(value.get_secret_value().strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http(s) address")
    return SecretStr(value.get_secret_value().strip())


def _stripped(value: SecretStr | None) -> SecretStr | None:
    """Drop the newline that a secret read from a file tends to carry."""
    if value is None:
        return None
    return SecretStr(value.get_secret_value().strip()) if value.get_secret_value().strip() else None


Secret = Annotated[SecretStr | None, AfterValidator(_stripped)]
_COMMON = SettingsConfigDict(
    frozen=True,
    extra="ignore",
    env_file=".env",
    env_file_encoding="utf-8",
    env_ignore_empty=True,
    hide_input_in_errors=True,
    validate_default=True,
)


class ProviderSettings(BaseSettings):
    """The base of a provider's own settings; a subclass sets `env_prefix` to its name and `_`."""

    model_config = _COMMON


class Settings(BaseSettings):
    """The settings of the application; one field is one environment variable in upper case."""

    model_config = _COMMON

    # Where data lives
    database_url: Secret = variable(
        None,
        "PostgreSQL 14 or newer. Unset: Tapedeck runs an embedded one under `INSTANCE_PATH`.",
        "postgresql://user:password@host:5432/name",
    )
    redis_url: Secret = variable(
        None,
        "Redis or Valkey for the cache. Unset: the cache lives in the memory of each process.",
        "redis://host:6379/0, rediss://… or unix://…",
    )
    instance_path: Path = variable(
        Path("instance"), "Folder of the embedded database and the generated key.", "a folder"
    )

    # What is collected, and when
    ingestion_provider: str = variable("mock", "Where data comes from.", "a provider's name")
    ingestion_markets: Annotated[MarketSelection, NoDecode] = variable(
        "BTC-USD,ETH-USD,SPX",
        "Markets to follow; `=` pins a provider's id.",
        "symbols joined by commas, such as BTC-USD,ETH-USD=ethereum,SPX, and at most one top:N "
        "(N from 1 to 10000)",
    )
    ingestion_comparisons: Annotated[tuple[tuple[str, str], ...] | None, NoDecode] = variable(
        None,
        "Pairs to compare. Unset: every market against the first.",
        "pairs of two different symbols joined by commas, such as ETH-USD/BTC-USD,SPX/BTC-USD",
    )
    ingestion_cron_expression: str = variable(
        "*/15 * * * *",
        "When the scheduler runs.",
        "five cron fields (minute hour day-of-month month weekday; 0 and 7 are Sunday) or a macro "
        "such as @hourly, for a date that exists",
    )
    ingestion_cron_timezone: str = variable(
        "UTC", "Time zone of the cron expression.", "a zone name such as UTC or Europe/Berlin"
    )
    ingestion_lookback_days: int = variable(
        30,
        "Days of candle history a run keeps complete; 0 fetches none.",
        "0 to 3650",
        ge=0,
        le=3650,
    )
    scheduler_enabled: bool = variable(
        True, "Whether the web processes run the schedule themselves.", "true or false"
    )

    # How a run behaves
    run_deadline_seconds: int = variable(
        600, "A run that takes longer is ended.", "10 to 86400", ge=10, le=86_400
    )
    run_lease_seconds: int = variable(
        60, "A run without a sign of life for so long is dead.", "3 to 3600", ge=3, le=3600
    )
    run_heartbeat_seconds: float = variable(
        15, "How often a run shows a sign of life.", "0.5 to 600", ge=0.5, le=600
    )
    scheduler_poll_seconds: float = variable(
        5, "How often each process looks for a due tick.", "0.5 to 60", ge=0.5, le=60
    )

    # Statistics
    risk_free_rate: float = variable(
        0, "Annual risk-free rate in the Sharpe ratio, 0.05 is 5 %.", "-0.5 to 1", ge=-0.5, le=1
    )
    minimum_acceptable_return: float = variable(
        0, "Annual return below which the Sortino ratio counts a loss.", "-0.5 to 1", ge=-0.5, le=1
    )

    # The cache, alerts and logs
    cache_ttl_seconds: int = variable(
        300, "How long an answer may be served from the cache.", "1 to 86400", ge=1, le=86_400
    )
    alert_webhook_url: Annotated[Secret, AfterValidator(_http_url)] = variable(
        None, "Where alerts are sent. Unset: none are.", "an http(s) address"
    )
    alert_min_severity: Severity = variable(
        "warning", "The least severity that is sent.", "info, warning or critical"
    )
    log_level: Literal["debug", "info", "warning", "error"] = variable(
        "info", "The least level that is logged.", "debug, info, warning or error"
    )
    slow_query_ms: int = variable(
        500, "A query that takes longer is logged.", "1 to 600000", ge=1, le=600_000
    )

    # Doors
    host: str = variable(
        "127.0.0.1",
        "Address to serve at; other than loopback needs SECRET_KEY and OPERATOR_TOKEN.",
        "an IP address of this machine, or localhost",
    )
    port: int = variable(8000, "Port to serve at.", "1 to 65535", ge=1, le=65_535)
    secret_key: Secret = variable(
        None,
        "Signs sessions. Unset: one is made and kept under `INSTANCE_PATH`.",
        "at least 16 characters, the more random the better",
    )
    operator_token: Secret = variable(
        None,
        "Opens pages (asked for once) and the API (as bearer token). Unset: both are open.",
        "at least 8 characters",
    )
    cron_secret: Secret = variable(
        None, "Bearer token of `/api/cron`, and of nothing else. Unset: that door is shut.", "text"
    )
    trusted_hosts: Annotated[tuple[str, ...], NoDecode] = variable(
        "",
        "Host names that requests may name. Unset: on loopback the local names, else any.",
        "host names joined by commas",
    )
    proxy_hops: int = variable(
        0, "How many reverse proxies in front set X-Forwarded-*.", "0 to 5", ge=0, le=5
    )
    web_workers: int = variable(2, "gunicorn worker processes.", "1 to 64", ge=1, le=64)
    web_threads: int = variable(8, "Threads of each worker.", "2 to 64", ge=2, le=64)

    # Patience with the database
    database_connect_timeout_seconds: int = variable(
        3, "How long connecting may take.", "1 to 60", ge=1, le=60
    )
    database_statement_timeout_seconds: float = variable(
        5, "How long a statement of a page or the API may take.", "0.1 to 600", ge=0.1, le=600
    )
    database_run_statement_timeout_seconds: float = variable(
        60, "How long a statement of a run may take.", "1 to 3600", ge=1, le=3600
    )
    database_lock_timeout_seconds: float = variable(
        3, "How long a statement may wait for a lock.", "0.1 to 600", ge=0.1, le=600
    )
    database_idle_timeout_seconds: float = variable(
        30, "How long an open transaction may stay idle.", "1 to 3600", ge=1, le=3600
    )

    @field_validator("log_level", "alert_min_severity", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("ingestion_markets", mode="before")
    @classmethod
    def _parse_markets(cls, value: object) -> object:
        return parse_markets(value) if isinstance(value, str) else value

    @field_validator("ingestion_comparisons", mode="before")
    @classmethod
    def _parse_pairs(cls, value: object) -> object:
        return parse_pairs(value) if isinstance(value, str) else value

    @field_validator("trusted_hosts", mode="before")
    @classmethod
    def _parse_hosts(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(host.strip().lower() for host in value.split(",") if host.strip())

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        try:
            url = make_url(value.get_secret_value())
        except (ArgumentError, ValueError):
            raise ValueError("not a database address") from None
        if url.drivername not in ("postgres", "postgresql", "postgresql+psycopg2"):
            raise ValueError(f"{url.drivername} is not PostgreSQL")
        url = url.set(drivername="postgresql+psycopg2")
        return SecretStr(url.render_as_string(hide_password=False))

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value and urlsplit(value.get_secret_value()).scheme not in ("redis", "rediss", "unix"):
            raise ValueError("not a Redis address")
        return value

    @field_validator("ingestion_cron_timezone")
    @classmethod
    def _check_zone(cls, value: str) -> str:
        try:
            CronSchedule("@hourly", timezone=value)
        except (KeyError, ValueError, OSError):
            raise ValueError("not a known time zone") from None
        return value

    @field_validator("ingestion_cron_expression")
    @classmethod
    def _check_cron(cls, value: str) -> str:
        CronSchedule(value)
        return value

    @field_validator("secret_key")
    @classmethod
    def _check_secret_key(cls, value: SecretStr | None) -> SecretStr | None:
        return _at_least(value, 16)

    @field_validator("operator_token")
    @classmethod
    def _check_operator_token(cls, value: SecretStr | None) -> SecretStr | None:
        return _at_least(value, 8)

    @field_validator("host")
    @classmethod
    def _check_host(cls, value: str) -> str:
        if value != "localhost":
            ipaddress.ip_address(value.strip("[]"))
        return value.strip("[]")

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.run_heartbeat_seconds * 3 > self.run_lease_seconds:
            raise ValueError(
                f"RUN_LEASE_SECONDS is {self.run_lease_seconds}, but must be at least three times "
                f"RUN_HEARTBEAT_SECONDS ({self.run_heartbeat_seconds:g})."
            )
        missing = self.missing_for(self.host)
        if missing:
            raise ValueError(
                f"HOST is {self.host}, which others can reach, so SECRET_KEY and OPERATOR_TOKEN "
                f"must both be set; {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} "
                "not."
            )
        return self

    def missing_for(self, host: str) -> list[str]:
        """The variables without which Tapedeck must not serve at `host`; none for loopback."""
        if is_loopback(host):
            return []
        return [
            name.upper() for name in ("secret_key", "operator_token") if getattr(self, name) is None
        ]

    @property
    def schedule(self) -> CronSchedule:
        """The validated schedule of the ingestion."""
        return CronSchedule(self.ingestion_cron_expression, timezone=self.ingestion_cron_timezone)


def is_loopback(host: str) -> bool:
    """True where only this machine can connect to `host`."""
    if host in ("localhost", "") or host.startswith("unix:"):
        return host != ""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _at_least(value: SecretStr | None, length: int) -> SecretStr | None:
    if value is not None and len(value.get_secret_value()) < length:
        raise ValueError(f"shorter than {length} characters")
    return value

"""Every environment variable: typed, validated once, frozen, secrets masked."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import model_validator

from app.cron import CronSchedule
from app.domain import AssetType
from app.settings_fields import (
    Conflict,
    Derived,
    Secret,
    SettingsConflict,
    SettingsGroup,
    variable,
)
from app.settings_rules import (
    doors_conflict,
    is_loopback,
    lease_conflict,
    pairs_conflict,
    retention_conflict,
)
from app.settings_values import (
    BearerToken,
    CronExpression,
    DatabaseUrl,
    Host,
    HostNames,
    Lowered,
    Markets,
    Pairs,
    PublicUrl,
    RedisUrl,
    TimeZone,
    WebhookSecret,
    WebhookUrl,
    at_least,
)

__all__ = ["Derived", "ProviderSettings", "Secret", "Settings", "is_loopback", "variable"]


class ProviderSettings(SettingsGroup):
    """The base of a provider's own settings; a subclass sets `env_prefix` to its name and `_`."""

    def lacks(self) -> Sequence[str]:
        """What this machine lacks to use the provider, a sentence each; asked of the chosen one."""
        return ()


class Settings(SettingsGroup):
    """The settings of the application; one field is one environment variable in upper case."""

    # Where data lives
    database_url: DatabaseUrl = variable(
        None,
        "PostgreSQL 14 or newer. Unset: Tapedeck runs an embedded one under `INSTANCE_PATH`.",
        "postgresql://user:password@host:5432/name, an @ in the password written as %40, and after "
        "a question mark only parameters that libpq knows",
        shows="address",
    )
    redis_url: RedisUrl = variable(
        None,
        "Redis or Valkey for the cache. Unset: the cache lives in the memory of each process.",
        "redis://host:6379/0, rediss://… or unix://…",
        shows="address",
    )
    instance_path: Path = variable(
        Path("instance"),
        "Folder of the embedded database and of the key that was made.",
        "a folder",
    )

    # What is collected, and when
    ingestion_provider: Annotated[str, Lowered] = variable(
        "mock", "Where data comes from.", "a provider's name"
    )
    ingestion_markets: Markets = variable(
        "BTC-USD,ETH-USD,SPX",
        "Markets to follow; `=` pins a provider's id.",
        "symbols joined by commas, such as BTC-USD,ETH-USD=ethereum,SPX, and at most one top:N "
        "(N from 1 to 10000)",
    )
    ingestion_comparisons: Pairs = variable(
        None,
        "Pairs to compare. Unset: every market against the first.",
        "pairs of two different symbols joined by commas, such as ETH-USD/BTC-USD,SPX/BTC-USD",
    )
    ingestion_cron_expression: CronExpression = variable(
        "*/15 * * * *",
        "When the scheduler runs.",
        "five cron fields (minute hour day-of-month month weekday; 0 and 7 are Sunday) or a macro "
        "such as @hourly, for a date that exists",
    )
    ingestion_cron_timezone: TimeZone = variable(
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
    run_max_attempts: int = variable(
        3,
        "How often a run is begun when its process dies; 1: a dead run is only closed.",
        "1 to 10",
        ge=1,
        le=10,
    )
    run_grace_seconds: int = variable(
        20, "How long a stopping process lets its run finish.", "0 to 600", ge=0, le=600
    )
    scheduler_poll_seconds: float = variable(
        5, "How often each process looks for a due tick.", "0.5 to 60", ge=0.5, le=60
    )

    # How long data is kept (days; 0: for ever)
    retention_snapshot_days: int = variable(
        90,
        "Snapshots. They go by whole months, the newest of a market never.",
        "0 to 36500",
        ge=0,
        le=36_500,
    )
    retention_hourly_days: int = variable(
        Derived(
            lambda values: max(400, values.get("ingestion_lookback_days", 0)),
            "400, or INGESTION_LOOKBACK_DAYS if that is more",
        ),
        "Hourly candles; what statistics and coarser candles are made from.",
        "0, or 32 to 36500 and no fewer than INGESTION_LOOKBACK_DAYS",
        ge=0,
        le=36_500,
    )
    retention_daily_days: int = variable(
        0, "Daily candles; the newest of a market always stays.", "0 to 36500", ge=0, le=36_500
    )
    retention_weekly_days: int = variable(
        0, "Weekly candles; the newest of a market always stays.", "0 to 36500", ge=0, le=36_500
    )
    retention_comparison_days: int = variable(
        90, "Comparisons; the newest of a pair always stays.", "0 to 36500", ge=0, le=36_500
    )
    retention_statistic_days: int = variable(
        90, "ROI statistics; the newest of each window always stays.", "0 to 36500", ge=0, le=36_500
    )
    retention_run_days: int = variable(
        365,
        "Runs with their stages and log lines, ticks of the schedule, figures of the page of "
        "metrics, and alerts that are over.",
        "0 to 36500",
        ge=0,
        le=36_500,
    )
    retention_rejected_days: int = variable(
        30, "Rejected rows with their raw text.", "0 to 36500", ge=0, le=36_500
    )

    # Statistics
    risk_free_rate: float = variable(
        0, "Annual risk-free rate in the Sharpe ratio, 0.05 is 5 %.", "-0.5 to 1", ge=-0.5, le=1
    )
    minimum_acceptable_return: float = variable(
        0, "Annual return below which the Sortino ratio counts a loss.", "-0.5 to 1", ge=-0.5, le=1
    )
    trading_days_crypto: int = variable(
        365, "Days in the year of annual figures, for coins.", "1 to 366", ge=1, le=366
    )
    trading_days_index: int = variable(
        252, "Days in the year of annual figures, for indices.", "1 to 366", ge=1, le=366
    )
    trading_days_equity: int = variable(
        252, "Days in the year of annual figures, for shares.", "1 to 366", ge=1, le=366
    )

    # The cache, alerts and logs
    cache_ttl_seconds: int = variable(
        300, "How long an answer may be served from the cache.", "1 to 86400", ge=1, le=86_400
    )
    cache_lag_ms: int = variable(
        25,
        "Milliseconds that an answer may be behind a commit of another process. 0: every request "
        "asks PostgreSQL whether there is new data.",
        "0 to 1000",
        ge=0,
        le=1000,
    )
    alert_webhook_url: WebhookUrl = variable(
        None,
        "Address that alerts are sent to. Unset: they are shown, but sent nowhere.",
        "an https address without user and password (http only on this machine, or with "
        "ALERT_ALLOW_PRIVATE_TARGETS)",
        shows="host",
    )
    alert_webhook_format: Annotated[Literal["standard", "slack", "alertmanager"], Lowered] = (
        variable(
            "standard",
            "What the body looks like: Tapedeck's own, or as receivers for Slack's or "
            "Alertmanager's webhooks take it.",
            "standard, slack or alertmanager",
        )
    )
    alert_webhook_secret: WebhookSecret = variable(
        None,
        "Signs what is sent (Standard Webhooks). Unset: it is sent unsigned.",
        "whsec_ and 24 to 64 random bytes in base64; two joined by a comma while one replaces "
        "the other",
    )
    alert_min_severity: Annotated[Literal["info", "warning", "critical"], Lowered] = variable(
        "warning", "The least severity to send.", "info, warning or critical"
    )
    alert_dashboard_url: PublicUrl = variable(
        "",
        "Where people reach this dashboard; links in alerts start with it. Unset: no links.",
        "an http(s) address without user, query and fragment",
    )
    alert_allow_private_targets: bool = variable(
        False,
        "Whether alerts may go to private addresses and over http. A dashboard that only its own "
        "machine can reach may send to that machine in any case.",
        "true or false",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Lowered] = variable(
        "info", "The least level that is logged.", "debug, info, warning or error"
    )
    slow_query_ms: int = variable(
        500, "A query that takes longer is logged.", "1 to 600000", ge=1, le=600_000
    )

    # Doors
    host: Host = variable(
        "127.0.0.1",
        "Address to serve at; other than loopback needs SECRET_KEY and OPERATOR_TOKEN.",
        "an IP address of this machine, or localhost",
    )
    port: int = variable(8000, "Port to serve at.", "1 to 65535", ge=1, le=65_535)
    secret_key: Annotated[Secret, at_least(16)] = variable(
        None,
        "Signs sessions. Unset: one is made and kept under `INSTANCE_PATH`.",
        "at least 16 characters, the more random the better",
    )
    operator_token: Annotated[BearerToken, at_least(8)] = variable(
        None,
        "Opens pages (asked for once) and the API (as bearer token). Unset: both are open.",
        "at least 8 visible ASCII characters",
    )
    cron_secret: BearerToken = variable(
        None,
        "Bearer token of `/api/cron`, and of nothing else. Unset: that door is shut.",
        "visible ASCII characters, best 32 or more random ones",
    )
    badge_public: bool = variable(
        False,
        "Whether the badge with the data's state in one word (`/badge.svg`, `/badge.json`) is open "
        "to everybody, though `OPERATOR_TOKEN` is set.",
        "true or false",
    )
    trusted_hosts: HostNames = variable(
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

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        conflicts = [conflict for conflict in self._found_together() if conflict]
        if conflicts:
            raise SettingsConflict(conflicts)
        return self

    def _found_together(self) -> Iterator[Conflict | None]:
        yield lease_conflict(
            lease_seconds=self.run_lease_seconds, heartbeat_seconds=self.run_heartbeat_seconds
        )
        yield doors_conflict(self.host, missing=self.missing_for(self.host))
        yield pairs_conflict(self.ingestion_comparisons or (), followed=self.ingestion_markets)
        yield retention_conflict(
            hourly_days=self.retention_hourly_days, lookback_days=self.ingestion_lookback_days
        )

    def missing_for(self, host: str) -> list[str]:
        """The variables without which Tapedeck must not serve at `host`; none for loopback."""
        if is_loopback(host):
            return []
        return [
            name.upper() for name in ("secret_key", "operator_token") if getattr(self, name) is None
        ]

    @property
    def days_per_year(self) -> Mapping[AssetType, int]:
        """The days in the year of annual figures by what a market prices."""
        return {
            AssetType.CRYPTO: self.trading_days_crypto,
            AssetType.INDEX: self.trading_days_index,
            AssetType.EQUITY: self.trading_days_equity,
        }

    @property
    def schedule(self) -> CronSchedule:
        """The validated schedule of the ingestion."""
        return CronSchedule(self.ingestion_cron_expression, timezone=self.ingestion_cron_timezone)

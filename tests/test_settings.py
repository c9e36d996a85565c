"""Settings: what is read from where, what is refused and in which words, what stays hidden."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError, model_validator
from pydantic_settings import SettingsConfigDict
from sqlalchemy.engine import make_url

from app.errors import SettingsError
from app.market_list import parse_markets
from app.settings import Derived, ProviderSettings, Secret, Settings, is_loopback, variable
from app.settings_loader import LoadedSettings, load_settings

HIDDEN_TEXTS = ("hunter2", "s3cr3t")
KEYS = {"SECRET_KEY": "s3cr3t-of-the-sessions", "OPERATOR_TOKEN": "s3cr3t-of-the-operator"}


class TapeSettings(ProviderSettings):
    """A provider's settings as an author would write them."""

    model_config = SettingsConfigDict(env_prefix="TAPE_")

    speed: int = variable(1, "How fast.", "1 to 9", ge=1, le=9)
    limit: int = variable(
        Derived(lambda earlier: earlier["speed"] * 10, "ten times TAPE_SPEED"),
        "How much.",
        "a number",
    )
    key: Secret = variable(None, "The key.", "a key")
    base_url: str = variable("https://tape.example", "Where.", "an address")

    @model_validator(mode="after")
    def _check_together(self) -> "TapeSettings":
        if self.speed == 9 and self.key is None:
            raise ValueError("TAPE_SPEED is 9, which needs TAPE_KEY.")
        return self


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name not in ("PATH", "HOME", "TMPDIR", "PYTEST_CURRENT_TEST"):
            monkeypatch.delenv(name)


def load(
    monkeypatch: pytest.MonkeyPatch,
    env_file: Path | None = None,
    groups: Mapping[str, type[ProviderSettings]] | None = None,
    **environment: str,
) -> LoadedSettings:
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    return load_settings(groups or {}, env_file=env_file)


def problems(
    monkeypatch: pytest.MonkeyPatch, env_file: Path | None = None, **environment: str
) -> tuple[str, ...]:
    groups = {"mock": ProviderSettings, "tape": TapeSettings}
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, env_file, groups, **environment)
    assert not any(hidden in str(caught.value) for hidden in HIDDEN_TEXTS)
    return caught.value.problems


def revealed(secret: SecretStr | None) -> str:
    assert secret is not None
    return secret.get_secret_value()


def test_without_any_variable_the_documented_defaults_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(monkeypatch)
    settings = loaded.settings
    assert (settings.ingestion_provider, settings.port, settings.host) == (
        "mock",
        8000,
        "127.0.0.1",
    )
    assert settings.ingestion_markets == parse_markets("BTC-USD,ETH-USD,SPX")
    assert settings.ingestion_cron_expression == "*/15 * * * *"
    assert (settings.ingestion_lookback_days, settings.cache_ttl_seconds) == (30, 300)
    assert (settings.alert_min_severity, settings.log_level) == ("warning", "info")
    assert settings.database_url is None
    assert loaded.warnings == ()
    assert set(loaded.origins.values()) == {"default"}


def test_the_environment_wins_over_the_file_and_the_origin_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("PORT=9000\nLOG_LEVEL=debug\n# a comment\nexport WEB_WORKERS='3'\n")
    loaded = load(monkeypatch, env_file, PORT="9001")
    assert (loaded.settings.port, loaded.origin("PORT")) == (9001, "environment")
    assert (loaded.settings.log_level, loaded.origin("LOG_LEVEL")) == ("debug", ".env")
    assert (loaded.settings.web_workers, loaded.origin("WEB_WORKERS")) == (3, ".env")
    assert loaded.origin("HOST") == "default"


def test_a_variable_that_flask_copied_from_the_file_still_came_from_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("PORT=9000\n")
    assert load(monkeypatch, env_file, PORT="9000").origin("PORT") == ".env"


def test_an_empty_variable_means_the_default_even_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("CRON_SECRET=from-the-file\n")
    loaded = load(monkeypatch, env_file, CRON_SECRET="", PORT=" ", REDIS_URL="")
    assert loaded.settings == Settings()
    assert loaded.origin("CRON_SECRET") == "default"


def test_all_problems_are_told_at_once_each_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = problems(
        monkeypatch,
        PORT="abc",
        CACHE_TTL_SECONDS="-5",
        LOG_LEVEL="loud",
        INGESTION_CRON_TIMEZONE="Mars/Olympus",
        TAPE_SPEED="10",
    )
    assert found == (
        "INGESTION_CRON_TIMEZONE is 'Mars/Olympus', but must be a zone name such as UTC or "
        "Europe/Berlin: 'Mars/Olympus' is not a known time zone.",
        "CACHE_TTL_SECONDS is '-5', but must be 1 to 86400.",
        "LOG_LEVEL is 'loud', but must be debug, info, warning or error.",
        "PORT is 'abc', but must be 1 to 65535.",
        "TAPE_SPEED is '10', but must be 1 to 9.",
    )


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("PORT", "0", "PORT is '0', but must be 1 to 65535."),
        ("PORT", "80.5", "PORT is '80.5', but must be"),
        ("RISK_FREE_RATE", "nan", "RISK_FREE_RATE is 'nan', but must be -0.5 to 1."),
        ("RUN_HEARTBEAT_SECONDS", "inf", "RUN_HEARTBEAT_SECONDS is 'inf', but must be 0.5 to 600."),
        ("SCHEDULER_ENABLED", "maybe", "SCHEDULER_ENABLED is 'maybe', but must be true or false."),
        ("HOST", "example.com", "HOST is 'example.com', but must be an IP address"),
        ("TRUSTED_HOSTS", "a.example,http://b", "TRUSTED_HOSTS is 'a.example,http://b', but must"),
        ("DATABASE_URL", "", "DATABASE_URL is empty, but must be postgresql://user:password@host"),
        ("DATABASE_URL", " ", "DATABASE_URL is empty, but must be postgresql://user:password@host"),
        (
            "DATABASE_URL",
            "sqlite:///x.db",
            "DATABASE_URL is 'sqlite:///x.db', but must be postgres",
        ),
        ("REDIS_URL", "localhost:6379", "REDIS_URL is (hidden), but must be redis://host:6379/0"),
        ("REDIS_URL", "redis://h:99999", "REDIS_URL is (hidden), but must be redis://host:6379/0"),
        ("ALERT_WEBHOOK_URL", "javascript:alert(1)", "ALERT_WEBHOOK_URL is (hidden), but must be"),
        ("ALERT_WEBHOOK_URL", "https://[", "ALERT_WEBHOOK_URL is (hidden), but must be an http"),
        ("INGESTION_PROVIDER", "tap", "INGESTION_PROVIDER is 'tap', but must be mock or tape."),
        ("INGESTION_MARKETS", "BTC USD", "'BTC USD' is not a market symbol."),
        ("INGESTION_COMPARISONS", "SPX/SPX", "'SPX/SPX' compares a market with itself."),
        (
            "INGESTION_CRON_EXPRESSION",
            "0 0 31 2 *",
            "for a date that exists: no such date ever comes.",
        ),
        ("INGESTION_CRON_EXPRESSION", "* * * *", "it has 4 fields instead of 5."),
        ("SECRET_KEY", "s3cr3t", "SECRET_KEY is (hidden), but must be at least 16 characters"),
        ("OPERATOR_TOKEN", "s3cr3t", "OPERATOR_TOKEN is (hidden), but must be at least 8 visible"),
        ("OPERATOR_TOKEN", "s3cr3t mit ü", "OPERATOR_TOKEN is (hidden), but must be at least 8"),
        ("CRON_SECRET", "s3cr3t with blank", "CRON_SECRET is (hidden), but must be visible ASCII"),
        ("TAPE_SPEED", "9", "TAPE_SPEED is 9, which needs TAPE_KEY."),
        ("TAPE_BASE_URL", "x" * 500, ""),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: str
) -> None:
    if not expected:
        assert load(monkeypatch, groups={"tape": TapeSettings}, **{name: text})
        return
    found = problems(monkeypatch, **{name: text})
    assert len(found) == 1
    assert expected in found[0]
    assert found[0].startswith(f"{name} is ")
    assert found[0].endswith(".")


@pytest.mark.parametrize(
    "address",
    [
        "mysql://user:hunter2@host/db",
        "postgresql//user:hunter2@host/db",
        "postgresql://user:hunter2@host:port/db",
        "postgresql+asyncpg://user:x@hunter2@host/db?password=hunter2",
        "postgresql://user:x@hunter2@host/db",
        "postgresql:hunter2",
        "hunter2",
        "postgresql ://u:hunter2@h/d",
        "postgresql://user:x@host/db?sslmod=hunter2",
        "postgresql://user:x@host/db?hunter2=require",
        "postgresql://u:hunter2@[h/d",
    ],
)
def test_a_mistyped_database_address_never_shows_its_password(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    found = problems(monkeypatch, DATABASE_URL=address)
    assert len(found) == 1
    assert found[0].startswith("DATABASE_URL is ")
    with pytest.raises(ValidationError) as caught:
        Settings(database_url=SecretStr(address))
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgres://u:p@h/d", "postgresql+psycopg2://u:p@h/d"),
        ("postgresql://u:p@h:5433/d?sslmode=require", "postgresql+psycopg2://u:p@h:5433/d?sslmode=require"),
        ("postgresql+psycopg2://u:a%40b%2Fc@h/d\n", "postgresql+psycopg2://u:a%40b%2Fc@h/d"),
        ("postgresql:///d?host=/run/pg", "postgresql+psycopg2:///d?host=%2Frun%2Fpg"),
    ],
)  # fmt: skip
def test_every_spelling_of_postgresql_becomes_the_drivers_with_its_options(
    monkeypatch: pytest.MonkeyPatch, given: str, expected: str
) -> None:
    assert revealed(load(monkeypatch, DATABASE_URL=given).settings.database_url) == expected


@pytest.mark.parametrize("password", ["hunter2/x", "x#hunter2", "x?hunter2"])
def test_a_password_that_should_have_been_escaped_works_and_stays_hidden(password: str) -> None:
    settings = Settings(database_url=SecretStr(f"postgres://user:{password}@host/db"))
    assert make_url(revealed(settings.database_url)).password == password
    assert str(settings) == (
        "Settings(DATABASE_URL=postgresql+psycopg2://host/db, all else by default)"
    )


def test_secrets_lose_the_newline_of_their_file(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(
        monkeypatch,
        groups={"tape": TapeSettings},
        CRON_SECRET="s3cr3t\n",
        REDIS_URL=" redis://h \r\n",
        TAPE_KEY="s3cr3t\n",
    )
    assert revealed(loaded.settings.cron_secret) == "s3cr3t"
    assert revealed(loaded.settings.redis_url) == "redis://h"
    assert revealed(getattr(loaded.providers["tape"], "key")) == "s3cr3t"  # noqa: B009


def test_no_text_of_the_settings_shows_a_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load(
        monkeypatch,
        groups={"tape": TapeSettings},
        **KEYS,
        DATABASE_URL="postgres://user:hunter2@db.example/tape?password=hunter2",
        REDIS_URL="redis://:hunter2@cache.example:6380/1",
        ALERT_WEBHOOK_URL="https://hooks.example/services/s3cr3t?token=s3cr3t",
        CRON_SECRET="s3cr3t-of-cron",
        TAPE_KEY="s3cr3t",
        TAPE_BASE_URL="https://user:hunter2@tape.example/v1",
    )
    with caplog.at_level(logging.INFO):
        logging.getLogger(__name__).info("settings loaded", extra={"settings": loaded})
    text = f"{loaded!r} {loaded} {loaded.settings} {dict(loaded.providers)} {caplog.text}"
    assert not any(hidden in text for hidden in HIDDEN_TEXTS)
    assert "DATABASE_URL=postgresql+psycopg2://db.example/tape?…" in text
    assert "REDIS_URL=redis://cache.example:6380/1" in text
    assert "ALERT_WEBHOOK_URL=https://hooks.example/…" in text
    assert "TAPE_BASE_URL=https://tape.example/v1" in text


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Settings(), "port", 1)  # noqa: B010


def test_building_settings_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9999")
    assert Settings().port == 8000


def test_a_derived_default_follows_the_field_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(monkeypatch, groups={"tape": TapeSettings}, TAPE_SPEED="3")
    assert getattr(loaded.providers["tape"], "limit") == 30  # noqa: B009


def test_an_unknown_variable_is_a_warning_with_the_likely_meaning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("DATABSE_URL=x\nPOSTGRES_PASSWORD=x\n")
    loaded = load(
        monkeypatch,
        env_file,
        {"tape": TapeSettings},
        INGESTION_MARKET="SPX",
        TAPE_COLOUR="red",
        EDITOR="ed",
    )
    assert loaded.warnings == (
        "DATABSE_URL is not a setting of Tapedeck and is ignored; did you mean DATABASE_URL?",
        "INGESTION_MARKET is not a setting of Tapedeck and is ignored; did you mean "
        "INGESTION_MARKETS?",
        "TAPE_COLOUR is not a setting of Tapedeck and is ignored.",
    )


def test_what_is_allowed_but_unwise_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(monkeypatch, CRON_SECRET="short", ALERT_WEBHOOK_URL="http://hooks.example/x")
    assert [warning.split()[0] for warning in loaded.warnings] == [
        "CRON_SECRET",
        "ALERT_WEBHOOK_URL",
    ]
    assert not load(monkeypatch, CRON_SECRET="x" * 32, ALERT_WEBHOOK_URL="http://[::1]/x").warnings


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"PORT=\xff\xfe", "is not UTF-8 text."), (b"PORT=abc", "PORT is 'abc', but must be")],
)
def test_a_bad_env_file_is_a_problem_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, problem: str
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_bytes(content)
    assert problem in problems(monkeypatch, env_file)[0]


def test_a_line_of_the_file_that_sets_nothing_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("\ufeffPORT=9000\n'unfinished\nNAME\n", "utf-8")
    loaded = load(monkeypatch, env_file)
    assert loaded.settings.port == 9000
    assert loaded.warnings == (f"{env_file} line 2 is not NAME=value and is ignored.",)


def test_another_address_than_loopback_needs_key_and_token(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = (
        "HOST is 0.0.0.0, which others can reach, so SECRET_KEY and OPERATOR_TOKEN must both "
        "be set."
    )
    assert problems(monkeypatch, HOST="0.0.0.0") == (sentence,)
    assert problems(monkeypatch, SECRET_KEY=KEYS["SECRET_KEY"]) == (sentence,)
    assert load(monkeypatch, **KEYS).settings.host == "0.0.0.0"


def test_a_wrong_variable_does_not_hide_what_does_not_go_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = problems(monkeypatch, PORT="abc", HOST="::", RUN_LEASE_SECONDS="20")
    assert [sentence.split()[0] for sentence in found] == ["PORT", "RUN_LEASE_SECONDS", "HOST"]
    found = problems(
        monkeypatch, OPERATOR_TOKEN="x", RUN_LEASE_SECONDS="long", RUN_HEARTBEAT_SECONDS="50"
    )
    assert [sentence.split()[0] for sentence in found] == [
        "RUN_LEASE_SECONDS",
        "PORT",
        "OPERATOR_TOKEN",
        "HOST",
    ]


def test_compared_markets_must_be_followed_unless_top_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (sentence,) = problems(monkeypatch, INGESTION_COMPARISONS="XRP-USD/BTC-USD")
    assert sentence == (
        "INGESTION_COMPARISONS names XRP-USD, but without top:N every compared market must be in "
        "INGESTION_MARKETS."
    )
    settings = load(monkeypatch, INGESTION_MARKETS="top:100").settings
    assert settings.ingestion_comparisons == (("XRP-USD", "BTC-USD"),)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("unix:/run/tapedeck.sock", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.168.1.5", False),
        ("example.com", False),
    ],
)
def test_loopback_is_told_from_every_other_address(host: str, expected: Any) -> None:
    assert is_loopback(host) is expected

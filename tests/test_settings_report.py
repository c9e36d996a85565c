"""The settings told to people: the table, the problems, the documents."""

import pytest
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from app.errors import SettingsError
from app.settings import Derived, ProviderSettings, Secret, Settings, variable
from app.settings_loader import LoadedSettings
from app.settings_report import (
    BEGIN,
    END,
    documented_settings,
    effective_settings,
    format_effective,
    format_problems,
    render_env_example,
    render_markdown,
    replace_tables,
)


class TapeSettings(ProviderSettings):
    """A provider's settings with one of each kind of default."""

    model_config = SettingsConfigDict(env_prefix="TAPE_")

    key: Secret = variable(None, "The key.", "a|b")
    speed: int = variable(2, "How `fast`.", "1 to 9", ge=1, le=9)
    limit: int = variable(Derived(lambda earlier: 5, "5, or 9 by night"), "How much.", "a number")
    colours: str = variable("red, blue", "Which.", "colours")


GROUPS = {"tape": TapeSettings}


def test_effective_settings_show_value_and_origin_but_no_secret() -> None:
    loaded = LoadedSettings(
        settings=Settings(cron_secret=SecretStr("hunter2"), scheduler_enabled=False),
        providers={"tape": TapeSettings(key=SecretStr("hunter2"))},
        origins={"CRON_SECRET": "environment", "SCHEDULER_ENABLED": ".env"},
    )
    shown = {each.variable: (each.value, each.origin) for each in effective_settings(loaded)}
    assert shown["CRON_SECRET"] == ("(hidden)", "environment")
    assert shown["SCHEDULER_ENABLED"] == ("false", ".env")
    assert shown["INGESTION_MARKETS"] == ("BTC-USD,ETH-USD,SPX", "default")
    assert shown["INGESTION_COMPARISONS"] == ("", "default")
    assert shown["TAPE_KEY"] == ("(hidden)", "default")
    assert shown["TAPE_LIMIT"] == ("5", "default")
    assert "hunter2" not in repr(effective_settings(loaded))


def test_pairs_and_hosts_are_shown_as_they_are_written() -> None:
    settings = Settings(
        ingestion_comparisons=(("ETH-USD", "BTC-USD"), ("SPX", "BTC-USD")),
        trusted_hosts=("a.example", "b.example"),
        run_heartbeat_seconds=2.5,
    )
    assert settings.shown("ingestion_comparisons") == "ETH-USD/BTC-USD,SPX/BTC-USD"
    assert settings.shown("trusted_hosts") == "a.example,b.example"
    assert settings.shown("run_heartbeat_seconds") == "2.5"


def test_the_table_is_aligned() -> None:
    lines = format_effective(effective_settings(LoadedSettings(Settings()))).splitlines()
    assert lines[0].split() == ["VARIABLE", "VALUE", "ORIGIN"]
    assert len(lines) == 1 + len(Settings.model_fields)
    assert len({len(line.removesuffix("default").removesuffix("ORIGIN")) for line in lines}) == 1
    assert lines[1].split() == ["DATABASE_URL", "(unset)", "default"]


def test_problems_stand_one_on_a_line() -> None:
    assert format_problems(SettingsError(["A is 1.", "B is 2."])) == (
        "2 settings are wrong:\n  A is 1.\n  B is 2."
    )
    assert format_problems(SettingsError(["A is 1."])).startswith("One setting is wrong:")


def test_every_setting_says_what_it_is_for_and_what_it_takes() -> None:
    for setting in documented_settings(GROUPS):
        assert setting.about.endswith("."), setting
        assert setting.allowed, setting
        assert setting.section, setting


def test_the_tables_hold_defaults_and_escape_the_bar() -> None:
    text = render_markdown(GROUPS)
    assert "### Where data lives" in text
    assert "### Provider tape" in text
    assert "| `PORT` | `8000` | 1 to 65535 | Port to serve at. |" in text
    assert "| `TAPE_KEY` | unset | a\\|b | The key. |" in text
    assert "| `TAPE_LIMIT` | 5, or 9 by night | a number | How much. |" in text


def test_the_example_file_holds_every_default_commented_out() -> None:
    lines = render_env_example(GROUPS).splitlines()
    assert all(line.startswith("#") or not line for line in lines)
    assert "# PORT=8000" in lines
    assert '# INGESTION_CRON_EXPRESSION="*/15 * * * *"' in lines
    assert "# CRON_SECRET=" in lines
    assert "# TAPE_LIMIT=" in lines
    assert '# TAPE_COLOURS="red, blue"' in lines


def test_tables_are_replaced_between_their_marks_only() -> None:
    document = f"Before.\n\n{BEGIN}\nobsolete\n{END}\nAfter.\n"
    once = replace_tables(document, GROUPS)
    assert once.startswith(f"Before.\n\n{BEGIN}\n")
    assert once.endswith(f"{END}\nAfter.\n")
    assert "obsolete" not in once
    assert replace_tables(once, GROUPS) == once
    with pytest.raises(ValueError, match="lacks its marks"):
        replace_tables("no marks", GROUPS)

"""The shell's commands about settings: show what is in force, write their documentation."""

from collections.abc import Mapping
from pathlib import Path

import click

from app.errors import SettingsError
from app.providers.base import provider_classes
from app.settings import ProviderSettings
from app.settings_loader import load_settings
from app.settings_report import (
    effective_settings,
    format_effective,
    format_problems,
    render_env_example,
    replace_tables,
)

WRONG_SETTINGS = 2


@click.command("check-settings")
def check_settings_command() -> None:
    """Show every setting in force and its origin. Exit status 2: one is wrong."""
    try:
        loaded = load_settings(_provider_settings())
    except SettingsError as error:
        click.echo(format_problems(error), err=True)
        raise SystemExit(WRONG_SETTINGS) from None
    click.echo(format_effective(effective_settings(loaded)))
    for warning in loaded.warnings:
        click.echo(f"Warning: {warning}", err=True)


@click.command("write-settings-docs")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="The project's folder.",
)
def write_settings_docs_command(folder: Path) -> None:
    """Write settings.md's tables and .env.example anew. They are made from the code."""
    groups = _provider_settings()
    document = folder / "docs" / "settings.md"
    document.write_text(replace_tables(document.read_text("utf-8"), groups), "utf-8")
    (folder / ".env.example").write_text(render_env_example(groups), "utf-8")


def _provider_settings() -> Mapping[str, type[ProviderSettings]]:
    return {name: provider.Settings for name, provider in provider_classes().items()}

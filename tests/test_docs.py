"""The documents say what the code says: settings, links and files that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.paths import ROOT
from app.providers.base import provider_classes
from app.settings_report import documented_settings, render_env_example, replace_tables

GROUPS = {name: provider.Settings for name, provider in provider_classes().items()}
EVERY_VARIABLE = {setting.variable for setting in documented_settings(GROUPS)}
REWRITE = "run `flask --app wsgi write-settings-docs`"
# Read by the tests, the server or a provider of data, not by the settings.
OTHER_VARIABLES = {"TAPEDECK_RECORDINGS", "PROMETHEUS_MULTIPROC_DIR"}
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_every_setting_is_in_the_settings_document_and_nothing_else() -> None:
    document = read("docs/settings.md")
    assert replace_tables(document, GROUPS) == document, REWRITE
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", document, re.MULTILINE)) >= EVERY_VARIABLE


def test_the_example_file_holds_every_setting_with_its_default_and_nothing_else() -> None:
    example = read(".env.example")
    assert example == render_env_example(GROUPS), REWRITE
    assert set(re.findall(r"^# ([A-Z_]+)=", example, re.MULTILINE)) == EVERY_VARIABLE


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_no_variable_that_does_not_exist(document: Path) -> None:
    prefixes = sorted({name.partition("_")[0] for name in EVERY_VARIABLE if "_" in name})
    named = set(re.findall(rf"`((?:{'|'.join(prefixes)})_[A-Z_]*[A-Z])\b", read_path(document)))
    assert named <= EVERY_VARIABLE | OTHER_VARIABLES


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_of_a_document_leads_to_a_file(document: Path) -> None:
    missing = [link for link in links(document) if not (document.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_project_file_a_document_names_exists(document: Path) -> None:
    folders = "app|deploy|docs|migrations|static|templates|tests"
    named = set(re.findall(rf"`((?:{folders})/[\w./-]*\w)`", read_path(document)))
    assert not {name for name in named if not (ROOT / name).exists()}


def test_every_document_is_reached_from_the_readme() -> None:
    reached = {ROOT / "README.md"}
    for _ in range(3):
        for document in [path for path in reached if path.suffix == ".md"]:
            reached |= {(document.parent / link).resolve() for link in links(document)}
    assert not [path for path in DOCUMENTS if path not in reached]


def links(document: Path) -> Iterator[str]:
    """The relative targets of a document's links and pictures, without their anchors."""
    for target in re.findall(r"\]\(([^)\s]+)\)", read_path(document)):
        path = target.partition("#")[0]
        if path and "://" not in path:
            yield path


def read_path(document: Path) -> str:
    return document.read_text("utf-8")

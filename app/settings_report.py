"""The settings told to people: effective values, documentation, the example file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from app.errors import SettingsError
from app.settings import ProviderSettings, Settings
from app.settings_fields import SettingsGroup, default_text, field_extra
from app.settings_loader import LoadedSettings, Origin

BEGIN = "<!-- settings: written by `flask write-settings-docs` from the code -->"
END = "<!-- end of settings -->"
UNSET = "unset"
# Every section of Tapedeck's own settings by its first field.
_SECTIONS = {
    "database_url": "Where data lives",
    "ingestion_provider": "What is collected, and when",
    "run_deadline_seconds": "How a run behaves",
    "retention_snapshot_days": "How long data is kept, in days (0: for ever)",
    "risk_free_rate": "Statistics",
    "cache_ttl_seconds": "Cache, alerts and logs",
    "host": "Doors",
    "database_connect_timeout_seconds": "Patience with the database",
}
Groups = Mapping[str, type[ProviderSettings]]


@dataclass(frozen=True, slots=True)
class DocumentedSetting:
    """One variable in words.

    An empty `default` means that not being set is the default; with `is_derived` it is a
    description, for it follows from other variables.
    """

    variable: str
    about: str
    allowed: str
    default: str
    is_derived: bool
    section: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveSetting(DocumentedSetting):
    """One variable with its present value, secrets hidden; an empty value is not set."""

    value: str
    origin: Origin


def documented_settings(groups: Groups) -> list[DocumentedSetting]:
    """Every variable of Tapedeck and of the providers by name, in the order of the code."""
    found = list(_documented(Settings, "General", _SECTIONS))
    for name, group in sorted(groups.items()):
        found += _documented(group, f"Provider {name}", {})
    return found


def effective_settings(loaded: LoadedSettings) -> list[EffectiveSetting]:
    """Every variable with the value in force and where it came from, secrets hidden."""
    groups = {name: type(provider) for name, provider in loaded.providers.items()}
    instances: list[SettingsGroup] = [loaded.settings]
    instances += [provider for _, provider in sorted(loaded.providers.items())]
    values = {
        variable: instance.shown(field)
        for instance in instances
        for field, variable in type(instance).variables().items()
    }
    return [
        EffectiveSetting(
            **asdict(each), value=values[each.variable], origin=loaded.origin(each.variable)
        )
        for each in documented_settings(groups)
    ]


def format_effective(settings: Sequence[EffectiveSetting]) -> str:
    """An aligned table of variable, value and origin, one a line."""
    rows = [("VARIABLE", "VALUE", "ORIGIN")]
    rows += [(each.variable, each.value or f"({UNSET})", each.origin) for each in settings]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(
        f"{name:<{first}}  {value:<{second}}  {origin}" for name, value, origin in rows
    )


def format_problems(error: SettingsError) -> str:
    """What stands on the error stream when the settings are wrong: one problem a line."""
    count = len(error.problems)
    heading = "One setting is wrong:" if count == 1 else f"{count} settings are wrong:"
    return "\n".join([heading, *(f"  {problem}" for problem in error.problems)])


def render_markdown(groups: Groups) -> str:
    """The tables of docs/settings.md, one for each section."""
    lines: list[str] = []
    section = ""
    for each in documented_settings(groups):
        if each.section != section:
            section = each.section
            lines += ["", f"### {section}", "", "| variable | default | takes | what it does |"]
            lines += ["| --- | --- | --- | --- |"]
        cells = (f"`{each.variable}`", _markdown_default(each), each.allowed, each.about)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([*lines, ""])


def replace_tables(document: str, groups: Groups) -> str:
    """The document with its tables, between the two marks, rendered anew."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document lacks its marks {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{render_markdown(groups)}\n{END}{after}"


def render_env_example(groups: Groups) -> str:
    """The content of .env.example: every variable with its default, commented out."""
    lines = [
        "# Settings of Tapedeck. Copy this file to .env and take away the # in front of what you",
        "# change. What stands here is the default; the environment wins over .env.",
        "# Written from the code by `flask write-settings-docs`; docs/settings.md says more.",
    ]
    section = ""
    for each in documented_settings(groups):
        if each.section != section:
            section = each.section
            lines += ["", f"# --- {section} ---"]
        lines += ["", f"# {each.about.replace('`', '')}", f"# Takes: {each.allowed}."]
        lines.append(f"# {each.variable}={_env_default(each)}")
    return "\n".join([*lines, ""])


def _documented(
    group: type[SettingsGroup], section: str, sections: Mapping[str, str]
) -> Iterator[DocumentedSetting]:
    for name, variable in group.variables().items():
        section = sections.get(name, section)
        field = group.model_fields[name]
        yield DocumentedSetting(
            variable=variable,
            about=field.description or "",
            allowed=str(field_extra(field).get("allowed", "")),
            default=default_text(field),
            is_derived="default" in field_extra(field),
            section=section,
        )


def _markdown_default(setting: DocumentedSetting) -> str:
    if setting.is_derived:
        return setting.default
    return f"`{setting.default}`" if setting.default else UNSET


def _env_default(setting: DocumentedSetting) -> str:
    if setting.is_derived:
        return ""
    return f'"{setting.default}"' if " " in setting.default else setting.default

"""Reading the settings: the environment and `.env`, every problem at once, origins kept."""

import difflib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import SecretStr, ValidationError

from app.errors import SettingsError
from app.settings import ProviderSettings, Settings, is_loopback
from app.settings_fields import (
    HIDDEN,
    Conflict,
    SettingsConflict,
    SettingsGroup,
    field_extra,
    is_secret,
    show_text,
)

Origin = Literal["environment", ".env", "default"]
Group = TypeVar("Group", bound=SettingsGroup)
NO_GROUPS: Mapping[str, type[ProviderSettings]] = MappingProxyType({})
SHORT_SECRET = 32
# An unknown variable that begins so was most likely meant for Tapedeck.
_OWN_PREFIXES = (
    "ALERT_",
    "CACHE_",
    "CRON_",
    "DATABASE_",
    "INGESTION_",
    "OPERATOR_",
    "RETENTION_",
    "RUN_",
    "SCHEDULER_",
)
# Empty is most often a variable that was meant to be filled in: better no start than data in a
# database that nobody expects.
_NEVER_EMPTY = {"DATABASE_URL"}


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """The validated settings, those of every provider by its name, and where each came from.

    `origins` holds every variable; `warnings` are sentences about what is allowed but unwise.
    """

    settings: Settings
    providers: Mapping[str, ProviderSettings] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict, repr=False)
    warnings: Sequence[str] = ()

    def origin(self, variable: str) -> Origin:
        """Where the value of a variable came from."""
        return self.origins.get(variable, "default")


@dataclass(frozen=True, slots=True)
class _Given:
    """What somebody set: the text by variable name, never shown by accident."""

    texts: Mapping[str, str] = field(repr=False)
    from_file: frozenset[str]
    problems: Sequence[str] = ()
    warnings: Sequence[str] = ()

    def origin(self, variable: str) -> Origin:
        if not self.texts.get(variable, "").strip():
            return "default"
        return ".env" if variable in self.from_file else "environment"


def load_settings(
    groups: Mapping[str, type[ProviderSettings]] = NO_GROUPS,
    *,
    env_file: Path | None = Path(".env"),
) -> LoadedSettings:
    """Read and validate the settings and those of the providers in `groups`, by name.

    The environment wins over `env_file`; an empty variable means the default. Raises
    `SettingsError` with every problem as one sentence, none of which shows a secret.
    """
    given = _read_given(env_file)
    settings, problems = _validate(Settings, given.texts)
    problems += _check_provider(given.texts, groups)
    providers: dict[str, ProviderSettings] = {}
    for name, group in groups.items():
        loaded, found = _validate(group, given.texts)
        problems += found
        if loaded is not None:
            providers[name] = loaded
    if settings is not None and settings.ingestion_provider in providers:
        problems += providers[settings.ingestion_provider].lacks()
    if settings is None or given.problems or problems:
        raise SettingsError([*given.problems, *problems])
    known = _known_variables(groups)
    return LoadedSettings(
        settings=settings,
        providers=MappingProxyType(providers),
        origins=MappingProxyType({variable: given.origin(variable) for variable in known}),
        warnings=(*given.warnings, *_unknown(given, known, groups), *_weak_points(settings)),
    )


def _read_given(env_file: Path | None) -> _Given:
    environment = {name.upper(): text for name, text in sorted(os.environ.items(), reverse=True)}
    if env_file is None or not env_file.is_file():
        return _Given(environment, frozenset())
    try:
        content = env_file.read_text("utf-8-sig")
    except OSError as error:
        problem = f"{env_file} cannot be read: {error.strerror}."
        return _Given(environment, frozenset(), problems=[problem])
    except UnicodeDecodeError:
        return _Given(environment, frozenset(), problems=[f"{env_file} is not UTF-8 text."])
    values = dotenv_values(stream=io.StringIO(content))
    file = {name.upper(): text for name, text in values.items() if text is not None}
    # Flask's own command line copies .env into the environment: the same text came from the file.
    from_file = frozenset(
        name for name, text in file.items() if environment.get(name, text) == text
    )
    return _Given(file | environment, from_file, warnings=_unreadable_lines(env_file, content))


def _unreadable_lines(env_file: Path, content: str) -> list[str]:
    return [
        f"{env_file} line {binding.original.line} is not NAME=value and is ignored."
        for binding in parse_stream(io.StringIO(content))
        if binding.error
    ]


def _validate(group: type[Group], texts: Mapping[str, str]) -> tuple[Group | None, list[str]]:
    """The group built from the texts, or None and one sentence for each problem, in field order."""
    values = _values_for(group, texts)
    try:
        return group(**values), []
    except ValidationError as error:
        problems = _field_problems(group, values, error)
        conflicts = _conflicts(error)
    if problems:
        # What concerns several variables is checked only once each is right: check the rest.
        conflicts = _conflicts_among_rest(group, values, frozenset(problems))
    return None, [*problems.values(), *(conflict.sentence for conflict in conflicts)]


def _values_for(group: type[SettingsGroup], texts: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: texts[variable]
        for name, variable in group.variables().items()
        if variable in texts and (texts[variable].strip() or variable in _NEVER_EMPTY)
    }


def _field_problems(
    group: type[SettingsGroup], values: Mapping[str, Any], error: ValidationError
) -> dict[str, str]:
    problems: dict[str, str] = {}
    for detail in error.errors(include_url=False, include_input=False):
        if not detail["loc"] or detail["type"] == "default_factory_not_called":
            continue
        name = str(detail["loc"][0])
        reason = str(detail.get("ctx", {}).get("error", ""))
        problems.setdefault(name, _sentence(group, name, values.get(name), reason or detail["msg"]))
    order = list(group.model_fields)
    return dict(sorted(problems.items(), key=lambda item: order.index(item[0])))


def _sentence(group: type[SettingsGroup], name: str, text: str | None, reason: str) -> str:
    """One problem in words: the variable, what was given, what is allowed, and why not."""
    description = group.model_fields[name]
    variable = group.variables()[name]
    allowed = field_extra(description).get("allowed")
    if text is not None and not text.strip():
        return f"{variable} is empty, but must be {allowed}; remove it to use the default."
    given = _quoted(text, hidden=is_secret(description), shown=show_text(text or "", description))
    if not allowed:
        return f"{variable} is {given}: {reason}."
    # pydantic's own reasons repeat what is allowed, those about secrets might say too much.
    is_ours = not is_secret(description) and not reason.startswith(("Input ", "Value "))
    return f"{variable} is {given}, but must be {allowed}{f': {reason}' if is_ours else ''}."


def _quoted(text: str | None, *, hidden: bool, shown: str) -> str:
    if text is None:
        return "not set"
    return shown if hidden and shown == HIDDEN else repr(shown)


def _conflicts(error: ValidationError) -> list[Conflict]:
    """What the group's own validators found about several variables at once."""
    found: list[Conflict] = []
    for detail in error.errors(include_url=False, include_input=False):
        raised = detail.get("ctx", {}).get("error")
        if isinstance(raised, SettingsConflict):
            found += raised.conflicts
        elif not detail["loc"]:
            found.append(Conflict((), str(raised or detail["msg"])))
    return found


def _conflicts_among_rest(
    group: type[SettingsGroup], values: Mapping[str, Any], broken: frozenset[str]
) -> list[Conflict]:
    names = group.variables()
    concerned = {names[name] for name in broken}
    try:
        group(**{name: value for name, value in values.items() if name not in broken})
    except ValidationError as error:
        return [each for each in _conflicts(error) if not concerned & set(each.variables)]
    return []


def _check_provider(
    texts: Mapping[str, str], groups: Mapping[str, type[ProviderSettings]]
) -> list[str]:
    name = texts.get("INGESTION_PROVIDER", "").strip()
    if not groups or not name or name.lower() in groups:
        return []
    known = " or ".join(sorted(groups))
    return [f"INGESTION_PROVIDER is {name[:60]!r}, but must be {known}."]


def _known_variables(groups: Mapping[str, type[ProviderSettings]]) -> list[str]:
    every: list[type[SettingsGroup]] = [Settings, *groups.values()]
    return [variable for group in every for variable in group.variables().values()]


def _unknown(
    given: _Given, known: Iterable[str], groups: Mapping[str, type[ProviderSettings]]
) -> list[str]:
    """Warnings about variables that look like ours and are not, with the likely meaning."""
    names = list(known)
    prefixes = (*_OWN_PREFIXES, *(f"{name.upper()}_" for name in groups))
    warnings = []
    for variable in sorted(set(given.texts) - set(names)):
        close = difflib.get_close_matches(variable, names, n=1, cutoff=0.8)
        if variable.startswith(prefixes) or (close and variable in given.from_file):
            meant = f"; did you mean {close[0]}?" if close else "."
            warnings.append(f"{variable} is not a setting of Tapedeck and is ignored{meant}")
    return warnings


def _weak_points(settings: Settings) -> list[str]:
    warnings = []
    secret = _revealed(settings.cron_secret)
    if secret and len(secret) < SHORT_SECRET:
        warnings.append(
            f"CRON_SECRET has only {len(secret)} characters; {SHORT_SECRET} random ones or more "
            "cannot be guessed."
        )
    webhook = urlsplit(_revealed(settings.alert_webhook_url))
    if webhook.scheme == "http" and not is_loopback(webhook.hostname or ""):
        fate = (
            "alerts can be read on their way"
            if settings.alert_allow_private_targets
            else "nothing is sent there"
        )
        warnings.append(f"ALERT_WEBHOOK_URL is http, so {fate}; use https.")
    return warnings


def _revealed(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""

"""What settings are made of: a field with its words, secrets, addresses, and what may be shown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, JsonValue, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

HIDDEN = "(hidden)"
LONGEST_SHOWN = 120
Shows = Literal["value", "address", "host"]


@dataclass(frozen=True, slots=True)
class Derived:
    """A default that `make` computes from the fields above it, and how it is told in words."""

    make: Callable[[dict[str, Any]], Any]
    words: str


def variable(
    default: Any, about: str, allowed: str, *, shows: Shows = "value", **limits: Any
) -> Any:
    """A settings field: what it is for and, in words for an error, which values it takes.

    `default` is a value, text as in the environment, or `Derived`; `limits` are those of
    pydantic's `Field`. Of a secret nothing is shown, unless `shows` says that its address
    (without user, password and query) or only its host may be.
    """
    extra: dict[str, JsonValue] = {"allowed": allowed, "shows": shows}
    if isinstance(default, Derived):
        limits["default_factory"] = default.make
        extra["default"] = default.words
    else:
        limits["default"] = default
    return Field(description=about, json_schema_extra=extra, **limits)


def _stripped(value: SecretStr | None) -> SecretStr | None:
    """Drop the newline that a secret read from a file tends to carry; nothing left is None."""
    text = value.get_secret_value().strip() if value else ""
    return SecretStr(text) if text else None


Secret = Annotated[SecretStr | None, AfterValidator(_stripped)]


class SettingsGroup(BaseSettings):
    """Frozen settings under one prefix that never show a secret.

    Constructing a group reads nothing but its arguments: `load_settings` alone looks at the
    environment and at `.env`.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, validate_default=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the arguments alone, so that no test depends on the shell it runs in."""
        return (init_settings,)

    @classmethod
    def variables(cls) -> Mapping[str, str]:
        """The name of the environment variable of every field, in order."""
        prefix = cls.model_config.get("env_prefix") or ""
        return {field: (prefix + field).upper() for field in cls.model_fields}

    def shown(self, field: str) -> str:
        """The present value of a field as text without its secrets; empty when it is not set."""
        return show_value(getattr(self, field), type(self).model_fields[field])

    def __repr__(self) -> str:
        names = type(self).variables()
        given = [f"{names[field]}={self.shown(field)}" for field in sorted(self.model_fields_set)]
        return f"{type(self).__name__}({', '.join([*given, 'all else by default'])})"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Conflict:
    """Variables that are right each for itself but not together, and the sentence that says so."""

    variables: tuple[str, ...]
    sentence: str


class SettingsConflict(ValueError):
    """Raised by a group's model validator with everything that does not go together."""

    def __init__(self, conflicts: list[Conflict]) -> None:
        super().__init__(" ".join(conflict.sentence for conflict in conflicts))
        self.conflicts = tuple(conflicts)


def field_extra(field: FieldInfo) -> Mapping[str, Any]:
    """What `variable` noted beside a field; empty for a field made otherwise."""
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def default_text(field: FieldInfo) -> str:
    """The default as it would be written in the environment; empty where unset is the default."""
    words = field_extra(field).get("default")
    return str(words) if words is not None else _plain(field.get_default())


def is_secret(field: FieldInfo) -> bool:
    """True where the value must not be shown."""
    return _mentions_secret(field.annotation)


def show_value(value: object, field: FieldInfo) -> str:
    """A value as an operator would write it, without its secrets."""
    if isinstance(value, SecretStr):
        return show_text(value.get_secret_value(), field)
    return show_text(_plain(value), field)


def show_text(text: str, field: FieldInfo) -> str:
    """The text given for a field, cut to a readable length, without its secrets."""
    shows = field_extra(field).get("shows")
    if is_secret(field) and text:
        return _address(text, with_path=shows == "address") if shows != "value" else HIDDEN
    text = _address(text) if "://" in text and "@" in text else text
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(value).removesuffix(".0")
    if isinstance(value, tuple):
        return ",".join("/".join(item) if isinstance(item, tuple) else str(item) for item in value)
    return str(value)


def _address(text: str, *, with_path: bool = True) -> str:
    """The address without user, password and query; hidden where it can't be told apart."""
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return HIDDEN
    # A password with an unescaped / ? or # leaves its @ behind the host.
    rest = parts.path + parts.query + parts.fragment
    if "://" not in text or "@" in rest or not text.isprintable():
        return HIDDEN
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    ending = parts.path if with_path else "/…" if rest.strip("/") else ""
    return f"{parts.scheme}://{host}{port}{ending}{'?…' if with_path and parts.query else ''}"


def _mentions_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(map(_mentions_secret, get_args(annotation)))

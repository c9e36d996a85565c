"""How values become JSON: decimals as plain text, instants in UTC, nothing JSON does not have."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, NoReturn
from uuid import UUID

from flask import Flask
from flask.json.provider import JSONProvider


def format_decimal(value: Decimal) -> str:
    """The number digit by digit, never with an exponent; `ValueError` for NaN and infinities."""
    if not value.is_finite():
        raise ValueError("JSON has no NaN and no infinity")
    return format(value, "f")


def format_instant(value: datetime) -> str:
    """An aware instant as ISO 8601 in UTC with `Z`; `ValueError` where the zone is missing."""
    if value.tzinfo is None:
        raise ValueError("an instant without a time zone")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _encode(value: object) -> object:
    if isinstance(value, Decimal):
        return format_decimal(value)
    if isinstance(value, datetime):
        return format_instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class ExactJSON(JSONProvider):
    """The application's JSON, also of signed sessions and of `tojson` in templates.

    Writing raises `ValueError` for NaN and infinities and `TypeError` for unknown types. Reading
    keeps decimal fractions exact and turns every kind of nonsense, bottomless nesting included,
    into `ValueError`.
    """

    mimetype = "application/json"

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """The compact JSON text of `obj`."""
        options: dict[str, Any] = {
            "separators": (",", ":"),
            "allow_nan": False,
            "default": _encode,
        } | kwargs
        return json.dumps(obj, **options)

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """The value of a JSON text."""
        options: dict[str, Any] = {
            "parse_float": Decimal,
            "parse_constant": _refuse_constant,
        } | kwargs
        try:
            return json.loads(s, **options)
        except RecursionError:
            raise ValueError("the JSON is nested too deeply") from None

    def response(self, *args: Any, **kwargs: Any) -> Any:
        """A response that carries the arguments as JSON."""
        body = self.dumps(self._prepare_response_obj(args, kwargs)) + "\n"
        return self._app.response_class(body, mimetype=self.mimetype)


def init_app(app: Flask) -> None:
    """Make this the JSON of `app`."""
    app.json = ExactJSON(app)

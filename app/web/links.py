"""Addresses in templates: built once for each endpoint and values, since a page needs dozens."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from flask import Flask, request, url_for

KEPT = 4096


def init_app(app: Flask) -> None:
    """Give templates a `url_for` that remembers; in Python code Flask's own stays."""
    app.jinja_env.globals["url_for"] = _remembering()


def _remembering() -> Callable[..., str]:
    @lru_cache(maxsize=KEPT)
    def build(root: str, period: int, endpoint: str, values: tuple[tuple[str, Any], ...]) -> str:
        return url_for(endpoint, **dict(values))

    def link(endpoint: str, **values: Any) -> str:
        is_plain = all(isinstance(value, str | int) for value in values.values())
        # A leading dot depends on the blueprint, an underscore asks for something special.
        if not is_plain or endpoint.startswith(".") or any(name[0] == "_" for name in values):
            return url_for(endpoint, **values)
        # A static file's address names its content, which is looked at again every second.
        period = int(time.monotonic()) if endpoint == "static" else 0
        return build(request.script_root, period, endpoint, tuple(values.items()))

    return link

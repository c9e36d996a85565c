"""Addresses in templates: built once for each endpoint and values, since a page needs dozens."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from flask import Flask, request, url_for

KEPT = 4096
_PLAIN = frozenset({str, int})


def init_app(app: Flask) -> None:
    """Give templates a `url_for` that remembers; in Python code Flask's own stays."""
    app.jinja_env.globals["url_for"] = _remembering()


def _remembering() -> Callable[..., str]:
    @lru_cache(maxsize=KEPT)
    def build(root: str, period: int, endpoint: str, values: tuple[tuple[str, Any], ...]) -> str:
        return url_for(endpoint, **dict(values))

    def link(endpoint: str, **values: Any) -> str:
        # A leading dot depends on the blueprint, an underscore asks for something special.
        is_special = endpoint[0] == "." or any(name[0] == "_" for name in values)
        if is_special or not _PLAIN.issuperset(map(type, values.values())):
            return url_for(endpoint, **values)
        # A static file's address names its content, which is looked at again every second.
        period = int(time.monotonic()) if endpoint == "static" else 0
        return build(
            request.environ.get("SCRIPT_NAME", ""), period, endpoint, tuple(values.items())
        )

    return link

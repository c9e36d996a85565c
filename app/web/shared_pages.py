"""Pages that are the same for all who look at them, but for the token in their forms."""

from collections.abc import Callable, Hashable
from typing import Final

from flask import Flask, Response, current_app, request
from flask import session as browser_session
from flask_wtf.csrf import generate_csrf

from app.web.auth import has_operator_session
from app.web.moments import Moments

# Shorter than the steps in which a page counts its ages.
KEPT_SECONDS: Final = 0.5
MOST_PAGES: Final = 64
_EXTENSION: Final = "tapedeck_shared_pages"


def init_app(app: Flask) -> None:
    """Give the application room for its shared pages."""
    app.extensions[_EXTENSION] = Moments[tuple[bytes, ...]](seconds=KEPT_SECONDS, most=MOST_PAGES)


def render_shared(name: tuple[Hashable, ...], render: Callable[[], str]) -> Response:
    """The page that `render` makes, made now or a moment ago, for this very browser.

    `name` holds all that the page depends on besides the browser's session: the versions of its
    data, its address. Whoever has a message waiting gets a page of their own.
    """
    if browser_session.get("_flashes"):
        return Response(render())
    kept: Moments[tuple[bytes, ...]] = current_app.extensions[_EXTENSION]
    token = generate_csrf().encode()
    whole = (*name, request.script_root, has_operator_session())
    parts = kept.read(whole, lambda: tuple(render().encode().split(token)))
    return Response(token.join(parts))

"""How tests use the deck as a browser without script does: they read its forms and send them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from werkzeug.test import TestResponse

from app.extensions import db

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
VOID = frozenset({"meta", "link", "input", "img", "br"})


def send_form(client: FlaskClient, action: str, *, page: str = "/", **fields: str) -> TestResponse:
    """Post a form with the token of `page`; redirects are not followed."""
    token = _TOKEN.search(client.get(page).text)
    return client.post(action, data=fields | {"csrf_token": token.group(1) if token else ""})


def start_run(client: FlaskClient, **fields: str) -> str:
    """Start a run as `Ingest now` does; its id."""
    return send_form(client, "/runs", **fields).location.rpartition("/")[2]


def finish_run(app: Flask, client: FlaskClient, **fields: str) -> str:
    """Start a run and wait until it is over; its id."""
    run_id = start_run(client, **fields)
    assert app.extensions["tapedeck"].runner.wait(run_id, timeout_seconds=60)
    return run_id


@contextmanager
def counted_queries(app: Flask) -> Iterator[list[str]]:
    """The statements of the application's own connections, as they are executed."""
    statements: list[str] = []

    def note(*args: object) -> None:
        statements.append(str(args[2]))

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


class Markup(HTMLParser):
    """What a page consists of: its tags in order, ids, and elements left open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.mismatched: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.mismatched.append(tag)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of this name."""
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def ids(self) -> list[str]:
        """Every id, in order."""
        return [attributes["id"] or "" for _, attributes in self.tags if "id" in attributes]

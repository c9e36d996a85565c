"""A small application: the real doors, headers and error answers around routes of no depth."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Flask, Response, request, session
from flask_wtf import CSRFProtect
from flask_wtf.csrf import generate_csrf
from jinja2 import DictLoader
from sqlalchemy.exc import OperationalError

from app.errors import InvalidRequest, NotFound, RunAlreadyActive, StorageError
from app.settings import Settings
from app.web import auth, errors, request_log, security
from app.web import json as exact_json

AppFactory = Callable[..., Flask]
TEMPLATES = {
    "errors/error.html": "<h1>{{ status }} {{ title }}</h1>{{ message }} {{ request_id }}",
    "pages/login.html": '{{ error }}<form><input name="csrf_token" value="{{ csrf_token() }}">'
    '<input name="next" value="{{ next_path }}"><input name="token"></form>',
}


def settings(**values: Any) -> Settings:
    """Settings of exactly these values, untouched by the environment file."""
    return Settings(_env_file=None, **values)


def small_app(**values: Any) -> Flask:
    """The doors of the web room around routes that do nothing but fail in known ways."""
    app = Flask("small", static_folder=None)
    app.secret_key = "a key of no account, for tests"
    app.jinja_loader = DictLoader(TEMPLATES)
    chosen = settings(**values)
    exact_json.init_app(app)
    request_log.init_app(app)
    security.init_app(app, chosen)
    errors.init_app(app)
    csrf = CSRFProtect(app)
    auth.init_app(app, chosen)
    api = _api()
    csrf.exempt(api)
    for blueprint in (api, _pages(), _fragments()):
        app.register_blueprint(blueprint)
    return app


def _api() -> Blueprint:
    api = Blueprint("api", __name__, url_prefix="/api")
    api.add_url_rule("/things", "things", lambda: {"ok": True}, methods=["GET", "POST"])
    api.add_url_rule("/runs/<run_id>", "show_run", lambda run_id: {"id": run_id})
    api.add_url_rule("/body", "body", _read_body, methods=["POST"])
    for name, error in _failures().items():
        api.add_url_rule(f"/fail/{name}", f"fail_{name}", _raiser(error))
    return api


def _pages() -> Blueprint:
    pages = Blueprint("pages", __name__)
    pages.add_url_rule("/", "overview", lambda: "overview", methods=["GET", "POST"])
    pages.add_url_rule("/runs", "runs", lambda: Response(f"runs {sorted(session)}"))
    pages.add_url_rule("/token", "token", generate_csrf)
    pages.add_url_rule("/broken", "broken", _raiser(ValueError("inner matter")))
    return pages


def _fragments() -> Blueprint:
    fragments = Blueprint("fragments", __name__, url_prefix="/fragments")
    fragments.add_url_rule("/state", "state", lambda: "state")
    return fragments


def _read_body() -> dict[str, int]:
    return {"length": len(request.get_data())}


def _failures() -> dict[str, Exception]:
    storage = OperationalError("SELECT secret_column", {}, Exception("server closed"))
    return {
        "missing": NotFound("No run of that id."),
        "invalid": InvalidRequest("Some symbols are not valid.", [f"S{n}" for n in range(20)]),
        "active": RunAlreadyActive("42"),
        "storage": StorageError("away"),
        "database": storage,
        "unexpected": ValueError("inner matter"),
    }


def _raiser(error: Exception) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail

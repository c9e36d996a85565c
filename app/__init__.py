"""Tapedeck: `create_app` is the only place where everything meets."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from flask import Flask
from pydantic import SecretStr
from sqlalchemy import Engine, create_engine

from app.cache import CacheState, cache_config, mode
from app.cli import register_commands
from app.database.connect import PLACEHOLDER_URL, Database
from app.database.engine import page_patience, run_patience
from app.database.slow_queries import watch_slow_queries
from app.extensions import cache, csrf, db, migrate
from app.logs import configure_logging, register_secret
from app.paths import MIGRATIONS, ROOT, STATIC, TEMPLATES
from app.providers.base import provider_classes
from app.secret_key import load_secret_key
from app.services.data_version import DataVersion
from app.services.house import House
from app.services.runner import Runner
from app.settings import Settings
from app.settings_fields import SettingsGroup
from app.settings_loader import LoadedSettings, load_settings
from app.web import (
    auth,
    errors,
    filters,
    json,
    links,
    request_log,
    security,
    shared_pages,
    static_files,
)
from app.web.alert_pages import alerts
from app.web.api import api
from app.web.compare import compare
from app.web.fragments import fragments
from app.web.health import health
from app.web.hot_answers import HotAnswers
from app.web.machines import machines
from app.web.ops import SETTINGS, ops
from app.web.ops_fragments import ops_fragments
from app.web.pages import pages

__all__ = ["create_app"]

logger = logging.getLogger(__name__)


def now() -> datetime:
    """The present as aware UTC: the clock that everything else is handed."""
    return datetime.now(UTC)


def create_app(
    loaded: LoadedSettings | None = None, *, clock: Callable[[], datetime] = now
) -> Flask:
    """The application of these settings, those of the environment unless told otherwise.

    Connects to nothing yet. Raises `SettingsError` with every problem of the settings.
    """
    found = loaded or load_settings(
        {name: cls.Settings for name, cls in provider_classes().items()}
    )
    settings = found.settings
    for group in (settings, *found.providers.values()):
        _hide_secrets(group)
    configure_logging(settings.log_level)
    for warning in found.warnings:
        logger.warning("setting looks wrong", extra={"warning": warning})
    app = Flask(
        "tapedeck",
        root_path=str(ROOT),
        template_folder=str(TEMPLATES),
        static_folder=None,
    )
    app.config.update(SECRET_KEY=load_secret_key(settings), SCHEDULER_API_ENABLED=False)
    _bind_database(app, found, clock)
    cache.init_app(app, config=cache_config(settings, database_url=_database_name(settings)))
    _bind_web(app, found)
    register_commands(app)
    return app


def _bind_database(app: Flask, loaded: LoadedSettings, clock: Callable[[], datetime]) -> None:
    settings = loaded.settings
    database = Database(settings)
    app.config["SQLALCHEMY_DATABASE_URI"] = PLACEHOLDER_URL
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = database.engine_options(
        page_patience(settings), pool_size=5, overflow=5
    )
    db.init_app(app)
    migrate.init_app(app, db, directory=str(MIGRATIONS))
    with app.app_context():
        desk = db.engine
    watch_slow_queries(desk, threshold_ms=settings.slow_query_ms)
    app.extensions["tapedeck_database"] = database

    def run_engine() -> Engine:
        options = database.engine_options(run_patience(settings), pool_size=3, overflow=5)
        engine = create_engine(PLACEHOLDER_URL, **options)
        watch_slow_queries(engine, threshold_ms=settings.slow_query_ms)
        return engine

    data_version = DataVersion(
        database.connector(page_patience(settings)),
        place=database.watch.place,
        lag_seconds=settings.cache_lag_ms / 1000,
    )
    app.extensions["tapedeck"] = House(
        settings=settings,
        provider_settings=loaded.providers,
        runner=Runner(
            settings,
            loaded.providers,
            create_engine=run_engine,
            desk=lambda: desk,
            clock=clock,
            replace_cache=data_version.forget,
        ),
        clock=clock,
        cache_state=lambda: _cache_state(app),
        data_version=data_version,
        started_at=clock(),
        given_clock=None if clock is now else clock,
    )


def _bind_web(app: Flask, loaded: LoadedSettings) -> None:
    settings = loaded.settings
    app.extensions[SETTINGS] = loaded
    request_log.init_app(app)
    # Within what `security` puts around it: proxies' headers are judged by then.
    app.wsgi_app = HotAnswers(  # type: ignore[method-assign]
        app.wsgi_app, data_version=app.extensions["tapedeck"].data_version
    )
    security.init_app(app, settings)
    auth.init_app(app, settings)
    csrf.init_app(app)
    json.init_app(app)
    errors.init_app(app)
    filters.init_app(app)
    static_files.init_app(app, STATIC)
    links.init_app(app)
    shared_pages.init_app(app)
    for blueprint in (
        *(pages, compare, ops, alerts, fragments, ops_fragments),
        *(api, health, machines),
    ):
        app.register_blueprint(blueprint)


def _cache_state(app: Flask) -> CacheState:
    with app.app_context():
        return mode()


def _database_name(settings: Settings) -> str:
    """What tells the databases of several installations apart."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"postgresql:///{settings.instance_path.resolve()}"


def _hide_secrets(group: SettingsGroup) -> None:
    """Have every secret of these settings masked wherever it might be logged."""
    for name in type(group).model_fields:
        value = getattr(group, name)
        if isinstance(value, SecretStr):
            register_secret(value.get_secret_value())

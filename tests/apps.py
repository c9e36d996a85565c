"""The application as tests need it: on a given database, with settings by keyword."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Flask

from app import create_app, now
from app.extensions import db
from app.providers.base import provider_classes
from app.settings import Settings
from app.settings_loader import LoadedSettings


def load(
    database_url: str, folder: Path, providers: Mapping[str, Mapping[str, Any]], **values: Any
) -> LoadedSettings:
    """Settings as if only these had been set; `providers` holds those of each provider by name.

    Unless told otherwise every request sees what was committed before it.
    """
    values = {"cache_lag_ms": 0} | values
    settings = Settings(database_url=database_url, instance_path=folder, **values)
    groups = {
        name: cls.Settings(**providers.get(name, {})) for name, cls in provider_classes().items()
    }
    return LoadedSettings(settings=settings, providers=groups)


@contextmanager
def bare_app(
    database_url: str,
    *,
    providers: Mapping[str, Mapping[str, Any]] | None = None,
    clock: Callable[[], datetime] = now,
    **values: Any,
) -> Iterator[Flask]:
    """An application within its context, without scheduler; its connections close with it."""
    with tempfile.TemporaryDirectory() as folder:
        values = {"scheduler_enabled": False} | values
        loaded = load(database_url, Path(folder), providers or {}, **values)
        app = create_app(loaded, clock=clock)
        with app.app_context():
            try:
                yield app
            finally:
                app.extensions["tapedeck"].runner.shutdown(grace_seconds=0)
                db.session.remove()
                db.engine.dispose()

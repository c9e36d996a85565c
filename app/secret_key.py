"""The key that signs sessions: the one in the settings, else one made once and kept."""

import os
import secrets
import tempfile
from pathlib import Path

from app.errors import SettingsError
from app.settings import Settings

SHORTEST = 16


def load_secret_key(settings: Settings) -> str:
    """The same key for every process of an installation.

    Raises `SettingsError` when there is none in the settings and none can be kept in the folder.
    """
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    path = settings.instance_path / "secret_key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        key = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([_unusable(path, str(error))]) from None
    if len(key) < SHORTEST:
        raise SettingsError([_unusable(path, "the file holds no key; delete it for a new one")])
    return key


def _unusable(path: Path, reason: str) -> str:
    return (
        f"SECRET_KEY is not set, and {path} under INSTANCE_PATH can't serve in its place: {reason}."
    )


def _make(path: Path) -> None:
    """Write a new key; of several that try at once the first one wins."""
    descriptor, draft = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(draft)

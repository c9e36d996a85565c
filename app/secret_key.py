"""The key that signs sessions: the one in the settings, else one made once and kept."""

import os
import secrets
from pathlib import Path

from app.settings import Settings


def load_secret_key(settings: Settings) -> str:
    """The same key for every process of an installation."""
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    path = settings.instance_path / "secret_key"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _make(path)
    return path.read_text("ascii").strip()


def _make(path: Path) -> None:
    """Write a new key; of two processes that try at once the first one wins."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()

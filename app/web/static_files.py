"""Static files: named by their content so that browsers may keep them, compressed for the way."""

import gzip
import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from mimetypes import guess_type
from pathlib import Path

from flask import Flask, Response, request, send_from_directory
from werkzeug.security import safe_join

FOR_EVER = "public, max-age=31536000, immutable"
BRIEFLY = "public, max-age=300"
COMPRESSIBLE = frozenset({".css", ".js", ".svg", ".json", ".txt"})
WORTH_COMPRESSING = 1000


def init_app(app: Flask, folder: Path) -> None:
    """Serve `folder` under /static, and add the content's hash to every address of a file."""

    def send(filename: str) -> Response:
        return _send(folder, filename)

    def add_version(endpoint: str, values: dict[str, str]) -> None:
        if endpoint == "static" and "filename" in values:
            version = _version_of(folder, values["filename"])
            if version:
                values["v"] = version

    app.add_url_rule("/static/<path:filename>", endpoint="static", view_func=send)
    app.url_default_functions.setdefault(None, []).append(add_version)


def _send(folder: Path, filename: str) -> Response:
    response = _compressed(folder, filename) or send_from_directory(folder, filename)
    response.vary.add("Accept-Encoding")
    asked = request.args.get("v")
    is_named = asked is not None and asked == _version_of(folder, filename)
    response.headers["Cache-Control"] = FOR_EVER if is_named else BRIEFLY
    response.make_conditional(request)
    return response


def _compressed(folder: Path, filename: str) -> Response | None:
    """The file compressed, where that is worth it and the caller can read it."""
    path = _path_of(folder, filename)
    if path is None or path.suffix not in COMPRESSIBLE or request.range is not None:
        return None
    facts = path.stat()
    if facts.st_size < WORTH_COMPRESSING or not request.accept_encodings.quality("gzip"):
        return None
    response = Response(_gzip(path, facts.st_mtime_ns), mimetype=guess_type(path.name)[0])
    response.content_encoding = "gzip"
    response.last_modified = datetime.fromtimestamp(int(facts.st_mtime), UTC)
    response.set_etag(f"{_version_of(folder, filename)}-gzip")
    return response


def _version_of(folder: Path, filename: str) -> str | None:
    path = _path_of(folder, filename)
    return None if path is None else _digest(path, path.stat().st_mtime_ns)


def _path_of(folder: Path, filename: str) -> Path | None:
    """The file inside the folder; None for what is not there or would lie outside."""
    joined = safe_join(str(folder), filename)
    path = Path(joined) if joined else None
    return path if path is not None and path.is_file() else None


@lru_cache(maxsize=128)
def _digest(path: Path, changed_ns: int) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


@lru_cache(maxsize=128)
def _gzip(path: Path, changed_ns: int) -> bytes:
    return gzip.compress(path.read_bytes(), 9, mtime=0)

"""Static files: named by their content so that browsers may keep them, compressed for the way.

A file has its digest behind its address, `css/app.css?v=…`. A module is imported by others under
its plain name, so modules have it in front, `…/js/candles.js`: the digest of them all, which a
relative import takes along. Files and imports of one page thus come from one version.
"""

import gzip
import hashlib
import re
from datetime import UTC, datetime
from functools import lru_cache
from mimetypes import guess_type
from pathlib import Path

from flask import Flask, Response, request, send_from_directory
from werkzeug.security import safe_join

FOR_EVER = "public, max-age=31536000, immutable"
BRIEFLY = "public, max-age=300"
# Of another version than the page that asks: it gets what there is, and asks again next time.
OUTDATED = "no-cache"
MODULES = "js"
COMPRESSIBLE = frozenset({".css", ".js", ".svg", ".json", ".txt"})
WORTH_COMPRESSING = 1000
_VERSIONED = re.compile(r"([0-9a-f]{16})/(.+)", re.DOTALL)


def init_app(app: Flask, folder: Path) -> None:
    """Serve `folder` under /static, and name the version in every address of a file."""

    def send(filename: str) -> Response:
        return _send(folder, filename)

    def add_version(endpoint: str, values: dict[str, str]) -> None:
        if endpoint == "static" and "filename" in values:
            values.update(_versioned(folder, values["filename"]))

    app.add_url_rule("/static/<path:filename>", endpoint="static", view_func=send)
    app.url_default_functions.setdefault(None, []).append(add_version)


def _versioned(folder: Path, filename: str) -> dict[str, str]:
    """The values of an address that names the version of a file; nothing where there is none."""
    version = _version_of(folder, filename)
    if version is None:
        return {}
    if _is_module(filename):
        return {"filename": f"{version}/{filename}"}
    return {"v": version}


def _send(folder: Path, filename: str) -> Response:
    found = _VERSIONED.fullmatch(filename)
    asked, name = found.groups() if found else (request.args.get("v"), filename)
    response = _compressed(folder, name) or send_from_directory(folder, name)
    response.vary.add("Accept-Encoding")
    response.headers["Cache-Control"] = _lifetime(asked, _version_of(folder, name))
    response.make_conditional(request)
    return response


def _lifetime(asked: str | None, present: str | None) -> str:
    if asked is None:
        return BRIEFLY
    return FOR_EVER if asked == present else OUTDATED


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
    response.set_etag(f"{_digest(path, facts.st_mtime_ns)}-gzip")
    return response


def _version_of(folder: Path, filename: str) -> str | None:
    """The digest of a file, of all modules for one of them; None where there is no such file."""
    path = _path_of(folder, filename)
    if path is None:
        return None
    if not _is_module(filename):
        return _digest(path, path.stat().st_mtime_ns)
    modules = sorted((folder / MODULES).glob("*.js"))
    return _digest_of_all(tuple((module, module.stat().st_mtime_ns) for module in modules))


def _is_module(filename: str) -> bool:
    return filename.startswith(f"{MODULES}/") and filename.endswith(".js")


def _path_of(folder: Path, filename: str) -> Path | None:
    """The file inside the folder; None for what is not there or would lie outside."""
    joined = safe_join(str(folder), filename)
    path = Path(joined) if joined else None
    return path if path is not None and path.is_file() else None


@lru_cache(maxsize=128)
def _digest(path: Path, changed_ns: int) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


@lru_cache(maxsize=8)
def _digest_of_all(files: tuple[tuple[Path, int], ...]) -> str:
    """The digest of files and their names, given with when they changed."""
    parts = [f"{path.name} {_digest(path, changed_ns)}" for path, changed_ns in files]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()


@lru_cache(maxsize=128)
def _gzip(path: Path, changed_ns: int) -> bytes:
    return gzip.compress(path.read_bytes(), 9, mtime=0)

"""Finished bodies kept by the version of the data: an answer costs a look-up, a 304 not even that.

The version is part of every key and of the ETag, so an answer that is kept never outlives the data
it was made from, in whichever process or cache it lies.
"""

import gzip
import hashlib
from collections.abc import Callable, Mapping

from flask import Response, request

from app.cache import Entry, Scalar, key, lifetime_seconds, read_bytes_through
from app.web.hot_answers import keep_hot
from app.web.house import house

# Smaller bodies fit into one packet either way.
WORTH_COMPRESSING = 1000
REVALIDATE = "private, no-cache"


def answer_from_cache(
    entry: Entry,
    parts: Mapping[str, Scalar],
    build: Callable[[], bytes],
    *,
    mimetype: str = "application/json",
) -> Response:
    """The body that `build` makes of the present data, kept until the data changes.

    `parts` are validated values, all that the body depends on besides the data. Answers 304 to a
    caller who has it already, and compressed to one who can read that.
    """
    version = house().data_version.read()
    keep_hot(version)
    tag = _tag(entry, version, parts)
    response = Response(mimetype=mimetype)
    response.set_etag(tag)
    response.headers["Cache-Control"] = REVALIDATE
    response.vary.add("Accept-Encoding")
    if request.if_none_match.contains_weak(tag):
        response.status_code = 304
        return response
    _fill(response, entry, version, parts, build)
    return response


def _fill(
    response: Response,
    entry: Entry,
    version: str,
    parts: Mapping[str, Scalar],
    build: Callable[[], bytes],
) -> None:
    ttl = lifetime_seconds(entry, ttl_seconds=house().settings.cache_ttl_seconds)

    def read(encoding: str, make: Callable[[], bytes]) -> bytes:
        named = key(entry, generation=version, encoding=encoding, **parts)
        return read_bytes_through(named, ttl_seconds=ttl, build=make)

    def plain() -> bytes:
        return read("plain", build)

    if request.accept_encodings.quality("gzip") > 0:
        body = read("gzip", lambda: _compressed(plain()))
        if body.startswith(b"\x1f\x8b"):
            response.content_encoding = "gzip"
    else:
        body = plain()
    response.set_data(body)


def _compressed(body: bytes) -> bytes:
    """The body compressed, or as it is where that is not worth it."""
    return gzip.compress(body, 6, mtime=0) if len(body) >= WORTH_COMPRESSING else body


def _tag(entry: Entry, version: str, parts: Mapping[str, Scalar]) -> str:
    named = f"{entry}|{version}|{sorted(parts.items())!r}"
    return hashlib.blake2b(named.encode(), digest_size=12).hexdigest()

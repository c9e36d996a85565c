"""What every request must pass and every response must carry, whoever asks."""

from typing import Final
from urllib.parse import urlsplit

from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest, SecurityError
from werkzeug.middleware.proxy_fix import ProxyFix

from app.settings import Settings, is_loopback
from app.web.problems import CrossOrigin

MAX_BODY_BYTES: Final = 64 * 1024
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]")
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Probes name a machine by its bare address, which nobody can know beforehand.
PROBES: Final = frozenset({"health.healthz", "health.readyz"})
POLICY: Final = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'; img-src 'self' data:"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: browsers would then send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
STRICT_TRANSPORT: Final = "max-age=31536000; includeSubDomains"


def init_app(app: Flask, settings: Settings) -> None:
    """Install limits, host and origin checks and the headers."""
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["MAX_FORM_PARTS"] = 100
    # A token lives as long as its session: a page left open over lunch must still work.
    app.config["WTF_CSRF_TIME_LIMIT"] = None
    if settings.proxy_hops:
        hops = settings.proxy_hops
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    trusted = trusted_hosts(settings)

    @app.before_request
    def check() -> None:
        _check_host(trusted)
        _check_address()
        if request.method not in SAFE_METHODS and is_cross_origin():
            raise CrossOrigin()

    app.after_request(_add_headers)


def trusted_hosts(settings: Settings) -> tuple[str, ...]:
    """The host names a request may name, lower case, without port; none given means any."""
    if settings.trusted_hosts:
        return settings.trusted_hosts
    return LOCAL_HOSTS if is_loopback(settings.host) else ()


def is_cross_origin() -> bool:
    """Whether a browser says that another site sent this request.

    The rule of Go 1.25's CrossOriginProtection: `Sec-Fetch-Site` decides; without it `Origin`
    must name our host; a request with neither does not come from a browser.
    """
    site = request.headers.get("Sec-Fetch-Site", "")
    if site:
        return site not in ("same-origin", "none")
    origin = request.headers.get("Origin", "")
    return bool(origin) and not _is_own_origin(origin)


def is_same_origin() -> bool:
    """Whether a browser vouches that our own page sent this request; silence is a no."""
    site = request.headers.get("Sec-Fetch-Site", "")
    if site:
        return site == "same-origin"
    return _is_own_origin(request.headers.get("Origin", ""))


def _is_own_origin(origin: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    default_port = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    host = parts.netloc.lower().removesuffix(default_port)
    return bool(host) and host == request.host.lower()


def _check_host(trusted: tuple[str, ...]) -> None:
    if not trusted or request.endpoint in PROBES:
        return
    host = request.host.lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if not any(_matches(name, entry) for entry in trusted):
        raise SecurityError(
            "This host name is not served here; TRUSTED_HOSTS lists those that are."
        )


def _matches(name: str, entry: str) -> bool:
    return name == entry or (entry.startswith(".") and name.endswith(entry))


def _check_address() -> None:
    # PostgreSQL has no NUL in text, so no address with one can mean anything.
    if "\0" in request.path or b"%00" in request.query_string or b"\0" in request.query_string:
        raise BadRequest("The address holds a NUL character.")


def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers["Strict-Transport-Security"] = STRICT_TRANSPORT
    is_file = request.endpoint == "static" and response.status_code < 400
    if not is_file:
        response.headers.setdefault("Cache-Control", "no-store")
    return response

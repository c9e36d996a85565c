"""The doors: the operator's session and token, and the cron secret."""

import hashlib
import hmac
import logging
import re
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import quote

from flask import Blueprint, Flask, Response, current_app, redirect, render_template, request
from flask import session as browser_session
from flask.sessions import SecureCookieSessionInterface
from flask.typing import ResponseReturnValue
from pydantic import SecretStr
from werkzeug.exceptions import TooManyRequests

from app.settings import Settings
from app.web.problems import CrossOrigin, DoorShut, TokenRequired
from app.web.security import PROBES, SAFE_METHODS, is_same_origin
from app.web.throttle import Throttle

logger = logging.getLogger(__name__)

SESSION_LIFETIME: Final = timedelta(days=7)
# Everything else needs the operator; the cron door has a key of its own.
OPEN_ENDPOINTS: Final = PROBES | {
    "static",
    "auth.login",
    "auth.submit_login",
    "auth.logout",
    "api.run_cron",
}
# Read by machines, which have the token and no browser.
BADGES: Final = frozenset({"machines.badge_svg", "machines.badge_json"})
KEYED_ENDPOINTS: Final = BADGES | {"machines.scrape"}
_EXTENSION = "tapedeck_doors"
_RECORD = "operator"
_ORIGIN = re.compile("^https?://[^/]*")

auth = Blueprint("auth", __name__)


@dataclass(frozen=True, slots=True)
class Doors:
    """The keys, hashed so that comparing them takes the same time for every guess."""

    operator_key: bytes | None
    cron_key: bytes | None
    open_endpoints: frozenset[str]
    logins: Throttle
    bearers: Throttle

    @classmethod
    def of(cls, settings: Settings) -> "Doors":
        """The doors as the settings ask for them."""
        return cls(
            operator_key=_hashed(settings.operator_token),
            cron_key=_hashed(settings.cron_secret),
            open_endpoints=OPEN_ENDPOINTS | (BADGES if settings.badge_public else frozenset()),
            logins=Throttle(limit=5, window_seconds=60),
            bearers=Throttle(limit=30, window_seconds=60),
        )


class SessionCookie(SecureCookieSessionInterface):
    """Flask's signed session under the strictest cookie that the connection allows."""

    def get_cookie_name(self, app: Flask) -> str:
        """Under https a name that browsers refuse to take from anyone but this very host."""
        return "__Host-tapedeck" if request.is_secure else "tapedeck"

    def get_cookie_secure(self, app: Flask) -> bool:
        """Secure wherever the request came over https."""
        return request.is_secure


def init_app(app: Flask, settings: Settings) -> None:
    """Install login, logout and the guard of everything that is not open."""
    app.session_interface = SessionCookie()
    app.config.update(
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=SESSION_LIFETIME,
    )
    app.extensions[_EXTENSION] = Doors.of(settings)
    app.register_blueprint(auth)
    app.before_request(_guard)
    app.context_processor(lambda: {"has_operator_session": has_operator_session})


def doors() -> Doors:
    """The doors of the running application."""
    found: Doors = current_app.extensions[_EXTENSION]
    return found


def has_operator_session() -> bool:
    """Whether this browser logged in, with the token of today, within the last seven days."""
    record = browser_session.get(_RECORD)
    if not isinstance(record, dict) or doors().operator_key is None:
        return False
    age = time.time() - float(record.get("issued_at", 0))
    is_current = _same(str(record.get("version", "")).encode(), _session_version())
    return is_current and 0 <= age < SESSION_LIFETIME.total_seconds()


def require_cron_secret() -> None:
    """Let only the bearer of CRON_SECRET pass; 503 while none is set, 401 for anybody else."""
    key = doors().cron_key
    if key is None:
        raise DoorShut("CRON_SECRET is not set, so nothing can be started here.")
    _require_bearer(key, "This needs the cron secret as bearer token.")


def safe_path(target: str) -> str:
    """`target` if it is a path of this very site, else `/`."""
    is_printable = all(character > " " and character not in "\\\x7f" for character in target)
    if not target.startswith("/") or target.startswith("//") or not is_printable:
        return "/"
    return target


@auth.get("/login")
def login() -> ResponseReturnValue:
    """The form that asks for the operator token."""
    next_path = safe_path(request.args.get("next", "/"))
    if doors().operator_key is None or has_operator_session():
        return redirect(next_path, 303)
    return _login_form(next_path)


@auth.post("/login")
def submit_login() -> ResponseReturnValue:
    """Open a session for the bearer of the operator token."""
    next_path = safe_path(request.form.get("next", "/"))
    key, client = doors().operator_key, _client()
    if key is None:
        return redirect(next_path, 303)
    wait = doors().logins.wait_seconds(client)
    if wait:
        return _login_form(next_path, error=f"Too many attempts. Try again in {wait} s.", wait=wait)
    if not _same(_digest(request.form.get("token", "").strip().encode()), key):
        doors().logins.record_failure(client)
        logger.warning("login refused", extra={"client": client})
        return _login_form(next_path, error="That is not the operator token.")
    doors().logins.forget(client)
    _open_session()
    logger.info("operator logged in", extra={"client": client})
    return redirect(next_path, 303)


@auth.post("/logout")
def logout() -> ResponseReturnValue:
    """End this browser's session."""
    browser_session.clear()
    logger.info("operator logged out", extra={"client": _client()})
    return redirect("/login", 303)


def _login_form(next_path: str, *, error: str = "", wait: int = 0) -> Response:
    html = render_template("pages/login.html", next_path=next_path, error=error)
    status = 429 if wait else 403 if error else 200
    response = Response(html, status, mimetype="text/html")
    if wait:
        response.headers["Retry-After"] = str(wait)
    return response


def _open_session() -> None:
    # Nothing of the session before the login survives it, its CSRF token included.
    browser_session.clear()
    browser_session.permanent = True
    browser_session[_RECORD] = {
        "version": _session_version().decode(),
        "issued_at": int(time.time()),
    }


def _guard() -> ResponseReturnValue | None:
    key = doors().operator_key
    if key is None or request.endpoint is None or request.endpoint in doors().open_endpoints:
        return None
    if request.blueprint == "api" or request.endpoint in KEYED_ENDPOINTS:
        _guard_api(key)
        return None
    return None if has_operator_session() else _ask_to_log_in()


def _guard_api(key: bytes) -> None:
    if "Authorization" in request.headers or not has_operator_session():
        _require_bearer(key, "This needs the operator token as bearer token, or a session.")
    elif request.method not in SAFE_METHODS and not is_same_origin():
        raise CrossOrigin()


def _ask_to_log_in() -> ResponseReturnValue:
    if request.path.startswith("/fragments/"):
        # A fragment must not be replaced by the form: the whole page goes to it.
        return Response(status=401, headers={"HX-Redirect": _login_address(_shown_page())})
    if request.method not in SAFE_METHODS:
        return redirect("/login", 303)
    return redirect(_login_address(request.full_path.rstrip("?")), 303)


def _shown_page() -> str:
    """The address of the page that asked for a fragment, as htmx tells it."""
    return safe_path(_ORIGIN.sub("", request.headers.get("HX-Current-URL", "")).partition("#")[0])


def _login_address(target: str) -> str:
    return "/login" if target == "/" else f"/login?next={quote(target, safe='/')}"


def _require_bearer(key: bytes, message: str) -> None:
    client, given = _client(), _bearer()
    wait = doors().bearers.wait_seconds(client)
    if wait:
        raise TooManyRequests(f"Too many wrong tokens. Try again in {wait} s.", retry_after=wait)
    if given is not None and _same(_digest(given), key):
        return
    if given is not None:
        doors().bearers.record_failure(client)
        logger.warning("bearer token refused", extra={"client": client})
    raise TokenRequired(message)


def _bearer() -> bytes | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return None
    # WSGI hands header bytes over as Latin-1 text; this gives the bytes back.
    return token.strip().encode("latin-1", "replace")


def _client() -> str:
    return request.remote_addr or "unknown"


def _hashed(secret: SecretStr | None) -> bytes | None:
    return _digest(secret.get_secret_value().encode()) if secret else None


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def _same(given: bytes, expected: bytes) -> bool:
    return hmac.compare_digest(given, expected)


def _session_version() -> bytes:
    """Changes with the token, and with the key that signs; says nothing about either."""
    secret = current_app.secret_key or b""
    signer = secret.encode() if isinstance(secret, str) else secret
    stamp = hmac.new(signer, b"operator session " + (doors().operator_key or b""), hashlib.sha256)
    return stamp.hexdigest()[:32].encode()

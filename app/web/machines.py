"""What machines read beside the API: Prometheus' text, and the badge with the data's state."""

from flask import Blueprint, Response, jsonify

from app.extensions import db
from app.metrics_exposition import PROMETHEUS_CONTENT_TYPE, render_prometheus
from app.services.about import load_level
from app.services.metrics import load_scrape
from app.web.badges import Badge, draw_badge
from app.web.house import house

machines = Blueprint("machines", __name__)

KEPT = "public, max-age=60"


@machines.get("/metrics")
def scrape() -> Response:
    """Every metric in Prometheus' text format; answers while the database is away, too."""
    body = render_prometheus(load_scrape(db.session, house()))
    return Response(body, content_type=PROMETHEUS_CONTENT_TYPE)


@machines.get("/badge.svg")
def badge_svg() -> Response:
    """The state of the data as a small picture."""
    badge = Badge.of(load_level(db.session, house()))
    return _open_to_others(Response(draw_badge(badge), mimetype="image/svg+xml"))


@machines.get("/badge.json")
def badge_json() -> Response:
    """The state of the data in the form that shields.io takes from an endpoint."""
    badge = Badge.of(load_level(db.session, house()))
    return _open_to_others(jsonify(badge.shield))


def _open_to_others(response: Response) -> Response:
    """A public badge may be shown on pages of other sites, and kept for a minute."""
    if house().settings.badge_public:
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        response.headers["Cache-Control"] = KEPT
    return response

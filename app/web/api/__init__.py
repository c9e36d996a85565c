"""The JSON API: its routes in one table; each resource has a file of its own."""

from flask import Blueprint

from app.extensions import csrf
from app.web.api import cron, document, ingest, markets, metrics, runs, snapshots

api = Blueprint("api", __name__, url_prefix="/api")
# Programs carry no form token; the Origin check and the guard stand before every change.
csrf.exempt(api)

ROUTES = (
    ("POST", "/ingest", ingest.start_ingest),
    ("GET POST", "/cron", cron.run_cron),
    ("GET", "/runs", runs.list_runs),
    ("GET", "/runs/<run_id>", runs.show_run),
    ("POST", "/runs/<run_id>/cancel", runs.cancel_run),
    ("GET", "/markets", markets.list_markets),
    ("GET", "/markets/<path:symbol>", markets.show_market),
    ("GET", "/markets/<path:symbol>/candles", markets.list_candles),
    ("GET", "/snapshots/latest", snapshots.list_latest_snapshots),
    ("GET", "/metrics", metrics.list_metrics),
    ("GET", "/openapi.json", document.show_document),
)
for methods, path, view in ROUTES:
    api.add_url_rule(path, endpoint=view.name, view_func=view, methods=methods.split())

"""The JSON API: its routes in one table; each resource has a file of its own."""

from flask import Blueprint

from app.extensions import csrf
from app.web.api import (
    alerts,
    candle_chart,
    comparisons,
    cron,
    document,
    exports,
    ingest,
    markets,
    metrics,
    runs,
    schedule,
    snapshots,
)

api = Blueprint("api", __name__, url_prefix="/api")
# Programs carry no form token; the Origin check and the guard stand before every change.
csrf.exempt(api)

ROUTES = (
    ("POST", "/ingest", ingest.start_ingest),
    ("GET POST", "/cron", cron.run_cron),
    ("GET", "/runs", runs.list_runs),
    ("GET", "/runs/<run_id>", runs.show_run),
    ("POST", "/runs/<run_id>/cancel", runs.cancel_run),
    ("GET", "/schedule", schedule.show_schedule),
    ("GET", "/schedule/preview", schedule.preview_ticks),
    ("POST", "/schedule/pause", schedule.pause_ticks),
    ("POST", "/schedule/resume", schedule.resume_ticks),
    ("GET", "/markets", markets.list_markets),
    ("GET", "/markets/<path:symbol>", markets.show_market),
    ("GET", "/markets/<path:symbol>/candles", markets.list_candles),
    ("GET", "/markets/<path:symbol>/chart", candle_chart.show_candle_chart),
    ("GET", "/snapshots/latest", snapshots.list_latest_snapshots),
    ("GET", "/comparisons", comparisons.list_comparisons),
    ("GET", "/comparisons/series", comparisons.show_comparison_series),
    ("GET", "/correlations", comparisons.list_correlations),
    ("GET", "/exports/<kind>.csv", exports.export_rows),
    ("GET", "/alerts", alerts.list_alerts),
    ("GET", "/alerts/rules", alerts.list_alert_rules),
    ("GET", "/alerts/deliveries", alerts.list_deliveries),
    ("GET", "/alerts/deliveries/<delivery_id>", alerts.show_delivery),
    ("POST", "/alerts/deliveries/replay", alerts.replay_dead),
    ("POST", "/alerts/test", alerts.test_receiver),
    ("POST", "/alerts/<int:alert_id>/snooze", alerts.snooze),
    ("GET", "/metrics", metrics.list_metrics),
    ("GET", "/openapi.json", document.show_document),
)
for methods, path, view in ROUTES:
    api.add_url_rule(path, endpoint=view.name, view_func=view, methods=methods.split())

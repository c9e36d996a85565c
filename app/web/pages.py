"""The dashboard's pages: read the address, ask one or two services, render."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app.domain import RunStatus, Trigger
from app.errors import RunAlreadyActive
from app.extensions import db
from app.providers.base import provider_classes
from app.services.candle_chart import CandleChart, load_candle_chart
from app.services.market_search import count_markets, search_markets
from app.services.market_sheet import load_market_sheet
from app.services.overview import freshness_limit
from app.services.run_search import load_run_facets, search_runs
from app.services.run_sheet import load_run_sheet
from app.services.runs import load_active_run
from app.services.state_sentence import format_age
from app.services.views import RunView
from app.web.addresses import (
    MarketQuery,
    Period,
    RunQuery,
    RunSheetQuery,
    SnapshotQuery,
    read_symbols,
)
from app.web.candle_query import SHOWN_POINTS, CandleQuery
from app.web.hot_answers import keep_hot
from app.web.house import house
from app.web.pieces import OverviewPieces
from app.web.progress import RunProgress, outline
from app.web.shared_pages import render_shared

pages = Blueprint("pages", __name__)

REQUESTED_BY = "dashboard"


@pages.get("/")
def overview() -> Response:
    """Is the data good now, what runs, and the latest snapshots."""
    query = SnapshotQuery.read(request.args)
    pieces = OverviewPieces(query)

    def render() -> str:
        active = load_active_run(db.session) if pieces.versions.has_active_run else None
        return render_template(
            "pages/overview.html", pieces=pieces, query=query, progress=_progress(active)
        )

    keep_hot(pieces.versions.data, runs=pieces.versions.runs)
    return render_shared(("overview", pieces.versions, house().cache_state().mode, query), render)


@pages.get("/runs")
def runs() -> str:
    """The runs, newest first, narrowed by the address; the active one on top."""
    query = RunQuery.read(request.args)
    active = load_active_run(db.session)
    return render_template(
        "pages/runs.html",
        page=search_runs(db.session, query.wanted, cursor=query.cursor),
        facets=load_run_facets(db.session, query.wanted),
        query=query,
        progress=_progress(active),
        statuses=list(RunStatus),
        triggers=list(Trigger),
        periods=list(Period),
        providers=sorted({*provider_classes(), *filter(None, [query.provider])}),
    )


@pages.post("/runs")
def start_run() -> Response:
    """Start a run by hand and show it."""
    run_id = house().runner.start(
        trigger=Trigger.MANUAL,
        symbols=read_symbols(request.form.get("symbols", "")),
        requested_by=REQUESTED_BY,
        parent_run_id=request.form.get("parent") or None,
    )
    return redirect(url_for(".run", run_id=run_id), code=303)


@pages.errorhandler(RunAlreadyActive)
def show_active_run(error: RunAlreadyActive) -> Response:
    """A second start leads to the run that is active."""
    flash("A run was already active, so none was started. This is it.", "warning")
    return redirect(url_for("pages.run", run_id=error.run_id), code=303)


@pages.get("/runs/<run_id>")
def run(run_id: str) -> str:
    """One run in full."""
    query = RunSheetQuery.read(request.args)
    sheet = load_run_sheet(db.session, run_id, level=query.level, rejected=query.rejected)
    progress = RunProgress.of(sheet.detail, now=house().clock())
    return render_template(
        "pages/run.html", sheet=sheet, detail=sheet.detail, progress=progress, query=query
    )


@pages.post("/runs/<run_id>/cancel")
def cancel_run(run_id: str) -> Response:
    """Ask an active run to stop at its next safe point."""
    house().runner.cancel(run_id)
    flash("The run was asked to stop; it ends at its next safe point.", "info")
    return redirect(url_for(".run", run_id=run_id), code=303)


@pages.get("/markets")
def markets() -> str:
    """The markets that are followed, narrowed by the address."""
    query = MarketQuery.read(request.args)
    now = house().clock()
    limit_age = freshness_limit(house(), now)
    page = search_markets(
        db.session, query.wanted, now=now, limit_age=limit_age, cursor=query.cursor
    )
    return render_template(
        "pages/markets.html",
        page=page,
        query=query,
        counts=count_markets(db.session),
        limit_age=format_age(limit_age),
    )


@pages.get("/markets/<path:symbol>")
def market(symbol: str) -> str:
    """Everything known about one market."""
    query = CandleQuery.read(request.args)
    version = house().data_version.read()
    sheet = load_market_sheet(
        db.session, symbol, now=house().clock(), cursor=request.args.get("before")
    )
    return render_template(
        "pages/market.html",
        sheet=sheet,
        detail=sheet.detail,
        symbol=sheet.detail.market.symbol,
        chart=load_shown_chart(symbol, query),
        query=query,
        version=version,
    )


def load_shown_chart(symbol: str, query: CandleQuery) -> CandleChart:
    """The candles of a market as the server itself draws and lists them."""
    return load_candle_chart(
        db.session,
        symbol,
        granularity=query.granularity,
        start=query.range.start,
        end=query.range.end,
        span=query.range.span,
        points=SHOWN_POINTS,
    )


def _progress(active: RunView | None) -> RunProgress:
    """The panel, its stages in outline; their counts come with its first refresh."""
    if active is None:
        return RunProgress()
    return RunProgress.of(outline(active), now=house().clock())

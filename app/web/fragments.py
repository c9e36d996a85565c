"""The refreshable parts of the pages, each under its own address and drawn by its own template."""

from flask import Blueprint, Response, make_response, render_template, request, url_for

from app.domain import Trigger
from app.errors import InvalidRequest, RunAlreadyActive
from app.extensions import db
from app.services.market_sheet import load_market_sheet
from app.services.run_search import load_run_facets, search_runs
from app.services.run_sheet import load_run_sheet
from app.services.runs import load_active_run, load_run
from app.web.addresses import (
    RunQuery,
    RunSheetQuery,
    SnapshotQuery,
    read_symbols,
)
from app.web.candle_query import CandleQuery
from app.web.compare import CompareQuery, load_shown
from app.web.house import house
from app.web.pages import REQUESTED_BY, load_shown_chart
from app.web.pieces import OverviewPieces
from app.web.progress import RunProgress

fragments = Blueprint("fragments", __name__, url_prefix="/fragments")

RUN_STARTED = "run-started"
RUN_ACTIVE = "run-active"
RUN_FINISHED = "run-finished"


@fragments.after_request
def keep_nothing(response: Response) -> Response:
    """A fragment shows the present: no browser may keep it."""
    response.headers["Cache-Control"] = "no-store"
    return response


@fragments.get("/state")
def state() -> Response:
    """The state of the data; tells the page when a run is active."""
    pieces = OverviewPieces()
    page = make_response(pieces.state())
    return _announce(page, RUN_ACTIVE) if pieces.versions.has_active_run else page


@fragments.get("/recent-runs")
def recent_runs() -> str:
    """The strip and list of recent runs."""
    return OverviewPieces().recent_runs()


@fragments.get("/snapshots")
def snapshots() -> Response:
    """The latest snapshots; keeps the page's own address in step with what is shown."""
    query = SnapshotQuery.read(request.args)
    response = make_response(OverviewPieces(query).snapshots())
    address = url_for("pages.overview", **query.address(cursor=query.cursor))
    response.headers["HX-Replace-Url"] = address
    return response


@fragments.get("/runs")
def runs() -> str:
    """The table of runs."""
    query = RunQuery.read(request.args)
    page = search_runs(db.session, query.wanted, cursor=query.cursor)
    facets = load_run_facets(db.session, query.wanted)
    return render_template("fragments/_runs.html", page=page, query=query, facets=facets)


@fragments.get("/runs/<run_id>")
def run(run_id: str) -> Response:
    """One run in full; announces its end."""
    query = RunSheetQuery.read(request.args)
    sheet = load_run_sheet(db.session, run_id, level=query.level, rejected=query.rejected)
    progress = RunProgress.of(sheet.detail, now=house().clock())
    body = render_template(
        "fragments/_run.html", sheet=sheet, detail=sheet.detail, progress=progress, query=query
    )
    return _announce_end(make_response(body), progress)


@fragments.get("/progress")
def progress() -> Response:
    """The panel that starts a run: of the active run, or idle."""
    active = load_active_run(db.session)
    return _panel(_progress_of(active.id) if active else RunProgress())


@fragments.get("/progress/<run_id>")
def run_progress(run_id: str) -> Response:
    """The panel of one run; announces its end."""
    shown = _progress_of(run_id)
    return _announce_end(_panel(shown), shown)


@fragments.post("/progress")
def start_run() -> Response:
    """Start a run by hand; the panel then shows its progress, or what was wrong (422)."""
    shown = _start(request.form.get("symbols", ""))
    return _announce(_panel(shown), RUN_STARTED) if shown.run else _panel(shown)


@fragments.post("/progress/<run_id>/cancel")
def cancel_run(run_id: str) -> Response:
    """Ask an active run to stop."""
    house().runner.cancel(run_id)
    return _panel(_progress_of(run_id))


@fragments.get("/data-watch")
def data_watch() -> Response:
    """Nothing (204) while the data is that of `since`; else tells the page that it changed."""
    version = house().data_version.read()
    if request.args.get("since") == version:
        return Response(status=204)
    body = render_template("fragments/_data_watch.html", version=version)
    return _announce(make_response(body), RUN_FINISHED)


@fragments.get("/compare")
def compared() -> str:
    """The markets of the address side by side."""
    shown = load_shown(CompareQuery.read(request.args))
    return render_template("fragments/_compared.html", **shown)


@fragments.get("/markets/<path:symbol>/facts")
def market_facts(symbol: str) -> str:
    """The newest snapshot of a market."""
    return _market_part("fragments/_snapshot_facts.html", symbol)


@fragments.get("/markets/<path:symbol>/sheet")
def market_sheet(symbol: str) -> str:
    """What is known of a market besides its candles."""
    return _market_part("fragments/_market_sheet.html", symbol)


@fragments.get("/markets/<path:symbol>/candles")
def candles(symbol: str) -> str:
    """The candles of a market in one granularity and range."""
    query = CandleQuery.read(request.args)
    chart = load_shown_chart(symbol, query)
    return render_template("fragments/_candles.html", symbol=symbol, chart=chart, query=query)


def _market_part(template: str, symbol: str) -> str:
    cursor = request.args.get("before")
    sheet = load_market_sheet(db.session, symbol, now=house().clock(), cursor=cursor)
    return render_template(
        template,
        sheet=sheet,
        detail=sheet.detail,
        symbol=sheet.detail.market.symbol,
        query=CandleQuery.read(request.args),
    )


def _start(symbols: str) -> RunProgress:
    try:
        run_id = house().runner.start(
            trigger=Trigger.MANUAL, symbols=read_symbols(symbols), requested_by=REQUESTED_BY
        )
    except InvalidRequest as error:
        return RunProgress.refused(str(error), error.details, symbols=symbols)
    except RunAlreadyActive as error:
        return _progress_of(error.run_id, message="A run was already active. This is it.")
    return _progress_of(run_id)


def _progress_of(run_id: str, *, message: str = "") -> RunProgress:
    detail = load_run(db.session, run_id)
    return RunProgress.of(detail, now=house().clock(), message=message)


def _panel(shown: RunProgress) -> Response:
    refused = shown.state == "idle" and shown.message
    body = render_template("fragments/_progress.html", progress=shown)
    return make_response(body, 422 if refused else 200)


def _announce(response: Response, event: str) -> Response:
    response.headers["HX-Trigger"] = event
    return response


def _announce_end(response: Response, shown: RunProgress) -> Response:
    return _announce(response, RUN_FINISHED) if shown.state == "finished" else response

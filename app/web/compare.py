"""The Compare page: two to five markets side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.errors import AppError, InvalidRequest, NotFound
from app.extensions import db
from app.services.compare import (
    SHOWN_AT_FIRST,
    ChartRange,
    ComparedMarkets,
    KnownMarket,
    load_compared,
    load_known_markets,
)
from app.services.comparisons import LEAST_COMPARED, MOST_COMPARED
from app.web.addresses import read_choice, read_symbols
from app.web.compare_charts import ChartLine, LineChart, draw_lines, swatch
from app.web.house import house

compare = Blueprint("compare", __name__)

# What an address may hold; more could only be a mistake.
_MOST_READ = 12
_HEAT_STEPS = 5


@dataclass(frozen=True, slots=True)
class CompareQuery:
    """Which markets over which range; `added` is what the form's field holds."""

    markets: tuple[str, ...]
    span: ChartRange = ChartRange.D30
    added: tuple[str, ...] = ()
    is_blank: bool = True

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Self:
        """The query of an address; InvalidRequest for a range that does not exist."""
        return cls(
            markets=read_symbols(args.get("markets", ""))[:_MOST_READ],
            span=read_choice(ChartRange, "range", args) or ChartRange.D30,
            added=read_symbols(args.get("add", ""))[:_MOST_READ],
            is_blank="markets" not in args,
        )

    def address(
        self, *, markets: Sequence[str] | None = None, span: ChartRange | None = None
    ) -> dict[str, Any]:
        """The arguments of an address with these markets over this range."""
        chosen = self.markets if markets is None else markets
        return {"markets": ",".join(chosen), "range": (span or self.span).value}

    def without(self, symbol: str) -> dict[str, Any]:
        """The arguments of an address without one of the markets."""
        return self.address(markets=[item for item in self.markets if item != symbol])

    def led_by(self, symbol: str) -> dict[str, Any]:
        """The arguments of an address that compares the others with `symbol`."""
        return self.address(markets=[symbol, *(item for item in self.markets if item != symbol)])


@dataclass(frozen=True, slots=True)
class CompareCharts:
    """The drawings of a page: values of 100, spreads, and a ratio a pair; None without points."""

    rebased: LineChart | None
    spreads: LineChart | None
    ratios: tuple[LineChart | None, ...]


@compare.get("/compare")
def page() -> ResponseReturnValue:
    """The markets of the address side by side; without any, the first three that are followed."""
    query = CompareQuery.read(request.args)
    if query.added:
        markets = dict.fromkeys([*query.markets, *query.added])
        return redirect(url_for(".page", **query.address(markets=list(markets))), code=303)
    provider = house().settings.ingestion_provider
    known = load_known_markets(db.session, provider=provider)
    if query.is_blank:
        query = _with_first(query, known)
    is_enough = len(query.markets) >= LEAST_COMPARED
    return _render(query, known, load_shown(query) if is_enough else {})


@compare.errorhandler(InvalidRequest)
def refuse(error: InvalidRequest) -> Response:
    """What was asked for cannot be shown; the form is there to mend it."""
    return _refuse(error, 422)


@compare.errorhandler(NotFound)
def miss(error: NotFound) -> Response:
    """A market does not exist; the form is there to mend it."""
    return _refuse(error, 404)


def load_shown(query: CompareQuery) -> dict[str, Any]:
    """What the template of the compared markets draws.

    `NotFound` for an unknown market, `InvalidRequest` for fewer than two or more than five.
    """
    version = house().data_version.read()
    provider = house().settings.ingestion_provider
    compared = load_compared(db.session, query.markets, span=query.span, provider=provider)
    return {
        "query": query,
        "compared": compared,
        "charts": draw_charts(compared),
        "heat": heat,
        "swatch": swatch,
        "version": version,
    }


def heat(value: Decimal | None) -> str:
    """The class of a correlation's cell: `heat-p5` for 1 down to `heat-n5` for -1."""
    if value is None:
        return "heat-none"
    level = min(_HEAT_STEPS, int(abs(value) * _HEAT_STEPS + Decimal("0.5")))
    return f"heat-{'n' if value < 0 else 'p'}{level}" if level else "heat-zero"


def _refuse(error: AppError, status: int) -> Response:
    args = request.args
    query = CompareQuery(markets=read_symbols(args.get("markets", ""))[:_MOST_READ], is_blank=False)
    known = load_known_markets(db.session, provider=house().settings.ingestion_provider)
    return Response(_render(query, known, {}, problem=str(error)), status, mimetype="text/html")


def _render(
    query: CompareQuery,
    known: Sequence[KnownMarket],
    shown: Mapping[str, Any],
    *,
    problem: str = "",
) -> str:
    values = {"known": known, "problem": problem, "ranges": list(ChartRange), "most": MOST_COMPARED}
    words = {"query": query, "compared": None, "swatch": swatch}
    return render_template("pages/compare.html", **values, **(words | dict(shown)))


def draw_charts(compared: ComparedMarkets) -> CompareCharts | None:
    """The drawings of what was compared; None while there is no data."""
    if compared.start is None or compared.end is None:
        return None
    rebased = [
        ChartLine(market.symbol, tone, _floats(course.rebased))
        for tone, (market, course) in enumerate(
            zip(compared.markets, compared.courses, strict=True), start=1
        )
    ]
    ratios = [
        ChartLine(
            f"{pair.market.symbol} / {pair.against.symbol}",
            tone,
            [(point.observed_at, float(point.price_ratio)) for point in pair.points],
        )
        for tone, pair in enumerate(compared.pairs, start=2)
    ]
    spreads = [
        ChartLine(
            f"{pair.market.symbol} − {pair.against.symbol}",
            tone,
            [
                (point.observed_at, float(point.roi_spread))
                for point in pair.points
                if point.roi_spread is not None
            ],
        )
        for tone, pair in enumerate(compared.pairs, start=2)
    ]
    frame: dict[str, Any] = {
        "start": compared.start,
        "end": compared.end,
        "step": compared.span.grid.step,
    }
    return CompareCharts(
        rebased=draw_lines(rebased, title="Value of 100", mark=100, **frame),
        spreads=draw_lines(spreads, title="ROI spread in percentage points", mark=0, **frame),
        ratios=tuple(draw_lines([line], title="Price ratio", **frame) for line in ratios),
    )


def _floats(points: Sequence[tuple[datetime, Decimal]]) -> list[tuple[datetime, float]]:
    return [(instant, float(value)) for instant, value in points]


def _with_first(query: CompareQuery, known: Sequence[KnownMarket]) -> CompareQuery:
    first = tuple(market.symbol for market in known[:SHOWN_AT_FIRST])
    return CompareQuery(markets=first, span=query.span)

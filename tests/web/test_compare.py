"""The Compare page on the real application, with and without data."""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app.extensions import db
from app.web.compare import heat
from tests.web.deck import Markup, counted_queries
from tests.web.real_app import real_app

FIVE = "BTC-USD,ETH-USD,SPX,SOL-USD,XRP-USD"
# Four statements and the closes twice, which come by COPY: once over 30 days, once over the range.
MOST_STATEMENTS = 3
PAGES = (
    "/compare",
    f"/compare?markets={FIVE}",
    "/compare?markets=SPX,BTC-USD&range=7d",
    "/compare?markets=ETH-USD,BTC-USD,XRP-USD&range=1y",
    "/compare?markets=",
    "/compare?markets=SPX",
    "/compare?markets=SPX,NO-SUCH",
)


@pytest.fixture(scope="module")
def deck(fresh_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """An application that ingested 31 days of five markets; for tests that only read."""
    values = {"ingestion_markets": FIVE, "ingestion_lookback_days": 31}
    with real_app(fresh_database_url, tmp_path_factory.mktemp("instance"), **values) as app:
        assert app.test_client().post("/api/ingest").json["status"] == "succeeded"
        yield app


@pytest.fixture
def client(deck: Flask) -> FlaskClient:
    return deck.test_client()


def chips(html: str) -> list[str]:
    part = html.split('class="compare-chips"')[1].split("</ol>")[0]
    return re.findall(r"<strong><bdi[^>]*>([^<]*)</bdi></strong>", part)


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_well_formed_and_needs_no_exception_from_the_policy(
    client: FlaskClient, page: str
) -> None:
    markup = Markup(client.get(page).text)
    assert (markup.mismatched, markup.open) == ([], [])
    assert len(markup.all("h1")) == 1
    assert len(markup.ids) == len(set(markup.ids))
    assert not [tag for tag, given in markup.tags if tag == "style" or "style" in given]
    assert not [name for _, given in markup.tags for name in given if name.startswith("on")]
    assert len(markup.all("caption")) == len(markup.all("table"))
    assert all(cell.get("scope") in ("col", "row") for cell in markup.all("th"))


def test_the_first_markets_are_compared_when_none_is_named(client: FlaskClient) -> None:
    html = client.get("/compare").text
    assert chips(html) == ["BTC-USD", "ETH-USD", "SPX"]
    assert 'aria-current="page">Compare</a>' in html


def test_five_markets_are_five_lines_and_four_ratios(client: FlaskClient) -> None:
    html = client.get(f"/compare?markets={FIVE}").text
    courses = html.split('id="compare-courses"')[1].split("</svg>")[0]
    assert [n for n in range(1, 7) if f'<path class="line-{n}"' in courses] == [1, 2, 3, 4, 5]
    ratios = html.split('id="compare-ratios"')[1].split("</section>")[0]
    assert ratios.count('class="plot-lines"') == 4
    assert 'name="add"' not in html
    names = [drawing.get("aria-label") or "" for drawing in Markup(html).all("svg")]
    assert [name for name in names if name.startswith("Value of 100: BTC-USD from 100 to ")]


def test_the_matrix_shows_every_number_and_its_samples(client: FlaskClient) -> None:
    html = client.get("/compare?markets=BTC-USD,ETH-USD").text
    answer = client.get("/api/correlations?markets=BTC-USD,ETH-USD").get_json()
    table = html.split('class="heat"')[1].split("</table>")[0]
    value = answer["correlations"][0][1]
    assert table.count(f'title="{value}">{Decimal(value):.2f}') == 2
    assert table.count('class="heat-p5"') == 2
    assert table.count('<span class="cell-note">720</span>') == 4


def test_a_market_is_added_by_form_and_removed_by_link(client: FlaskClient) -> None:
    form = {"markets": "SPX,BTC-USD", "range": "7d", "add": " eth-usd, spx "}
    added = client.get("/compare", query_string=form)
    assert added.status_code == 303
    assert added.location == "/compare?markets=SPX,BTC-USD,ETH-USD&range=7d"
    html = client.get(added.location).text
    assert chips(html) == ["SPX", "BTC-USD", "ETH-USD"]
    assert 'href="/compare?markets=SPX,ETH-USD&amp;range=7d"' in html
    assert 'href="/compare?markets=ETH-USD,SPX,BTC-USD&amp;range=7d"' in html


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("markets=SPX,NO-SUCH", 404, "There is no market NO-SUCH."),
        ("markets=SPX,%3Cscript%3E", 404, "There is no market &lt;SCRIPT&gt;."),
        ("markets=A,B,C,D,E,F", 422, "at most 5 are taken"),
        ("markets=SPX,BTC-USD&range=3d", 422, "range must be one of 7d, 30d, 90d, 1y."),
        ("markets=SPX", 200, "Choose two to five markets."),
        ("markets=", 200, "Choose two to five markets."),
    ],
)
def test_what_cannot_be_shown_is_told_beside_the_form(
    client: FlaskClient, query: str, status: int, says: str
) -> None:
    response = client.get(f"/compare?{query}")
    assert response.status_code == status
    assert says in response.text
    assert 'id="compare-choice"' in response.text
    assert "<script>" not in response.text


@pytest.mark.parametrize("page", PAGES[:4])
def test_the_page_stays_within_its_query_budget(deck: Flask, page: str) -> None:
    with counted_queries(deck) as statements:
        assert deck.test_client().get(page).status_code == 200
    assert len(statements) <= MOST_STATEMENTS


def test_the_empty_deck_says_what_to_do(app: Flask) -> None:
    html = app.test_client().get("/compare").text
    assert "The first run creates them" in html
    assert "<svg class" not in html.split('id="main"')[1]


def test_markets_without_data_say_so(database_url: str, tmp_path: Path) -> None:
    with real_app(database_url, tmp_path) as app:
        client = app.test_client()
        assert client.post("/api/ingest").json["status"] == "succeeded"
        with app.app_context(), db.engine.begin() as connection:
            connection.execute(text("TRUNCATE market_snapshot, market_aggregate"))
        html = client.get("/compare?markets=BTC-USD,SPX").text
        assert "mock has given no snapshot of these markets yet" in html
        assert "No two of these markets have a snapshot yet." in html


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "heat-none"),
        ("0", "heat-zero"),
        ("0.09", "heat-zero"),
        ("-0.1", "heat-n1"),
        ("0.55", "heat-p3"),
        ("1", "heat-p5"),
        ("-1", "heat-n5"),
    ],
)
def test_the_tint_follows_the_number(value: str | None, name: str) -> None:
    assert heat(None if value is None else Decimal(value)) == name

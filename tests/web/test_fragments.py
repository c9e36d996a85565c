"""The fragments, each under its own address, on the real application."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app.extensions import db
from tests.web.deck import Markup, finish_run, send_form, start_run
from tests.web.real_app import count_rows, real_app

NOBODY = "00000000-0000-0000-0000-000000000000"
ADDRESSES = {
    "/fragments/state": "overview-state",
    "/fragments/recent-runs": "recent-runs",
    "/fragments/snapshots": "snapshots",
    "/fragments/runs": "runs",
    "/fragments/runs/{run_id}": "run",
    "/fragments/progress": "run-progress",
    "/fragments/progress/{run_id}": "run-progress",
    "/fragments/markets/BTC-USD/candles": "candles",
    "/fragments/markets/BTC-USD/facts": "snapshot-facts",
    "/fragments/markets/BTC-USD/sheet": "market-sheet",
    "/fragments/compare?markets=BTC-USD,SPX": "compared",
    "/fragments/data-watch": "data-watch",
}


@pytest.fixture(scope="module")
def deck(
    fresh_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FlaskClient, str]]:
    """A client and the run that has filled its application; for tests that only read."""
    with real_app(fresh_database_url, tmp_path_factory.mktemp("instance")) as app:
        client = app.test_client()
        yield client, finish_run(app, client)


@pytest.fixture
def slow_app(database_url: str, tmp_path: Path) -> Iterator[Flask]:
    """An application whose runs take long."""
    with real_app(database_url, tmp_path, mock={"delay_seconds": 30}) as app:
        yield app


@pytest.mark.parametrize(("address", "element"), ADDRESSES.items())
def test_a_fragment_is_one_element_with_its_id(
    deck: tuple[FlaskClient, str], address: str, element: str
) -> None:
    client, run_id = deck
    response = client.get(address.format(run_id=run_id))
    markup = Markup(response.text)
    assert response.status_code == 200
    assert markup.ids[0] == markup.tags[0][1]["id"] == element
    assert (markup.mismatched, markup.open) == ([], [])
    assert "<html" not in response.text


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_fragment_is_never_kept(deck: tuple[FlaskClient, str], address: str) -> None:
    client, run_id = deck
    assert client.get(address.format(run_id=run_id)).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("/fragments/state", "/"),
        ("/fragments/snapshots?sort=-price", "/?sort=-price"),
        ("/fragments/recent-runs", "/"),
        ("/fragments/runs", "/runs"),
    ],
)
def test_a_page_draws_the_same_element_as_its_fragment(
    deck: tuple[FlaskClient, str], address: str, page: str
) -> None:
    client, _ = deck
    fragment, whole = Markup(client.get(address).text), Markup(client.get(page).text)
    start = whole.tags.index(fragment.tags[0])
    drawn = whole.tags[start : start + len(fragment.tags)]
    assert [tag for tag, _ in drawn] == [tag for tag, _ in fragment.tags]


def test_an_idle_panel_waits_for_a_run_and_offers_to_start_one(client: FlaskClient) -> None:
    html = client.get("/fragments/progress").text
    assert 'hx-trigger="run-active from:body"' in html
    assert 'hx-post="/fragments/progress"' in html
    assert 'action="/runs" method="post"' in html


def test_a_running_panel_asks_again_and_shows_its_stages(slow_app: Flask) -> None:
    client = slow_app.test_client()
    response = send_form(client, "/fragments/progress")
    panel = Markup(response.text).tags[0][1]
    assert response.headers["HX-Trigger"] == "run-started"
    assert panel["hx-trigger"] == "load delay:1s, retry"
    assert "Fetch from the provider" in response.text
    assert "<progress " in response.text
    assert "HX-Trigger" not in client.get(str(panel["hx-get"])).headers


def test_a_finished_panel_stops_and_announces_the_end(deck: tuple[FlaskClient, str]) -> None:
    client, run_id = deck
    response = client.get(f"/fragments/progress/{run_id}")
    assert response.headers["HX-Trigger"] == "run-finished"
    assert "load delay" not in response.text
    assert 'data-announce="Run succeeded"' in response.text
    assert "3 of 3 markets" in response.text


def test_the_state_tells_the_page_when_a_run_is_active(slow_app: Flask) -> None:
    client = slow_app.test_client()
    before = client.get("/fragments/state").headers
    start_run(client)
    assert "HX-Trigger" not in before
    assert client.get("/fragments/state").headers["HX-Trigger"] == "run-active"


def test_a_page_opened_during_a_run_shows_it(slow_app: Flask) -> None:
    client = slow_app.test_client()
    run_id = start_run(client)
    for page in ("/", "/runs"):
        html = client.get(page).text
        assert f'hx-get="/fragments/progress/{run_id}"' in html
        assert "Fetch from the provider" in html


def test_a_refused_start_keeps_what_was_typed(app: Flask, client: FlaskClient) -> None:
    response = send_form(client, "/fragments/progress", symbols='NOPE-USD" onfocus="x')
    assert response.status_code == 422
    assert 'role="alert"' in response.text
    assert "HX-Trigger" not in response.headers
    assert 'value="NOPE-USD&#34; onfocus=&#34;x"' in response.text
    assert count_rows(app, "ingestion_run") == 0


def test_a_second_start_shows_the_active_run(slow_app: Flask) -> None:
    client = slow_app.test_client()
    run_id = start_run(client)
    response = send_form(client, "/fragments/progress", page=f"/runs/{run_id}")
    assert response.status_code == 200
    assert "A run was already active" in response.text
    assert count_rows(slow_app, "ingestion_run") == 1


def test_a_run_can_be_cancelled_from_its_panel(slow_app: Flask) -> None:
    client = slow_app.test_client()
    run_id = start_run(client)
    response = send_form(client, f"/fragments/progress/{run_id}/cancel", page="/runs")
    runner = slow_app.extensions["tapedeck"].runner
    assert response.status_code == 200
    assert runner.wait(run_id, timeout_seconds=60)
    assert 'data-announce="Run cancelled"' in client.get(f"/fragments/progress/{run_id}").text


def test_the_snapshots_keep_the_address_of_the_page_in_step(deck: tuple[FlaskClient, str]) -> None:
    client, _ = deck
    response = client.get("/fragments/snapshots?search=usd&sort=-price")
    assert response.headers["HX-Replace-Url"] == "/?search=usd&sort=-price"
    assert (
        '<input type="hidden" name="sort" value="-price" form="snapshot-search">' in response.text
    )


def test_htmx_headers_change_nothing(deck: tuple[FlaskClient, str]) -> None:
    client, _ = deck
    plain = client.get("/fragments/recent-runs").text
    asked = client.get("/fragments/recent-runs", headers={"HX-Request": "true"}).text
    assert Markup(plain).tags[0] == Markup(asked).tags[0]


@pytest.mark.parametrize(
    "address",
    [f"/fragments/progress/{NOBODY}", "/fragments/runs/x", "/fragments/markets/X/candles"],
)
def test_a_fragment_of_nothing_is_not_found(client: FlaskClient, address: str) -> None:
    assert client.get(address).status_code == 404


@pytest.mark.parametrize("page", ["/markets/BTC-USD", "/compare?markets=BTC-USD,SPX"])
def test_a_page_is_told_once_when_data_has_changed(
    database_url: str, tmp_path: Path, page: str
) -> None:
    with real_app(database_url, tmp_path) as app:
        client = app.test_client()
        finish_run(app, client)
        watch = watch_of(client.get(page).text)
        quiet = client.get(watch)
        with app.app_context(), db.engine.begin() as connection:
            connection.execute(text("UPDATE data_version SET token = gen_random_uuid()"))
        news = client.get(watch)
        after = client.get(watch_of(news.text))
    assert (quiet.status_code, quiet.headers.get("HX-Trigger")) == (204, None)
    assert (news.status_code, news.headers["HX-Trigger"]) == (200, "run-finished")
    assert after.status_code == 204


def watch_of(html: str) -> str:
    """The address that the page asks whether data has changed."""
    watches = [tag for tag in Markup(html).all("div") if tag.get("id") == "data-watch"]
    return str(watches[0]["hx-get"])

"""The pages, on the real application with the mock provider behind it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app.extensions import db
from tests.web.deck import Markup, counted_queries, finish_run, send_form, start_run
from tests.web.real_app import count_rows, real_app

MOST_QUERIES = 5
NOBODY = "00000000-0000-0000-0000-000000000000"
PAGES = ("/", "/runs", "/runs/{run_id}", "/markets", "/markets/BTC-USD", "/markets/SPX")

REJECTED_OF_TWO_REASONS = """
    INSERT INTO rejected_row (run_id, provider, kind, symbol, reason, detail, raw)
    SELECT :run_id, 'mock', 'candle', 'SPX', CASE WHEN n > 150 THEN 'late' ELSE 'odd' END, '',
           n::text FROM generate_series(1, 152) n
"""
COUNTED = """
    UPDATE ingestion_run SET rejected = 152, rejected_reasons = '{"late": 2, "odd": 150}'
    WHERE id = :run_id
"""


@dataclass(frozen=True)
class Deck:
    """An application that has ingested twice: once everything, once with rejected rows."""

    app: Flask
    client: FlaskClient
    run_id: str


@pytest.fixture(scope="module")
def deck(fresh_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deck]:
    """One for the tests that only read."""
    with real_app(fresh_database_url, tmp_path_factory.mktemp("instance")) as app:
        client = app.test_client()
        yield Deck(app, client, finish_run(app, client))


@pytest.fixture
def slow_app(database_url: str, tmp_path: Path) -> Iterator[Flask]:
    """An application whose runs take long."""
    with real_app(database_url, tmp_path, mock={"delay_seconds": 30}) as app:
        yield app


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_well_formed_and_has_one_heading_and_no_id_twice(deck: Deck, page: str) -> None:
    response = deck.client.get(page.format(run_id=deck.run_id))
    markup = Markup(response.text)
    assert response.status_code == 200
    assert (markup.mismatched, markup.open) == ([], [])
    assert len(markup.all("h1")) == 1
    assert len(markup.ids) == len(set(markup.ids))


@pytest.mark.parametrize("page", PAGES)
def test_nothing_on_a_page_needs_an_exception_from_the_policy(deck: Deck, page: str) -> None:
    markup = Markup(deck.client.get(page.format(run_id=deck.run_id)).text)
    handlers = [name for _, attributes in markup.tags for name in attributes if name[:2] == "on"]
    inline = [tag for tag, attributes in markup.tags if tag == "style" or "style" in attributes]
    addresses = [
        a.get("src") or a.get("href") or "" for a in markup.all("script") + markup.all("link")
    ]
    assert handlers == inline == []
    assert all(address.startswith(("/static/", "#")) for address in addresses)


@pytest.mark.parametrize("page", PAGES)
def test_every_table_has_a_caption_and_every_heading_cell_a_scope(deck: Deck, page: str) -> None:
    markup = Markup(deck.client.get(page.format(run_id=deck.run_id)).text)
    assert len(markup.all("caption")) == len(markup.all("table"))
    assert all(cell.get("scope") in ("col", "row") for cell in markup.all("th"))


@pytest.mark.parametrize("page", PAGES)
def test_every_form_works_without_script(deck: Deck, page: str) -> None:
    html = deck.client.get(page.format(run_id=deck.run_id)).text
    forms = Markup(html).all("form")
    posts = [form for form in forms if form["method"] == "post"]
    assert all(form.get("action") and form.get("method") in ("get", "post") for form in forms)
    assert html.count('name="csrf_token"') == len(posts)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_stays_within_its_query_budget(deck: Deck, page: str) -> None:
    with counted_queries(deck.app) as statements:
        deck.client.get(page.format(run_id=deck.run_id))
    assert len(statements) <= MOST_QUERIES


def test_the_empty_deck_says_what_to_do(client: FlaskClient) -> None:
    html = client.get("/").text
    assert "level-empty" in html
    assert "Nothing has been recorded yet" in html
    assert "No run yet" in html
    assert "The first run creates them" in client.get("/markets").text


def test_the_overview_shows_state_snapshots_and_runs(deck: Deck) -> None:
    html = deck.client.get("/").text
    assert "level-good" in html
    assert all(f'href="/markets/{symbol}"' in html for symbol in ("BTC-USD", "ETH-USD", "SPX"))
    assert html.count('class="spark ') == 3
    assert f'href="/runs/{deck.run_id}"' in html


def test_snapshots_are_sorted_and_searched_by_address(deck: Deck) -> None:
    descending = deck.client.get("/?sort=-symbol").text
    found = deck.client.get("/?search=bitcoin").text
    assert descending.index("/markets/SPX") < descending.index("/markets/BTC-USD")
    assert 'aria-sort="descending"' in descending
    assert "/markets/BTC-USD" in found
    assert "/markets/SPX" not in found


def test_a_search_without_result_shows_the_way_back(deck: Deck) -> None:
    html = deck.client.get("/?search=%3Cscript%3E").text
    assert "Show all" in html
    assert "&lt;script&gt;" in html
    assert "<script>" not in html


@pytest.mark.parametrize(
    "address",
    ["/?sort=luck", "/?cursor=x", "/runs?status=great", "/runs?trigger=x", "/runs?cursor=x",
     "/runs?period=1y", "/runs?min_seconds=-1", "/runs?min_seconds=1e9", "/markets?cursor=x",
     "/markets?freshness=x", "/markets?asset_type=x", "/markets/BTC-USD?before=x",
     "/markets/BTC-USD?granularity=minutely"],
)  # fmt: skip
def test_an_address_that_asks_for_nonsense_is_refused_in_words(deck: Deck, address: str) -> None:
    response = deck.client.get(address)
    assert response.status_code == 422
    assert 'class="error-message"' in response.text


@pytest.mark.parametrize("address", ["/nowhere", f"/runs/{NOBODY}", "/runs/x", "/markets/NO-USD"])
def test_what_does_not_exist_is_a_page_of_the_house(deck: Deck, address: str) -> None:
    response = deck.client.get(address)
    assert response.status_code == 404
    assert 'class="wordmark"' in response.text


def test_ingest_now_starts_a_run_and_shows_it(app: Flask, client: FlaskClient) -> None:
    response = send_form(client, "/runs", symbols="btc-usd, SPX")
    app.extensions["tapedeck"].runner.wait(response.location[-36:], timeout_seconds=60)
    page = client.get(response.location)
    assert response.status_code == 303
    assert "only <bdi>BTC-USD, SPX</bdi>" in page.text
    assert "2 of 2" in page.text


def test_ingest_now_without_token_starts_nothing(app: Flask, client: FlaskClient) -> None:
    assert client.post("/runs").status_code == 403
    assert count_rows(app, "ingestion_run") == 0


def test_a_second_start_leads_to_the_active_run(slow_app: Flask) -> None:
    client = slow_app.test_client()
    run_id = start_run(client)
    second = send_form(client, "/runs")
    assert (second.status_code, second.location) == (303, f"/runs/{run_id}")
    assert "A run was already active" in client.get(second.location).text


def test_unknown_symbols_are_refused_with_their_names(app: Flask, client: FlaskClient) -> None:
    response = send_form(client, "/runs", symbols="NOPE-USD")
    assert response.status_code == 422
    assert "NOPE-USD" in response.text
    assert count_rows(app, "ingestion_run") == 0


def test_an_active_run_can_be_cancelled_from_its_page(slow_app: Flask) -> None:
    client = slow_app.test_client()
    run_id = start_run(client)
    assert f'action="/runs/{run_id}/cancel"' in client.get(f"/runs/{run_id}").text
    response = send_form(client, f"/runs/{run_id}/cancel", page=f"/runs/{run_id}")
    assert slow_app.extensions["tapedeck"].runner.wait(run_id, timeout_seconds=60)
    page = client.get(response.location).text
    assert "stopped by a person" in page
    assert "Cancel run" not in page


def test_an_active_page_refreshes_itself_and_a_finished_one_does_not(slow_app: Flask) -> None:
    client = slow_app.test_client()
    run_id = start_run(client)
    active = client.get(f"/runs/{run_id}").text
    slow_app.extensions["tapedeck"].runner.cancel(run_id)
    slow_app.extensions["tapedeck"].runner.wait(run_id, timeout_seconds=60)
    finished = client.get(f"/runs/{run_id}").text
    assert 'hx-trigger="load delay:1s, retry"' in active
    assert '<noscript><meta http-equiv="refresh"' in active
    assert "load delay" not in finished
    assert 'http-equiv="refresh"' not in finished


def test_a_run_page_shows_every_stage_with_its_counts(deck: Deck) -> None:
    html = deck.client.get(f"/runs/{deck.run_id}").text
    assert html.count('class="bar bar-succeeded"') == 8
    assert "Fetch from the provider" in html
    assert "rows that were already stored exactly so" in html


def test_a_rejected_row_is_shown_whole_and_harmless(app: Flask, client: FlaskClient) -> None:
    run_id = finish_run(app, client)
    raw = "</pre><script>alert(1)</script>" + "x" * 5000
    statement = text(
        "INSERT INTO rejected_row (run_id, provider, kind, symbol, reason, detail, raw) VALUES "
        "(:run_id, 'mock', 'snapshot', 'BTC-USD', 'price_not_positive', 'The price is 0.', :raw)"
    )
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(statement, {"run_id": run_id, "raw": raw})
        connection.execute(text("UPDATE ingestion_run SET rejected = 1"))
    html = client.get(f"/runs/{run_id}").text
    assert "price not positive" in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" + "x" * 5000 in html
    assert "<script>alert" not in html


def test_rejected_rows_of_a_run_are_counted_and_shown_by_reason(
    app: Flask, client: FlaskClient
) -> None:
    run_id = finish_run(app, client)
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text(REJECTED_OF_TWO_REASONS), {"run_id": run_id})
        connection.execute(text(COUNTED), {"run_id": run_id})
    page = client.get(f"/runs/{run_id}").text
    late = client.get(f"/runs/{run_id}?reason=late&level=warning").text
    unknown = client.get(f"/runs/{run_id}?reason=unknown").text
    assert '<bdi>odd</bdi> <span class="chip-count">150</span>' in page
    assert 'rel="next">More</a>' in page
    assert re.findall(r'<pre class="raw" tabindex="0">(\d+)</pre>', late) == ["151", "152"]
    assert f"/runs/{run_id}?level=warning#run-rejected" in late
    assert "No row was rejected for this reason." in unknown
    wrong = [client.get(f"/runs/{run_id}?{words}") for words in ("reason=a%09b", "after=x")]
    assert [answer.status_code for answer in wrong] == [422, 422]


def test_rejected_rows_that_were_pruned_leave_their_counts(app: Flask, client: FlaskClient) -> None:
    run_id = finish_run(app, client)
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text(COUNTED), {"run_id": run_id})
    page = client.get(f"/runs/{run_id}").text
    assert "The rows themselves are gone" in page
    assert ">150</span>" in page
    assert "Download as CSV" not in page


def test_a_market_whose_row_was_set_aside_is_retried_with_those_not_served(
    app: Flask, client: FlaskClient
) -> None:
    run_id = finish_run(app, client)
    statements = (
        "INSERT INTO rejected_row (run_id, provider, kind, symbol, reason, detail, raw) VALUES "
        "(:run_id, 'mock', 'snapshot', 'BTC-USD', 'price_not_positive', 'The price is 0.', '{}')",
        "DELETE FROM market_snapshot WHERE market_id = (SELECT id FROM market "
        "WHERE symbol = 'BTC-USD') AND run_id = :run_id",
        """UPDATE ingestion_run SET rejected = 1, problem_count = 1, problems =
        '[{"symbol": "SPX", "error_class": "TransientProviderError", "message": "away"}]'""",
    )
    with app.app_context(), db.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement), {"run_id": run_id})
    html = client.get(f"/runs/{run_id}").text
    assert 'name="symbols" value="SPX,BTC-USD"' in html
    assert "Retry failed markets (2)" in html
    assert "row set aside" in html


def test_a_failed_run_shows_class_and_message_in_full(database_url: str, tmp_path: Path) -> None:
    with real_app(database_url, tmp_path, mock={"fail": "permanent"}) as app:
        client = app.test_client()
        run_id = finish_run(app, client)
        page, overview = client.get(f"/runs/{run_id}").text, client.get("/").text
    assert 'class="panel error-panel"' in page
    assert "PermanentProviderError" in page
    assert "Retry all" in page
    assert "level-failing" in overview


def test_a_partial_run_groups_its_problems_and_offers_them_again(
    database_url: str, tmp_path: Path
) -> None:
    mock = {"fail": "market", "fail_markets": "SPX"}
    with real_app(database_url, tmp_path, mock=mock) as app:
        client = app.test_client()
        html = client.get(f"/runs/{finish_run(app, client)}").text
    assert "Problems by market" in html
    assert '<input type="hidden" name="symbols" value="SPX">' in html
    assert "Retry failed markets" in html
    assert '<td role="cell" class="log-level">' in html


def test_a_retry_leads_to_its_parent_and_back(app: Flask, client: FlaskClient) -> None:
    parent = finish_run(app, client)
    retry = finish_run(app, client, symbols="SPX", parent=parent)
    page, before = client.get(f"/runs/{retry}").text, client.get(f"/runs/{parent}").text
    assert f'repeats <a href="/runs/{parent}">the succeeded run of' in page
    assert f'repeated by <a href="/runs/{retry}">the succeeded run of' in before


def test_a_form_with_a_parent_that_is_none_is_refused_in_words(client: FlaskClient) -> None:
    assert send_form(client, "/runs", parent="x").status_code == 404


def test_a_run_shows_what_it_did_for_each_market_and_its_log(deck: Deck) -> None:
    html = deck.client.get(f"/runs/{deck.run_id}").text
    assert html.count('class="outcome-new"') == 3
    assert "run finished" in html
    errors = deck.client.get(f"/runs/{deck.run_id}?level=error").text
    assert "Nothing was logged at this level" in errors
    assert "No price moved by 5 %" in deck.client.get(f"/runs/{deck.run_id}?moved=5").text


def test_rejected_rows_of_a_run_can_be_downloaded(database_url: str, tmp_path: Path) -> None:
    with real_app(database_url, tmp_path, mock={"bad_rows": 0.5}) as app:
        client = app.test_client()
        html = client.get(f"/runs/{finish_run(app, client)}").text
        link = next(a["href"] for a in Markup(html).all("a") if "download" in a)
        csv = client.get(str(link))
    assert csv.mimetype == "text/csv"
    assert len(csv.text.splitlines()) - 1 == html.count('class="reason"')


def test_runs_are_narrowed_by_address(deck: Deck) -> None:
    assert deck.run_id in deck.client.get("/runs?status=succeeded&trigger=manual").text
    assert "No run matches these filters" in deck.client.get("/runs?status=failed").text


def test_runs_are_counted_beside_every_choice(deck: Deck) -> None:
    html = " ".join(deck.client.get("/runs?status=failed&period=24h").text.split())
    assert 'succeeded <span class="chip-count">1</span>' in html
    assert 'failed <span class="chip-count">0</span>' in html
    assert '<option value="manual">by hand (0)</option>' in html
    assert "0 runs match" in html


def test_runs_are_searched_and_all_of_it_stays_in_the_address(deck: Deck) -> None:
    page = deck.client.get(f"/runs?search={deck.run_id[:8]}&min_seconds=0&period=7d").text
    assert deck.run_id in page
    assert f'name="search" value="{deck.run_id[:8]}"' in page
    assert f"/fragments/runs?period=7d&amp;min_seconds=0&amp;search={deck.run_id[:8]}" in page


def test_the_bar_of_a_run_at_work_grows(slow_app: Flask) -> None:
    client = slow_app.test_client()
    start_run(client)
    other = text(
        "INSERT INTO ingestion_run (id, status, trigger, provider, owner, lease_until, deadline_at,"
        " started_at, finished_at, duration_ms) SELECT gen_random_uuid(), 'succeeded', 'cli',"
        " 'mock', 'x', t, t, t, t, 90000 FROM (SELECT now() - interval '1 hour') n(t)"
    )
    with slow_app.app_context(), db.engine.begin() as connection:
        connection.execute(other)
    html = client.get("/runs").text
    assert html.count('<animate attributeName="width"') == 1
    assert html.count('class="bar-mark"') == 2


def test_runs_show_bars_against_the_longest_of_the_page(deck: Deck) -> None:
    html = deck.client.get("/runs").text
    assert '<rect class="bar-fill" x="0" width="100.0" height="8"/>' in html


def test_older_runs_are_on_the_next_page(app: Flask, client: FlaskClient) -> None:
    statement = text(
        "INSERT INTO ingestion_run (id, status, trigger, provider, owner, started_at, heartbeat_at,"
        " lease_until, deadline_at, finished_at, duration_ms) SELECT gen_random_uuid(), "
        "'succeeded', 'scheduler', 'mock', 'test', t, t, t, t, t, 1000 FROM generate_series("
        "now() - interval '60 minutes', now() - interval '1 minute', interval '1 minute') AS t"
    )
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(statement)
    first = Markup(client.get("/runs").text)
    older = next(link["href"] for link in first.all("a") if link.get("rel") == "next")
    second = client.get(older).text
    assert second.count('class="run-link"') == 10
    assert 'rel="first"' in second


def test_markets_are_listed_and_searched(deck: Deck) -> None:
    assert deck.client.get("/markets").text.count('class="market-cell"') == 3
    found = deck.client.get("/markets?search=spx").text
    assert "/markets/SPX" in found
    assert "/markets/BTC-USD" not in found


def test_a_market_shows_facts_statistics_comparisons_and_candles(deck: Deck) -> None:
    html = deck.client.get("/markets/ETH-USD?granularity=daily").text
    assert "Price in USD" in html
    assert "the window is too short" in html
    assert "/markets/BTC-USD" in html
    assert 'data-candle-chart="/api/markets/ETH-USD/chart"' in html
    assert 'class="line-chart ' in html
    assert "Daily candles" in html


def test_a_market_shows_drawdown_completeness_and_who_wrote_its_values(deck: Deck) -> None:
    html = deck.client.get("/markets/BTC-USD").text
    assert 'class="line-chart drawdown down"' in html
    assert "No hour is missing" in html
    assert html.count(f'href="/runs/{deck.run_id}"') > 20


def test_missing_candles_are_shown_with_their_cause(app: Flask, client: FlaskClient) -> None:
    finish_run(app, client)
    statement = text(
        "DELETE FROM market_aggregate WHERE granularity = 'hourly' AND opened_at BETWEEN "
        "now() - interval '9 hours' AND now() - interval '6 hours'"
    )
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(statement)
    html = client.get("/markets/BTC-USD").text
    assert 'class="quality-strip"' in html
    assert "3 missing: no run in that hour" in html


def test_markets_are_narrowed_by_address(deck: Deck) -> None:
    found = deck.client.get("/markets?asset_type=index&freshness=fresh&provider=mock").text
    assert found.count('class="market-cell"') == 1
    assert "No market matches these filters" in deck.client.get("/markets?freshness=late").text


def test_open_alerts_and_a_pause_are_told_on_the_overview(app: Flask, client: FlaskClient) -> None:
    finish_run(app, client)
    alert = text(
        "INSERT INTO alert (rule, subject, severity, state, title, text, pending_at, fired_at) "
        "SELECT 'r', n, CASE n WHEN 2 THEN 'critical' ELSE 'info' END, 'firing', "
        "'No. ' || n || ' <b>', '', now(), now() - n * interval '1 min' "
        "FROM generate_series(1, 5) n"
    )
    pause = text(
        "INSERT INTO schedule_pause (schedule, paused_by, reason, until_at) VALUES "
        "('ingestion', 'ann', 'moving <house>', NULL)"
    )
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(alert)
        connection.execute(pause)
    html = client.get("/").text
    told = re.findall(r"No\. (\d) &lt;b&gt;", html)
    assert told == ["2", "1", "3"]
    assert "and 2 more alerts</a>" in html
    assert "level-paused" in html
    assert "Paused by ann: moving &lt;house&gt;" in html


def test_a_hostile_name_can_not_break_a_page(app: Flask, client: FlaskClient) -> None:
    finish_run(app, client)
    name = "\u200b\u200bSta\u202eble <script>alert(1)</script>" + "y" * 300
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text("UPDATE market SET name = :name"), {"name": name})
    for page in ("/", "/markets", "/markets/BTC-USD"):
        html = client.get(page).text
        assert "Stable &lt;script&gt;" in html
        assert "<script>alert" not in html
        assert "\u202e" not in html


def test_every_price_has_its_exact_text_beside_it(app: Flask, client: FlaskClient) -> None:
    finish_run(app, client)
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text("UPDATE market_snapshot SET price = 0.0000000000042"))
    html = client.get("/").text
    assert 'title="0.0000000000042"' in html
    assert "0.0₁₁42" in html
    assert "E-" not in html


def test_the_sign_in_page_hands_the_target_on(database_url: str, tmp_path: Path) -> None:
    with real_app(database_url, tmp_path, operator_token="a-token-for-tests") as app:
        client = app.test_client()
        form = Markup(client.get("/login?next=/runs").text)
        signed_in = send_form(
            client, "/login", page="/login?next=/runs", token="a-token-for-tests", next="/runs"
        )
        page = client.get("/runs").text
    assert {"type": "hidden", "name": "next", "value": "/runs"} in form.all("input")
    assert (signed_in.status_code, signed_in.location) == (303, "/runs")
    assert "Sign out" in page

"""The operator's pages, on the real application with the mock provider behind it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from markupsafe import escape
from sqlalchemy import text

from app.extensions import db
from app.services.figure_keeping import keep_figures
from app.tallies import Kind, count, take
from app.version import VERSION
from app.web.ops_words import size_words
from tests.servers import ScriptedServer
from tests.web.deck import Markup, counted_queries, finish_run, send_form
from tests.web.real_app import count_rows, real_app

MOST_QUERIES = 5
PAGES = (
    "/operations",
    "/operations?range=90d",
    "/schedule",
    "/schedule?expression=@daily&timezone=Europe/Berlin",
    "/alerts",
    "/alerts/history",
    "/alerts/rules",
    "/alerts/deliveries",
    "/settings",
    "/settings?show=given",
    "/about",
)
FRAGMENTS = {
    "/fragments/schedule-state": ("schedule-state", "/schedule"),
    "/fragments/ticks": ("ticks", "/schedule"),
    "/fragments/jobs": ("jobs", "/schedule"),
    "/fragments/schedule-preview": ("schedule-preview", "/schedule"),
    "/fragments/alerts-open": ("alerts-open", "/alerts"),
}
TOKEN = "a-token-for-tests"
_ALERT = """
    INSERT INTO alert (rule, subject, severity, state, title, text, pending_at, fired_at)
    VALUES ('run_failed', 'mock', 'critical', 'firing', :title, 'It said 429.', now(), now())
    RETURNING id
"""
_TICK = """
    INSERT INTO schedule_tick (schedule, due_at, status, claimed_by, reason)
    VALUES ('ingestion', now(), 'skipped', 'host:1:abc', 'Paused by Ada: a move')
"""


@pytest.fixture(scope="module")
def deck(
    fresh_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Flask, FlaskClient]]:
    """An application with a run, a tick and an open alert; for tests that only read."""
    with real_app(fresh_database_url, tmp_path_factory.mktemp("instance")) as app:
        client = app.test_client()
        finish_run(app, client)
        add_alert(app)
        execute(app, _TICK)
        yield app, client


def execute(app: Flask, statement: str, **values: object) -> object:
    """Run one statement; its first value, if it gives any."""
    with app.app_context(), db.engine.begin() as connection:
        result = connection.execute(text(statement), values)
        return result.scalar() if result.returns_rows else None


def add_alert(app: Flask, title: str = "The run from mock failed") -> int:
    """Store an open alert; its id."""
    return int(str(execute(app, _ALERT, title=title)))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_well_formed_accessible_and_within_the_policy(
    deck: tuple[Flask, FlaskClient], page: str
) -> None:
    response = deck[1].get(page)
    markup = Markup(response.text)
    inline = [tag for tag, attributes in markup.tags if tag == "style" or "style" in attributes]
    sources = [a.get("src") or a.get("href") for a in markup.all("script") + markup.all("link")]
    assert response.status_code == 200
    assert (markup.mismatched, markup.open, inline) == ([], [], [])
    assert len(markup.all("h1")) == 1
    assert len(markup.ids) == len(set(markup.ids))
    assert all(source and source.startswith(("/static/", "#")) for source in sources)
    assert len(markup.all("caption")) == len(markup.all("table"))
    assert all(cell.get("scope") in ("col", "row") for cell in markup.all("th"))


@pytest.mark.parametrize("page", PAGES)
def test_every_form_works_without_script(deck: tuple[Flask, FlaskClient], page: str) -> None:
    html = deck[1].get(page).text
    forms = Markup(html).all("form")
    posts = [form for form in forms if form["method"] == "post"]
    assert all(form.get("action") and form.get("method") in ("get", "post") for form in forms)
    assert html.count('name="csrf_token"') == len(posts)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_stays_within_its_query_budget(deck: tuple[Flask, FlaskClient], page: str) -> None:
    app, client = deck
    with counted_queries(app) as statements:
        client.get(page)
    assert len(statements) <= MOST_QUERIES


@pytest.mark.parametrize("address", FRAGMENTS)
def test_a_fragment_is_the_element_that_its_page_draws(
    deck: tuple[Flask, FlaskClient], address: str
) -> None:
    element, page = FRAGMENTS[address]
    response = deck[1].get(address)
    fragment, whole = Markup(response.text), Markup(deck[1].get(page).text)
    drawn = next(attributes for _, attributes in whole.tags if attributes.get("id") == element)
    assert fragment.tags[0][1] == drawn
    assert (fragment.mismatched, fragment.open) == ([], [])
    assert response.headers["Cache-Control"] == "no-store"


def test_empty_pages_say_what_to_do(client: FlaskClient) -> None:
    assert "No run ended in this range" in client.get("/operations").text
    assert "No tick has been due yet" in client.get("/schedule").text
    assert "No open alert" in client.get("/alerts").text
    assert "ALERT_WEBHOOK_URL" in client.get("/alerts").text
    assert "Nothing has been sent yet" in client.get("/alerts/deliveries").text
    assert "No rule has ever found anything" in client.get("/alerts/history").text


def test_every_chart_can_be_read_without_script(deck: tuple[Flask, FlaskClient]) -> None:
    html = deck[1].get("/operations").text
    markup = Markup(html)
    charts = [box for box in markup.all("div") if "data-trend" in box]
    tables = {table["data-trend-table"] for table in markup.all("table") if len(table) > 1}
    assert {box["data-trend"] for box in charts} == tables == {"took", "age", "rows", "fetch"}
    assert html.count('class="plot-lines"') == len(charts)
    assert len([row for row in markup.all("tr") if "data-at" in row]) == 24 * len(charts)


@pytest.mark.parametrize(
    "address",
    ["/operations?range=1y", "/alerts/history?rule=x", "/alerts/history?severity=x",
     "/alerts/history?cursor=x", "/alerts/deliveries?status=x", "/schedule?expression=61+*+*+*+*",
     "/fragments/schedule-preview?expression=nonsense"],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_words(
    deck: tuple[Flask, FlaskClient], address: str
) -> None:
    response = deck[1].get(address)
    assert response.status_code == 422
    assert "error" in response.text


def test_another_expression_is_shown_in_words_and_instants(
    deck: tuple[Flask, FlaskClient],
) -> None:
    html = deck[1].get("/fragments/schedule-preview?expression=0+6+*+*+1&timezone=UTC").text
    assert "At 06:00 on Monday" in html
    assert html.count("06:00:00 UTC</time>") == 5
    assert "Nothing has been changed" in html


def test_a_skipped_tick_shows_who_and_why(deck: tuple[Flask, FlaskClient]) -> None:
    html = deck[1].get("/schedule").text
    assert "Paused by Ada: a move" in html
    assert "host:1:abc" in html


def test_the_schedule_is_paused_and_resumed_by_forms(app: Flask, client: FlaskClient) -> None:
    fields = {"reason": "moving <b>house</b>", "author": "Ada", "minutes": "60"}
    paused = send_form(client, "/schedule/pause", page="/schedule", **fields)
    html = client.get("/schedule").text
    assert (paused.status_code, paused.location) == (303, "/schedule")
    assert "level-paused" in html
    assert "moving &lt;b&gt;house&lt;/b&gt;" in html
    assert "Resumes" in html
    resumed = send_form(client, "/schedule/resume", page="/schedule")
    assert resumed.status_code == 303
    assert count_rows(app, "schedule_pause") == 0


def test_other_words_for_a_pause_leave_its_end_alone(app: Flask, client: FlaskClient) -> None:
    fields = {"reason": "moving", "author": "Ada", "minutes": "60"}
    send_form(client, "/schedule/pause", page="/schedule", **fields)
    end = execute(app, "SELECT until_at FROM schedule_pause")
    kept = next(
        tag["value"]
        for tag in Markup(client.get("/schedule").text).all("input")
        if tag.get("name") == "kept_until"
    )
    changed = {"reason": "still moving", "minutes": "kept", "kept_until": str(kept)}
    send_form(client, "/schedule/pause", page="/schedule", **changed)
    assert execute(app, "SELECT reason FROM schedule_pause") == "still moving"
    assert execute(app, "SELECT until_at FROM schedule_pause") == end


@pytest.mark.parametrize(
    "fields",
    [{"reason": ""}, {"reason": "x", "minutes": "0"}, {"reason": "x", "minutes": "soon"},
     {"reason": "x", "until": "tomorrow"}, {"reason": "x", "until": "2001-01-01T00:00"}],
)  # fmt: skip
def test_a_pause_that_makes_no_sense_is_refused(
    app: Flask, client: FlaskClient, fields: dict[str, str]
) -> None:
    response = send_form(client, "/schedule/pause", page="/schedule", **fields)
    assert response.status_code == 422
    assert count_rows(app, "schedule_pause") == 0


@pytest.mark.parametrize(
    ("wrong", "field", "says"),
    [
        ({"reason": " "}, "reason", "The reason must have 1 to 500 characters."),
        ({"author": "x" * 200}, "author", "The author must have 1 to 100 characters."),
        ({"minutes": "9999999"}, "minutes", "The length of the pause must be"),
        ({"until": "2001-01-01T00:00"}, "until", "The end of the pause must lie in the future."),
        ({"until": "tomorrow"}, "until", "The end must be a date and a time."),
    ],
)
def test_what_is_wrong_with_a_pause_stands_beside_its_field_and_the_rest_is_kept(
    client: FlaskClient, wrong: dict[str, str], field: str, says: str
) -> None:
    typed = {"reason": "moving & house", "author": "Ann <b>", "minutes": "720"} | wrong
    page = send_form(client, "/schedule/pause", page="/schedule", **typed).text
    assert re.findall(r'name="(\w+)"[^>]*aria-invalid="true" aria-desc', page) == [field]
    assert f'aria-describedby="{field}-problem"' in page
    assert f'id="{field}-problem">{says}' in page
    for name in {"reason", "author"} - {field}:
        assert f'value="{escape(typed[name])}"' in page
    assert ('<option value="720" selected>' in page) == (field != "minutes")


@pytest.mark.parametrize("minutes", ["-5", "soon", "99999999"])
def test_a_snooze_that_makes_no_sense_is_refused_beside_its_field(
    app: Flask, client: FlaskClient, minutes: str
) -> None:
    address = f"/alerts/{add_alert(app, 'Stable')}/snooze"
    refused = send_form(client, address, page="/alerts", minutes=minutes, reason="kept & known")
    assert refused.status_code == 422
    assert 'aria-describedby="minutes-problem"' in refused.text
    assert '<details class="snooze" open>' in refused.text
    assert 'value="kept &amp; known"' in refused.text


@pytest.mark.parametrize("action", ["/schedule/pause", "/schedule/resume", "/alerts/test"])
def test_nothing_changes_without_the_forms_token(client: FlaskClient, action: str) -> None:
    assert client.post(action, data={"reason": "x"}).status_code == 403


def test_an_alert_is_snoozed_and_told_of_again(app: Flask, client: FlaskClient) -> None:
    alert_id = add_alert(app, "Sta<script>ble")
    before = client.get("/alerts").text
    address = f"/alerts/{alert_id}/snooze"
    send_form(client, address, page="/alerts", minutes="60", reason="known")
    snoozed = client.get("/alerts").text
    send_form(client, address, page="/alerts", minutes="0")
    assert "Sta&lt;script&gt;ble" in before
    assert "snoozed until" in snoozed
    assert "snoozed by <bdi>dashboard</bdi>: <bdi>known</bdi>" in snoozed
    assert "snoozed until" not in client.get("/alerts").text


@pytest.mark.parametrize("alert_id", ["999", "x", "9" * 30])
def test_a_snooze_of_nothing_is_not_found(app: Flask, client: FlaskClient, alert_id: str) -> None:
    add_alert(app)
    response = send_form(client, f"/alerts/{alert_id}/snooze", page="/alerts", minutes="60")
    assert response.status_code == 404


def test_a_test_shows_how_the_receiver_answered(
    database_url: str, tmp_path: Path, http_server: ScriptedServer
) -> None:
    address = f"{http_server.url}/hook"
    with real_app(database_url, tmp_path, alert_webhook_url=address) as app:
        client = app.test_client()
        response = send_form(client, "/alerts/test", page="/alerts")
        page = client.get(response.location).text
    assert response.status_code == 303
    assert response.location.startswith("/alerts/deliveries/")
    assert '<h2 id="tries-title">Tries</h2>' in page
    assert address not in page


def test_secrets_never_reach_the_settings_page(database_url: str, tmp_path: Path) -> None:
    with real_app(database_url, tmp_path, cron_secret="very-secret-indeed") as app:
        html = app.test_client().get("/settings").text
    assert "CRON_SECRET" in html
    assert "very-secret-indeed" not in html
    assert "(hidden)" in html


def test_about_names_version_schema_and_processes(deck: tuple[Flask, FlaskClient]) -> None:
    html = deck[1].get("/about").text
    assert f"Tapedeck {VERSION}" in html
    assert "as this version expects" in html
    assert "answers you" in html


def test_the_version_is_that_of_the_project() -> None:
    assert f'version = "{VERSION}"' in Path("pyproject.toml").read_text("utf-8")


def test_the_navigation_marks_the_page(deck: tuple[Flask, FlaskClient]) -> None:
    for page in ("/operations", "/schedule", "/alerts/rules", "/settings", "/about"):
        links = [link for link in Markup(deck[1].get(page).text).all("a") if "aria-current" in link]
        assert links, page


def test_what_the_processes_counted_is_drawn_with_credits_and_sizes(
    database_url: str, tmp_path: Path
) -> None:
    with real_app(database_url, tmp_path) as app:
        take()
        before = app.test_client().get("/operations").text
        for number in range(3):
            count(Kind.CALL, "coingecko", seconds=0.3, errors=number % 2, billed=1)
        count(Kind.READ, "memory")
        with app.app_context():
            keep_figures(db.engine, now=app.extensions["tapedeck"].clock(), every_seconds=0)
        html = app.test_client().get("/operations").text
    calls = html.split('data-trend-table="calls"')[1].split("</table>")[0]
    newest = re.findall(r'data-value="(\d+)"', calls)[:3]
    assert "Nothing was counted in this range." in before
    assert newest == ["3", "1", "3"]
    assert "credits <strong" in html
    for name in ("call-time", "requests", "request-time", "reads", "sizes"):
        assert f'data-trend-table="{name}"' in html
    assert "kB" in html.split('data-trend-table="sizes"')[1].split("</table>")[0]


@pytest.mark.parametrize("path", ["/operations", "/schedule", "/alerts", "/settings", "/about"])
def test_the_pages_are_behind_the_operators_door(
    database_url: str, tmp_path: Path, path: str
) -> None:
    with real_app(database_url, tmp_path, operator_token=TOKEN) as app:
        client = app.test_client()
        assert client.get(path).location == f"/login?next={path}"
        assert client.get("/fragments/ticks").headers["HX-Redirect"] == "/login"


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (999, "999 B"), (32_768, "32.8 kB"), (5_220_000, "5.22 MB"), (3e12, "3.00 TB")],
)
def test_sizes_are_told_in_three_digits(size: int, words: str) -> None:
    assert size_words(int(size)) == words

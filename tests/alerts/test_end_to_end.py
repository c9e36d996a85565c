"""Each rule from the facts in the tables to what a receiver gets over HTTP, at both of its ends."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from app.alerts.rules import RULES
from app.cache_breaker import CacheMode
from app.domain import HOUR
from app.extensions import cache, db
from app.providers import http
from app.services.alert_watch import watch_alerts
from app.services.alerts import load_alerts, snooze_alert
from app.services.pauses import pause_schedule, resume_schedule
from tests.alerts.deck import SECRET, STEP, Deck, add_candle, follow_a_market, observe_market
from tests.alerts.making import NOON, ManualClock, add_run, run_statement, steady
from tests.apps import bare_app
from tests.faults.tcp_proxy import Mode, TcpProxy
from tests.servers import Answer, ScriptedServer
from tests.web.real_app import empty_tables


@pytest.fixture
def deck(
    database_url: str, http_server: ScriptedServer, valkey_url: str, clock: ManualClock
) -> Iterator[Deck]:
    """An installation that follows a market, ran well a moment ago, and tells everything."""
    http_server.script("/hook", Answer(200))
    with ExitStack() as stack:
        road = stack.enter_context(TcpProxy.before(valkey_url))
        values: dict[str, Any] = {
            "alert_webhook_url": f"{http_server.url}/hook",
            "alert_webhook_secret": SECRET,
            "alert_min_severity": "info",
            "alert_dashboard_url": "https://deck.example",
            "ingestion_markets": "BTC-USD",
            "redis_url": road.redis_url,
        }
        app = stack.enter_context(bare_app(database_url, clock=clock, **values))
        empty_tables(app)
        follow_a_market(clock.now)
        add_run(db.engine, "succeeded", at=clock.now, seconds=2)
        deck = Deck(app.extensions["tapedeck"], clock, http_server, road)
        watch_alerts(db.engine, deck.house, policy=steady())
        yield deck


def fail_a_run(deck: Deck) -> None:
    deck.run("failed", error_message="The host is away.")


def succeed(deck: Deck) -> None:
    deck.run("succeeded", seconds=2, fetched=10)


def keep_a_part(deck: Deck) -> None:
    deck.run("partial", problem_count=2, fetched=10)


def reject_rows(deck: Deck) -> None:
    deck.run("partial", rejected=3, fetched=10)


def run_slowly(deck: Deck) -> None:
    for _ in range(5):
        deck.run("succeeded", seconds=2)
    deck.run("succeeded", seconds=7)


def let_time_pass(deck: Deck) -> None:
    """Nothing runs, so ticks go by and the market grows old."""


def observe_again(deck: Deck) -> None:
    observe_market(deck.clock.now)


def lose_candles(deck: Deck) -> None:
    lost = "DELETE FROM market_aggregate WHERE opened_at BETWEEN :start AND :end"
    run_statement(db.engine, lost, start=NOON - 6 * HOUR, end=NOON - 5 * HOUR)


def bring_candles(deck: Deck) -> None:
    for hours in (5, 6):
        add_candle(NOON - hours * HOUR)


def lose_the_cache(deck: Deck) -> None:
    deck.cache_road.set_mode(Mode.REFUSE)
    cache.get("anything")
    assert deck.house.cache_state().mode is CacheMode.FALLBACK


def bring_the_cache_back(deck: Deck) -> None:
    deck.cache_road.set_mode(Mode.PASS)
    pause = threading.Event()
    while deck.house.cache_state().mode is CacheMode.FALLBACK:
        cache.get("anything")
        pause.wait(0.02)


def fail_calls(deck: Deck) -> None:
    for _ in range(5):
        http.channel_to("mock", "http://test-of-alerts").breaker.fail()


def answer_a_call(deck: Deck) -> None:
    http.channel_to("mock", "http://test-of-alerts").breaker.succeed()


def pause(deck: Deck) -> None:
    pause_schedule(db.session, deck.house, reason="moving", author="Ada")
    deck.clock.now += 24 * HOUR


def resume(deck: Deck) -> None:
    resume_schedule(db.session, deck.house, author="Ada")


@dataclass(frozen=True, slots=True)
class Story:
    """How a rule's trouble begins and ends, and what is told of it."""

    begin: Callable[[Deck], None]
    end: Callable[[Deck], None]
    severity: str
    title: str
    text: str
    link: str = ""


RUN = "https://deck.example/runs/"
MARKET = "https://deck.example/markets/BTC-USD"
STORIES = {
    "run_failed": Story(
        fail_a_run, succeed, "critical", "The run from mock failed", "The host is away.", RUN
    ),
    "run_partial": Story(
        keep_a_part, succeed, "warning", "kept only a part", "2 markets could not be served", RUN
    ),
    "no_success": Story(
        let_time_pass, succeed, "critical", "No run brought data for 3 ticks", "12:00 UTC"
    ),
    "market_stale": Story(
        let_time_pass, observe_again, "warning", "BTC-USD is stale", "an age of 30 min", MARKET
    ),
    "data_gap": Story(
        lose_candles, bring_candles, "warning", "BTC-USD has a gap", "2 hours of the last", MARKET
    ),
    "rows_rejected": Story(
        reject_rows, succeed, "warning", "30% of the rows from mock", "3 of 10 rows aside", RUN
    ),
    "run_slow": Story(
        run_slowly, succeed, "info", "The run from mock took 7.0 s", "the median is 2.0 s", RUN
    ),
    "cache_fallback": Story(
        lose_the_cache, bring_the_cache_back, "warning", "fell back to memory", "Redis fails"
    ),
    "breaker_open": Story(
        fail_calls, answer_a_call, "warning", "mock is not asked", "open in 1 process"
    ),
    "schedule_paused": Story(pause, resume, "warning", "still paused", "Ada paused it 24 h ago"),
}


def test_there_is_a_story_for_every_rule() -> None:
    assert STORIES.keys() == RULES.keys()


@pytest.mark.parametrize("rule", STORIES)
def test_trouble_and_its_end_reach_the_receiver(deck: Deck, rule: str) -> None:
    story = STORIES[rule]
    story.begin(deck)
    begun_at = deck.clock.now
    firing = deck.await_message(rule, "alert.firing")["data"]
    assert (firing["severity"], firing["state"]) == (story.severity, "firing")
    assert story.title in firing["title"]
    assert story.text in firing["text"]
    assert firing.get("url", "https://deck.example/").startswith(story.link)
    assert deck.clock.now - begun_at >= RULES[rule].wait + timedelta(seconds=30)
    told_at = deck.clock.now
    story.end(deck)
    resolved = deck.await_message(rule, "alert.resolved")["data"]
    assert resolved["state"] == "resolved"
    assert resolved["startedAt"] == firing["startedAt"]
    assert resolved["title"] == RULES[rule].over.format(subject=resolved_subject(rule))
    assert deck.clock.now - told_at >= timedelta(minutes=5)


def resolved_subject(rule: str) -> str:
    """What the rule's trouble was about in these stories."""
    return "BTC-USD" if rule in ("market_stale", "data_gap") else "mock"


def told_in_slack(body: Any) -> tuple[str, str, str]:
    (attachment,) = body["attachments"]
    return body["text"], attachment["text"], attachment["title_link"]


def told_to_a_receiver(body: Any) -> tuple[str, str, str]:
    (alert,) = body["alerts"]
    notes = alert["annotations"]
    title = f"[{alert['labels']['severity']}] {notes['summary']}"
    return title, notes["description"], alert["generatorURL"]


def told_to_alertmanager(body: Any) -> tuple[str, str, str]:
    return told_to_a_receiver({"alerts": body})


@pytest.mark.parametrize(
    ("format_name", "path", "read"),
    [
        ("slack", "/hook", told_in_slack),
        ("alertmanager", "/hook", told_to_a_receiver),
        ("alertmanager", "/api/v2/alerts", told_to_alertmanager),
    ],
)
def test_each_format_tells_the_same(
    database_url: str,
    http_server: ScriptedServer,
    clock: ManualClock,
    format_name: str,
    path: str,
    read: Callable[[Any], tuple[str, str, str]],
) -> None:
    http_server.script(path, Answer(200))
    values = {
        "alert_webhook_url": f"{http_server.url}{path}",
        "alert_webhook_format": format_name,
        "alert_dashboard_url": "https://deck.example",
    }
    with bare_app(database_url, clock=clock, **values) as app:
        empty_tables(app)
        add_run(db.engine, "failed", at=clock.now, error_message="The host is away.")
        for _ in range(2):
            watch_alerts(db.engine, app.extensions["tapedeck"], policy=steady())
            clock.now += STEP
    (request,) = http_server.requests
    title, text, link = read(request.json())
    assert title == "[critical] The run from mock failed"
    assert "The host is away." in text
    assert link.startswith(RUN)


def test_lasting_trouble_is_told_again_after_four_hours(deck: Deck) -> None:
    fail_a_run(deck)
    deck.await_message("run_failed", "alert.firing")
    told_at = deck.clock.now
    deck.clock.now += 3.5 * HOUR
    reminder = deck.await_message("run_failed", "alert.reminder")
    assert reminder["data"]["state"] == "firing"
    assert timedelta(hours=4) <= deck.clock.now - told_at <= timedelta(hours=4, minutes=2)


def test_nobody_hears_of_what_is_snoozed_until_it_is_over(deck: Deck) -> None:
    fail_a_run(deck)
    deck.await_message("run_failed", "alert.firing")
    (alert,) = load_alerts(db.session, deck.house, rule="run_failed").alerts
    snooze_alert(db.session, deck.house, alert.id, minutes=60, author="Ada")
    succeed(deck)
    deck.await_message("run_failed", "alert.resolved")
    fail_a_run(deck)
    # For ten minutes, twice what lies between two messages of a rule in any case.
    assert "run_failed" not in {body["data"]["rule"] for body in deck.watch(rounds=20)}
    assert deck.await_message("run_failed", "alert.firing")

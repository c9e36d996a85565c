"""The alerts' job: say what this process sees, judge the rules, deliver; and the rules' figures.

It runs in a thread of its own, after the commits it judges: no run ever waits for it. Everything
goes by the database's clock, as the ticks do.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, text

from app.alerts.facts import Followed, load_signals, report_signals
from app.alerts.judging import SignalFact, breaker_detail
from app.alerts.measured import Measured, load_measured
from app.alerts.outbox import Policy
from app.alerts.rules import BREAKER_OPEN, CACHE_FALLBACK, RULES, Rule, Severity
from app.alerts.sending import deliver_due
from app.alerts.watch import WatchOrder, judge_all
from app.alerts.webhook import Webhook, webhook_of
from app.cache_breaker import CacheMode
from app.database.base import AnySession
from app.database.identity import process_name
from app.ingestion.tick_row import INGESTION
from app.providers.http import breaker_states
from app.services.alert_views import RuleView
from app.services.followed import followed_values
from app.services.house import House
from app.services.overview import freshness_limit
from app.services.ticks import load_shared_time

# Several processes look; one round in most of a poll's time is enough.
PART_OF_A_POLL = 0.8
_FOUND = """
    SELECT r.rule,
           (SELECT count(*) FROM alert a WHERE a.rule = r.rule AND a.state <> 'resolved')
               AS open_count,
           (SELECT max(a.fired_at) FROM alert a WHERE a.rule = r.rule) AS fired_at
    FROM unnest(CAST(:rules AS text[])) AS r (rule)
"""


def watch_alerts(engine: Engine, house: House, *, policy: Policy | None = None) -> None:
    """One round of everything: judge, then deliver. Raises as the two do."""
    judge_when_due(engine, house, policy=policy)
    deliver_alerts(engine, house, policy=policy)


def judge_when_due(engine: Engine, house: House, *, policy: Policy | None = None) -> None:
    """Judge unless another process just did.

    Raises `SQLAlchemyError` with the database away: the next round finds everything as it was.
    """
    every = timedelta(seconds=house.settings.scheduler_poll_seconds * PART_OF_A_POLL)
    judge_alerts(engine, house, policy=policy, every=every)


def deliver_alerts(engine: Engine, house: House, *, policy: Policy | None = None) -> None:
    """Deliver what is due, for ten seconds at most; raises `SQLAlchemyError`."""
    webhook = webhook_of(house.settings)
    if webhook is not None:
        deliver_due(engine, webhook, policy=policy or Policy(), clock=house.given_clock)


def judge_alerts(
    engine: Engine,
    house: House,
    *,
    policy: Policy | None = None,
    every: timedelta = timedelta(0),
) -> int:
    """Report what this process sees and judge every rule once; how many notices came of it.

    Nothing is judged where somebody did so less than `every` ago.
    """
    with engine.begin() as connection:
        report_signals(connection, observe(house), source=process_name())
        now = load_now(connection, house)
    order = order_of(house, webhook_of(house.settings), policy or Policy(), now=now)
    with engine.begin() as connection:
        return judge_all(connection, replace(order, every=every))


def observe(house: House) -> list[SignalFact]:
    """The trouble that only this process can see: its cache, and its breakers."""
    cache = house.cache_state()
    signals = [SignalFact(CACHE_FALLBACK, "", cache.reason)] * (cache.mode is CacheMode.FALLBACK)
    # A provider may be asked at several addresses; an open breaker says more than a half-open one.
    states = sorted(breaker_states(), key=lambda one: one.state)
    troubled = {one.provider: one for one in states if one.state != "closed"}
    return signals + [
        SignalFact(BREAKER_OPEN, name, breaker_detail(one.state, one.reason))
        for name, one in sorted(troubled.items())
    ]


def count_open_breakers(session: AnySession, house: House) -> dict[str, int]:
    """How many processes leave a provider alone; 0 of the one in use where none does."""
    counts = {house.settings.ingestion_provider: 0}
    for signal in load_signals(session.connection()):
        if signal.kind == BREAKER_OPEN and not signal.is_over:
            counts[signal.subject] = counts.get(signal.subject, 0) + 1
    return counts


def order_of(house: House, webhook: Webhook | None, policy: Policy, *, now: datetime) -> WatchOrder:
    """What a round judges under these settings."""
    settings = house.settings
    has_history = settings.ingestion_lookback_days > 0
    return WatchOrder(
        now=now,
        followed=Followed(**followed_values(settings), has_history=has_history),
        schedule=settings.schedule,
        schedule_name=INGESTION,
        stale_after=freshness_limit(house, now),
        min_severity=webhook.min_severity if webhook else None,
        policy=policy,
    )


def load_now(connection: Connection, house: House) -> datetime:
    """The present by the database's clock, or by the one that the house was given."""
    return house.given_clock() if house.given_clock else load_shared_time(connection)


def load_rules(session: AnySession, house: House) -> tuple[RuleView, ...]:
    """Every rule with what it measured last, how many alerts are open, and when it fired last."""
    measured = load_measured(session, house.settings.ingestion_provider)
    rows = session.execute(text(_FOUND), {"rules": list(RULES)})
    found = {row.rule: (row.open_count, row.fired_at) for row in rows}
    webhook = webhook_of(house.settings)
    least = webhook.min_severity if webhook else None
    return tuple(
        _rule_view(rule, least, measured.get(rule.name), found[rule.name])
        for rule in RULES.values()
    )


def _rule_view(
    rule: Rule,
    least: Severity | None,
    measured: Measured | None,
    counts: tuple[int, datetime | None],
) -> RuleView:
    return RuleView(
        name=rule.name,
        title=rule.title,
        about=rule.about,
        severity=rule.severity,
        wait_seconds=int(rule.wait.total_seconds()),
        remind_seconds=int(rule.remind_after.total_seconds()),
        value=measured.value if measured else "",
        measured_at=measured.measured_at if measured else None,
        open_count=counts[0],
        last_fired_at=counts[1],
        is_sent=least is not None and rule.severity.rank >= least.rank,
    )

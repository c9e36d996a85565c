"""What a round found, stored: the alerts that changed, and a notice of each change to be told."""

import json
import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, text

from app.alerts.changes import Episode, Notice
from app.alerts.outbox import Queued
from app.alerts.rules import RULES
from app.logs import redact
from app.models import Alert, AlertNotice

logger = logging.getLogger(__name__)

SUBJECTS_LOGGED = 20
# All at once: when the data of 10,000 markets is late, as many alerts change in one round.
_UPDATE = """
    UPDATE alert a SET state = n.state, title = n.title, text = n.text, value = n.value,
        market = n.market, run_id = n.run_id, fired_at = n.fired_at, notified_at = n.notified_at,
        resolved_at = n.resolved_at, pending_at = n.pending_at
    FROM json_to_recordset(CAST(:changed AS json)) AS n (
        id bigint, state text, title text, text text, value text, market text, run_id uuid,
        fired_at timestamptz, notified_at timestamptz, resolved_at timestamptz,
        pending_at timestamptz)
    WHERE a.id = n.id
"""
_STORED = (
    "rule",
    "subject",
    "value",
    "market",
    "run_id",
    "pending_at",
    "fired_at",
    "notified_at",
    "resolved_at",
)


def keep_episodes(connection: Connection, episodes: Sequence[Episode]) -> None:
    """Store alerts as they are now; a new one gets its id."""
    known = [episode for episode in episodes if episode.id is not None]
    dropped = [episode.id for episode in known if episode.is_dropped]
    changed = [_values(episode) | {"id": episode.id} for episode in known]
    new = [episode for episode in episodes if episode.id is None and not episode.is_dropped]
    if dropped:
        connection.execute(text("DELETE FROM alert WHERE id = ANY(:ids)"), {"ids": dropped})
    # Before the new ones: only one alert of a rule and subject may be open.
    if changed:
        connection.execute(text(_UPDATE), {"changed": json.dumps(changed, default=str)})
    if new:
        statement = insert(Alert).returning(Alert.id, sort_by_parameter_order=True)
        ids = connection.execute(statement, [_values(episode) for episode in new]).scalars()
        for episode, alert_id in zip(new, ids, strict=True):
            episode.id = alert_id


def _values(episode: Episode) -> dict[str, Any]:
    return {name: getattr(episode, name) for name in _STORED} | {
        "severity": RULES[episode.rule].severity.value,
        "state": episode.state.value,
        "title": redact(episode.title),
        "text": redact(episode.text),
    }


def keep_notices(connection: Connection, notices: Sequence[Notice]) -> list[Queued]:
    """Store notices of alerts that are stored; what the outbox has to know of each."""
    if not notices:
        return []
    _log(notices)
    statement = insert(AlertNotice).returning(AlertNotice.id, sort_by_parameter_order=True)
    ids = connection.execute(statement, [_notice_values(one) for one in notices]).scalars()
    pairs = zip(notices, ids, strict=True)
    return [Queued(key, one.episode.rule, RULES[one.episode.rule].severity) for one, key in pairs]


def _log(notices: Sequence[Notice]) -> None:
    """A line for each rule and kind of change, however many subjects changed."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in notices:
        groups.setdefault((one.episode.rule, one.kind.value), []).append(one.episode.subject)
    for (rule, kind), subjects in groups.items():
        fields = {"rule": rule, "change": kind, "count": len(subjects)}
        logger.info("alerts changed", extra=fields | {"subjects": subjects[:SUBJECTS_LOGGED]})


def _notice_values(notice: Notice) -> dict[str, Any]:
    episode = notice.episode
    return {
        "alert_id": episode.id,
        "kind": notice.kind.value,
        "noticed_at": notice.noticed_at,
        "fired_at": episode.fired_at,
        "rule": episode.rule,
        "subject": episode.subject,
        "severity": RULES[episode.rule].severity.value,
        "title": redact(notice.title),
        "text": redact(notice.text),
        "market": episode.market,
        "run_id": notice.run_id,
    }

"""How many alerts are open, and how many of their messages did not arrive: for the metrics."""

from dataclasses import dataclass

from sqlalchemy import text

from app.alerts.rules import Severity
from app.database.base import AnySession

UNSENT = ("waiting", "retrying", "dead")
# A delivery that failed is tried again for hours; without an error none of its tries has ended yet.
_COUNTS = """
    SELECT 'firing' AS kind, severity AS label, count(*) AS rows
    FROM alert WHERE state = 'firing' GROUP BY severity
    UNION ALL
    SELECT 'unsent', CASE WHEN status = 'waiting' AND last_error <> '' THEN 'retrying'
                          ELSE status END, count(*)
    FROM alert_delivery WHERE status <> 'sent' AND kind = 'alert' GROUP BY 2
"""


@dataclass(frozen=True, slots=True)
class AlertCounts:
    """Alerts that fire, by severity; messages `waiting`, `retrying` after a failure, or `dead`."""

    firing: dict[Severity, int]
    unsent: dict[str, int]


def load_alert_counts(session: AnySession) -> AlertCounts:
    """The counts of the moment, zeros too."""
    found = {(row.kind, row.label): row.rows for row in session.execute(text(_COUNTS))}
    return AlertCounts(
        firing={severity: found.get(("firing", severity.value), 0) for severity in Severity},
        unsent={status: found.get(("unsent", status), 0) for status in UNSENT},
    )

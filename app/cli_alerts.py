"""`flask alerts`: what is wrong, a test of the receiver, and quiet for a while, from the shell."""

import sys
from collections.abc import Sequence

import click
from flask import current_app
from flask.cli import with_appcontext

from app.cli_failing import FAILED, or_exit
from app.extensions import db
from app.services.alert_deliveries import (
    load_receiver,
    replay_deliveries,
    send_test,
)
from app.services.alert_views import AlertView
from app.services.alerts import (
    load_alerts,
    load_open_alerts,
    snooze_alert,
)
from app.services.house import House

MINUTES = {"m": 1, "h": 60, "d": 1440}


class Duration(click.ParamType[int]):
    """A time such as 30m, 4h or 2d, in minutes."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """The minutes, or a usage error that says what is taken."""
        if isinstance(value, int):
            return value
        written = str(value).strip().lower()
        number, unit = written[:-1], written[-1:]
        if unit not in MINUTES or not number.isascii() or not number.isdigit():
            self.fail(f"{written[:20]!r} is no time such as 30m, 4h or 2d", param, ctx)
        return int(number[:9]) * MINUTES[unit]


@click.group("alerts")
def alerts_command() -> None:
    """Look at alerts, test their receiver, snooze one."""


@alerts_command.command("test")
@with_appcontext
def test_command() -> None:
    """Send a test to ALERT_WEBHOOK_URL now. Exit status 0: it was taken, 1: it was not."""
    detail = or_exit(lambda: send_test(db.session, db.engine, _house()))
    for one in detail.attempts:
        click.echo(f"{detail.delivery.webhook_id}: {one.detail} ({one.latency_ms} ms)")
    if detail.delivery.status != "sent":
        sys.exit(FAILED)


@alerts_command.command("list")
@click.option("--all", "show_all", is_flag=True, help="The newest 50, resolved ones too.")
@with_appcontext
def list_command(show_all: bool) -> None:
    """Show what is pending or firing, the worst first."""
    house = _house()
    alerts = or_exit(lambda: _load(house, show_all=show_all))
    for alert in alerts:
        click.echo(_line(alert))
    receiver = or_exit(lambda: load_receiver(db.session, house))
    where = f"They go to {receiver.host}" if receiver.is_set else "They are sent nowhere"
    click.echo(
        f"{counted(len(alerts), 'alert')}. {where}; {receiver.waiting_count} waiting to be sent, "
        f"{receiver.dead_count} given up.",
        err=True,
    )


@alerts_command.command("snooze")
@click.argument("alert_id", type=click.IntRange(min=1))
@click.option(
    "--for", "minutes", type=Duration(), default="4h", help="30m, 4h, 2d; 0m ends a snooze."
)
@click.option("--reason", default="", help="Why, for others to read.")
@with_appcontext
def snooze_command(alert_id: int, minutes: int, reason: str) -> None:
    """Tell nobody of this alert for a while, even if it comes back."""
    alert = or_exit(
        lambda: snooze_alert(
            db.session, _house(), alert_id, minutes=minutes, author="cli", reason=reason
        )
    )
    until = alert.snoozed_until
    click.echo(f"Quiet until {until:%Y-%m-%d %H:%M} UTC" if until else "Not quiet any more")


@alerts_command.command("replay")
@click.argument("delivery_ids", nargs=-1)
@with_appcontext
def replay_command(delivery_ids: tuple[str, ...]) -> None:
    """Queue dead deliveries anew, all of them without an id."""
    count = or_exit(lambda: replay_deliveries(db.session, _house(), *delivery_ids))
    click.echo(f"{counted(count, 'delivery', 'deliveries')} queued again")


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 alert`, `2 alerts`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def _load(house: House, *, show_all: bool) -> Sequence[AlertView]:
    return (
        load_alerts(db.session, house).alerts if show_all else load_open_alerts(db.session, house)
    )


def _line(alert: AlertView) -> str:
    since = alert.fired_at or alert.pending_at
    quiet = " (snoozed)" if alert.snoozed_until else ""
    return (
        f"{alert.id:>6}  {alert.severity:<8}  {alert.state:<8}  {since:%Y-%m-%d %H:%M}  "
        f"{alert.headline}{quiet}"
    )


def _house() -> House:
    house: House = current_app.extensions["tapedeck"]
    return house

"""The life of an alert: told at its changes and at no other time."""

from datetime import datetime, timedelta

from app.alerts.changes import AlertState, Book
from tests.alerts.making import NOON, finding

HOUR = timedelta(hours=1)
KEY = ("run_failed", "mock")


def book(snoozed_until: dict[tuple[str, str], datetime] | None = None) -> Book:
    return Book({}, {} if snoozed_until is None else snoozed_until)


def told(book: Book) -> list[str]:
    return [notice.kind.value for notice in book.notices]


def test_trouble_is_told_once_however_often_it_is_found() -> None:
    alerts = book()
    for minute in range(60):
        alerts.apply(finding(), at=NOON + timedelta(minutes=minute))
    assert told(alerts) == ["fired"]


def test_a_wait_lets_short_trouble_pass_untold() -> None:
    alerts = book()
    alerts.settle(["data_gap"], [finding("data_gap", "BTC-USD")], at=NOON)
    assert alerts.open["data_gap", "BTC-USD"].state is AlertState.PENDING
    alerts.settle(["data_gap"], [], at=NOON + timedelta(minutes=29))
    assert (told(alerts), alerts.open) == ([], {})
    assert [episode.is_dropped for episode in alerts.touched] == [True]


def test_a_wait_that_is_over_fires_without_a_new_finding() -> None:
    alerts = book()
    alerts.apply(finding("data_gap", "BTC-USD"), at=NOON)
    alerts.pass_time(NOON + timedelta(minutes=29))
    assert told(alerts) == []
    alerts.pass_time(NOON + timedelta(minutes=30))
    assert told(alerts) == ["fired"]


def test_the_end_is_told_with_its_reason() -> None:
    alerts = book()
    alerts.apply(finding(), at=NOON)
    alerts.apply(finding(is_trouble=False, text="It works again."), at=NOON + HOUR)
    assert told(alerts) == ["fired", "resolved"]
    last = alerts.notices[-1]
    assert (last.title, last.text) == ("Runs from mock bring data again", "It works again.")
    assert last.episode.resolved_at == NOON + HOUR


def test_a_subject_that_is_not_found_any_more_is_over() -> None:
    alerts = book()
    both = [finding("market_stale", symbol) for symbol in ("BTC-USD", "ETH-USD")]
    alerts.settle(["market_stale"], both, at=NOON)
    alerts.pass_time(NOON + HOUR)
    alerts.settle(["market_stale"], both[:1], at=NOON + HOUR)
    assert told(alerts) == ["fired", "fired", "resolved"]
    assert set(alerts.open) == {("market_stale", "BTC-USD")}


def test_a_reminder_comes_every_four_hours() -> None:
    alerts = book()
    alerts.apply(finding(), at=NOON)
    for quarter in range(1, 9 * 4):
        alerts.pass_time(NOON + quarter * HOUR / 4)
    assert told(alerts) == ["fired", "reminded", "reminded"]
    assert [notice.noticed_at for notice in alerts.notices[1:]] == [
        NOON + 4 * HOUR,
        NOON + 8 * HOUR,
    ]


def test_snoozed_trouble_is_told_when_the_snooze_is_over() -> None:
    alerts = book({KEY: NOON + HOUR})
    alerts.apply(finding(), at=NOON)
    alerts.pass_time(NOON + HOUR - timedelta(seconds=1))
    assert (told(alerts), alerts.open[KEY].state) == ([], AlertState.FIRING)
    alerts.pass_time(NOON + HOUR)
    assert told(alerts) == ["fired"]


def test_what_was_never_told_is_not_told_to_be_over() -> None:
    alerts = book({KEY: NOON + HOUR})
    alerts.apply(finding(), at=NOON)
    alerts.apply(finding(is_trouble=False), at=NOON + HOUR / 2)
    assert told(alerts) == []
    assert alerts.touched[0].state is AlertState.RESOLVED


def test_a_snooze_holds_reminders_back_but_not_the_end() -> None:
    quiet: dict[tuple[str, str], datetime] = {}
    alerts = book(quiet)
    alerts.apply(finding(), at=NOON)
    quiet[KEY] = NOON + 10 * HOUR
    alerts.pass_time(NOON + 5 * HOUR)
    alerts.apply(finding(is_trouble=False), at=NOON + 6 * HOUR)
    assert told(alerts) == ["fired", "resolved"]


def test_trouble_that_comes_back_is_a_new_alert() -> None:
    alerts = book()
    for hour, is_trouble in enumerate((True, False, True)):
        alerts.apply(finding(is_trouble=is_trouble), at=NOON + hour * HOUR)
    assert told(alerts) == ["fired", "resolved", "fired"]
    assert len(alerts.touched) == 2


def test_new_words_about_known_trouble_are_kept_but_no_news() -> None:
    alerts = book()
    alerts.apply(finding(text="One."), at=NOON)
    alerts.apply(finding(text="Two."), at=NOON + HOUR)
    assert alerts.open[KEY].text == "Two."
    assert told(alerts) == ["fired"]


def test_a_provider_that_is_not_followed_any_more_is_let_go() -> None:
    alerts = book()
    alerts.apply(finding(), at=NOON)
    alerts.retire(["run_failed"], but="coingecko", at=NOON + HOUR)
    assert told(alerts) == ["fired", "resolved"]

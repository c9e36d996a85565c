"""The log: one line of valid JSON whatever is logged, and never a secret in it."""

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

import app.logs
from app.logs import (
    EXCEPTION_LENGTH,
    TEXT_LENGTH,
    LineFormatter,
    bind,
    configure_logging,
    redact,
    register_secret,
)

logger = logging.getLogger("tests.logs")
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """What the log wrote so far, parsed; a line that is not one JSON object fails the test."""
    monkeypatch.setattr(app.logs, "_secrets", set())
    monkeypatch.setattr(app.logs, "_secret_pattern", None)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("debug", stream=stream)

    def read() -> list[dict[str, Any]]:
        written = stream.getvalue().split("\n")[:-1]
        assert all(line.isascii() and line.isprintable() for line in written)
        return [json.loads(line, parse_constant=_refuse) for line in written]

    yield read
    root.handlers[:], root.level = before


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_line_has_time_level_logger_event_and_the_fields_given(lines: Lines) -> None:
    logger.info("run finished", extra={"rows": 7, "status": "succeeded"})
    (line,) = lines()
    assert list(line) == ["timestamp", "level", "logger", "event", "rows", "status"]
    assert line["level"] == "info"
    assert line["logger"] == "tests.logs"
    assert line["event"] == "run finished"
    assert (line["rows"], line["status"]) == (7, "succeeded")


def test_timestamp_is_utc_with_milliseconds(lines: Lines) -> None:
    before = datetime.now(UTC)
    logger.info("now")
    text = lines()[0]["timestamp"]
    assert text.endswith("Z")
    assert len(text) == len("2026-01-01T00:00:00.000Z")
    assert abs(datetime.fromisoformat(text) - before).total_seconds() < 60


def test_bound_fields_stand_on_every_line_and_are_taken_back(lines: Lines) -> None:
    with bind(run_id=UUID(int=1), request_id="r-1"):
        with bind(stage="fetch"):
            logger.info("inside")
        logger.info("between")
    logger.info("outside")
    inside, between, outside = lines()
    assert (inside["run_id"], inside["request_id"], inside["stage"]) == (
        str(UUID(int=1)),
        "r-1",
        "fetch",
    )
    assert "stage" not in between
    assert "run_id" in between
    assert "run_id" not in outside


def test_bound_fields_are_taken_back_after_an_error(lines: Lines) -> None:
    with pytest.raises(KeyError), bind(run_id="r"):
        raise KeyError("x")
    logger.info("after")
    assert "run_id" not in lines()[0]


def test_another_thread_does_not_inherit_what_is_bound(lines: Lines) -> None:
    with bind(run_id="mine"):
        thread = threading.Thread(target=lambda: logger.info("theirs"))
        thread.start()
        thread.join()
    assert "run_id" not in lines()[0]


def test_a_field_given_wins_over_the_bound_one(lines: Lines) -> None:
    with bind(stage="fetch"):
        logger.info("event", extra={"stage": "store"})
    assert lines()[0]["stage"] == "store"


def test_field_that_would_hide_ours_is_renamed(lines: Lines) -> None:
    logger.info("real event", extra={"event": "other", "level": 9})
    (line,) = lines()
    assert (line["event"], line["event_"]) == ("real event", "other")
    assert (line["level"], line["level_"]) == ("info", 9)


def test_exception_is_one_field(lines: Lines) -> None:
    try:
        raise ValueError("broken\nin two lines")
    except ValueError:
        logger.exception("it failed")
    (line,) = lines()
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: broken\nin two lines")


def test_long_exception_keeps_its_end(lines: Lines) -> None:
    try:
        raise ValueError("x" * 100_000 + "the end")
    except ValueError:
        logger.exception("it failed")
    text = lines()[0]["exception"]
    assert text.endswith("the end")
    assert len(text) < EXCEPTION_LENGTH + 100


@pytest.mark.parametrize(
    "text",
    ["two\nlines", "\r\n", "\x1b[31mred", "a\u2028b\u2029c", "\x85", "\x00", 'quote"\\'],
)
def test_hostile_text_stays_on_one_ascii_line(lines: Lines, text: str) -> None:
    logger.info(text, extra={"field": text, f"key{text}": 1})
    (line,) = lines()
    assert line["event"] == text
    assert line["field"] == text


def test_lone_surrogate_stays_on_one_ascii_line() -> None:
    # Straight to the formatter: what pytest captures of a log has to be text that xdist can send.
    record = logging.LogRecord("tests.logs", logging.INFO, "", 0, "\ud800", None, None)
    written = LineFormatter().format(record)
    assert written.isascii()
    assert json.loads(written)["event"] == "\ud800"


def test_megabyte_is_cut_to_the_stated_size(lines: Lines) -> None:
    logger.info("x" * 1_000_000, extra={"field": "y" * 1_000_000})
    (line,) = lines()
    assert line["event"] == "x" * TEXT_LENGTH + f"… ({1_000_000 - TEXT_LENGTH} characters more)"
    assert len(json.dumps(line)) < 3 * TEXT_LENGTH


class Colour(Enum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Decimal("1E-12"), "0.000000000001"),
        (Decimal("60123.40"), "60123.40"),
        (Decimal("NaN"), "NaN"),
        (Decimal("1E+400"), "1E+400"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (1.5, 1.5),
        (True, True),
        (None, None),
        (2**64, "0x10000000000000000"),
        (datetime(2026, 3, 1, 12, tzinfo=UTC), "2026-03-01T12:00:00.000Z"),
        (date(2026, 3, 1), "2026-03-01"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Colour.RED, "Colour.RED"),
        (b"abc", "<3 bytes>"),
        ({"a": Decimal(1), 2: {3}}, {"a": "1", "2": [3]}),
        (ValueError("no"), "ValueError: no"),
        (SecretStr("hunter22"), "**********"),
    ],
)
def test_values_are_written_as_json_can_carry_them(
    lines: Lines, value: object, written: object
) -> None:
    logger.info("value", extra={"value": value})
    assert lines()[0]["value"] == written


def test_endless_structure_ends(lines: Lines) -> None:
    loop: list[object] = []
    loop.append(loop)
    logger.info("loop", extra={"loop": loop, "long": list(range(100_000))})
    assert len(lines()[0]["long"]) == app.logs.ITEMS


def test_secret_is_masked_in_message_fields_keys_and_exception(lines: Lines) -> None:
    register_secret("s3cr3t/+ value")
    try:
        raise RuntimeError("with s3cr3t/+ value inside")
    except RuntimeError:
        logger.exception(
            "said %s", "s3cr3t/+ value",
            extra={"deep": [{"k s3cr3t/+ value": "s3cr3t%2F%2B%20value"}]},
        )  # fmt: skip
    (line,) = lines()
    assert line["event"] == "said ***"
    assert line["deep"] == [{"k ***": "***"}]
    assert "s3cr3t" not in json.dumps(line)


def test_longer_secret_is_masked_whole_when_a_shorter_one_begins_it(lines: Lines) -> None:
    register_secret("abcd")
    register_secret("abcdefgh")
    assert redact("is abcdefgh.") == "is ***."


def test_very_short_and_empty_secrets_do_not_garble_the_log(lines: Lines) -> None:
    for value in ("", "a", None, "   "):
        register_secret(value)
    logger.info("a plain event")
    assert lines()[0]["event"] == "a plain event"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("postgresql://joe:pw@db:5432/x", "postgresql://***@db:5432/x"),
        ("redis://:pw@cache/0", "redis://***@cache/0"),
        ("https://token@host/", "https://***@host/"),
        ("postgres://joe:p@ss/w:rd@db/x failed", "postgres://***@db/x failed"),
        ("see http://127.0.0.1:8000/runs", "see http://127.0.0.1:8000/runs"),
        ("mail joe@example.com", "mail joe@example.com"),
    ],
)
def test_user_and_password_of_an_address_are_masked(text: str, safe: str) -> None:
    assert redact(text) == safe


def test_fields_named_like_a_secret_are_masked(lines: Lines) -> None:
    logger.info("event", extra={"api_key": "k", "headers": {"Authorization": "Bearer x"}})
    assert lines()[0]["api_key"] == "***"
    assert lines()[0]["headers"] == {"Authorization": "***"}


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_record_that_cannot_be_written_leaves_a_line_that_says_so(lines: Lines) -> None:
    ours = [h for h in logging.getLogger().handlers if isinstance(h.formatter, LineFormatter)]
    for message, args in (("bad field", ()), ("bad arguments %d", ("x",))):
        record = logging.LogRecord("some.name", 20, "somewhere.py", 7, message, args, None)
        record.value = Unprintable() if not args else None
        ours[0].handle(record)
    first, second = lines()
    assert first["event"] == second["event"] == "log record could not be written"
    assert (first["error"], second["error"]) == ("RuntimeError", "TypeError")
    assert (first["logger"], first["line"]) == ("some.name", "somewhere.py:7")


def test_configuring_twice_writes_each_line_once(lines: Lines) -> None:
    stream = io.StringIO()
    configure_logging("warning", stream=stream)
    logger.info("too low")
    logger.warning("once")
    assert lines() == []
    assert len(stream.getvalue().splitlines()) == 1


def test_noisy_libraries_speak_from_warning_on(lines: Lines) -> None:
    logging.getLogger("urllib3.connectionpool").debug("noise")
    logging.getLogger("apscheduler.executors").info("noise")
    logging.getLogger("werkzeug").info("noise")
    logging.getLogger("urllib3").warning("heard")
    assert [line["event"] for line in lines()] == ["heard"]


def test_dictionary_message_becomes_fields(lines: Lines) -> None:
    logger.info({"event": "from elsewhere", "n": 1})
    assert (lines()[0]["event"], lines()[0]["n"]) == ("from elsewhere", 1)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    )
)
def test_any_value_gives_valid_json(value: object) -> None:
    record = logging.LogRecord("x", 20, "f", 1, "event", None, None)
    record.value = value
    line = LineFormatter().format(record)
    assert "\n" not in line
    assert "value" in json.loads(line, parse_constant=_refuse)


def test_integer_beyond_pythons_limit_for_text_is_written(lines: Lines) -> None:
    logger.info("huge", extra={"value": 10**5000})
    assert lines()[0]["value"].startswith("0x")


class Paper(io.StringIO):
    """A stream that counts its writings and says when there was one."""

    def __init__(self) -> None:
        super().__init__()
        self.writings = 0
        self.was_written = threading.Event()

    def write(self, text: str) -> int:
        self.writings += 1
        length = super().write(text)
        self.was_written.set()
        return length

    def events(self) -> list[str]:
        """What the lines say, in their order."""
        return [json.loads(line)["event"] for line in self.getvalue().splitlines()]


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Iterator[Paper]:
    """Where the log is written to."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    paper = Paper()
    configure_logging("info", stream=paper)
    yield paper
    root.handlers[:], root.level = before


def test_lines_of_requests_are_written_together_and_without_being_asked(paper: Paper) -> None:
    requests = logging.getLogger("app.web.request_log")
    for number in range(50):
        requests.info("request %d", number)
    assert paper.was_written.wait(30)
    while len(paper.events()) < 50:
        paper.was_written.clear()
        assert paper.was_written.wait(30)
    assert paper.events() == [f"request {number}" for number in range(50)]
    assert paper.writings < 50


def test_any_other_line_comes_at_once_and_after_those_that_wait(
    paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.logs, "WAIT_SECONDS", 600)
    requests = logging.getLogger("app.web.request_log")
    requests.info("a request")
    assert paper.events() == []
    logger.info("something else")
    assert paper.events() == ["a request", "something else"]
    requests.warning("a request that went wrong")
    assert len(paper.events()) == 3
    requests.info("the last request")
    for handler in logging.getLogger().handlers:
        handler.flush()
    assert paper.events()[-1] == "the last request"


def test_a_log_that_nobody_takes_any_more_breaks_no_request(
    paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.logs, "WAIT_SECONDS", 600)
    requests = logging.getLogger("app.web.request_log")
    requests.info("a request")
    paper.close()
    logger.info("something else")
    requests.info("a request")

"""How cached values are written down and read back."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from app.cache_codec import Header, UnreadableValue, UnstorableValue, decode, encode, read_header


@dataclass(frozen=True)
class Quote:
    price: Decimal
    observed_at: datetime
    tags: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1.5, "", "text\n\u2028 😀", b"", b"\x00\xff\n", [], [1, None], {"a": [{}]}],
)
def test_a_value_comes_back_as_it_was(value: object) -> None:
    blob = encode("name", value, expires_at_ms=0)
    back = decode(blob)
    assert back == value
    assert type(back) is type(value)


def test_a_dataclass_keeps_every_digit() -> None:
    quote = Quote(
        Decimal("0.123456789012345678901234"), datetime(2026, 3, 1, tzinfo=UTC), frozenset("ab")
    )
    assert decode(encode("name", quote, expires_at_ms=0), Quote) == quote


def test_the_header_is_readable_text_with_the_end_of_life() -> None:
    blob = encode("name", [1], expires_at_ms=1_790_000_000_123)
    line, _, body = blob.partition(b"\n")
    assert line.isalnum()
    assert body == b"[1]"
    assert read_header("name", blob) == Header(kind=b"j", expires_at_ms=1_790_000_000_123)


def test_seconds_left_counts_to_the_end_of_life() -> None:
    assert Header(b"j", 10_000).seconds_left(now_ms=4_000) == 6
    assert Header(b"j", 10_000).seconds_left(now_ms=11_000) == pytest.approx(0, abs=0.01)
    assert Header(b"j", 0).seconds_left(now_ms=11_000) == 0


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"hello",
        b"\x80\x04K\x01.",  # a pickle
        encode("another name", 1, expires_at_ms=0),
        b"2" + encode("name", 1, expires_at_ms=0)[1:],
        b"1jzzzzzzzzzzzzzzzzzzzz\n1",
        [b"a", b"list"],
        7,
    ],
)
def test_what_another_hand_wrote_is_refused(blob: object) -> None:
    with pytest.raises(UnreadableValue):
        read_header("name", blob)


@pytest.mark.parametrize(
    ("kind", "body"), [(b"j", b"{"), (b"t", b"\xff"), (b"?", b"1"), (b"j", b"")]
)
def test_a_damaged_body_is_refused(kind: bytes, body: bytes) -> None:
    blob = encode("name", 1, expires_at_ms=0)
    with pytest.raises(UnreadableValue):
        decode(blob[:1] + kind + blob[2:-1] + body)


def test_json_nested_without_end_is_refused() -> None:
    blob = encode("name", 1, expires_at_ms=0)[:-1] + b"[" * 100_000
    with pytest.raises(UnreadableValue):
        decode(blob)


@pytest.mark.parametrize(("value", "kind"), [("text", bytes), (b"bytes", str), ([1], Quote)])
def test_a_value_of_another_type_than_asked_for_is_refused(value: object, kind: type) -> None:
    with pytest.raises(UnreadableValue):
        decode(encode("name", value, expires_at_ms=0), kind)


@pytest.mark.parametrize("value", [object(), {(1, 2): 3}, "\ud800", lambda: None])
def test_what_json_cannot_carry_is_refused(value: object) -> None:
    with pytest.raises(UnstorableValue):
        encode("name", value, expires_at_ms=0)

"""Answers of CoinGecko, bent in every way: strategies for hypothesis, and a reader to judge by.

Everything is made as JSON text, since Python's own writer could not say half of it.
"""

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.ingestion.exchange import row
from tests.providers.coingecko_setup import payload

PRISTINE = "pristine"
RECORDED_ROWS = 40
Pair = tuple[str, str]  # a key and its value, both as JSON text


def _recorded_rows() -> Iterator[dict[str, Any]]:
    """Rows as CoinGecko sends them: those at hand, and recorded ones where there are any."""
    yield from json.loads(payload("coingecko_markets.json"))
    root = os.environ.get("TAPEDECK_RECORDINGS")
    if root:
        pages = sorted((Path(root) / "coingecko-daily-top100").glob("*.json.gz"))
        yield from json.loads(gzip.decompress(pages[-1].read_bytes()))[:RECORDED_ROWS]


def _pairs(found: dict[str, Any]) -> tuple[Pair, ...]:
    return tuple((json.dumps(key), json.dumps(value)) for key, value in found.items())


ROWS = tuple(_pairs(found) for found in _recorded_rows() if isinstance(found, dict))
KEYS = sorted({key for found in ROWS for key, _ in found})
READ = ['"current_price"', '"total_volume"', '"market_cap"', '"last_updated"', '"id"', '"name"']

NUMBERS = st.one_of(
    st.floats(min_value=1e-9, max_value=1e12).map(repr),
    # More digits than a float can hold.
    st.from_regex(r"[1-9][0-9]{0,9}\.[0-9]{12,30}", fullmatch=True),
    st.from_regex(r"[1-9][0-9]{17,27}", fullmatch=True),
    st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,45})?([eE][+-]?[0-9]{1,4})?", fullmatch=True),
    st.sampled_from(["0", "-0.0", "1e400", "1E-400", "1e-19", "1" * 5000, "9" * 30, "1e30", "-1"]),
)
NO_JSON = st.sampled_from(
    ["NaN", "Infinity", "-Infinity", "01", "+1", ".5", "1.", "0x1F", "'a'", ""]
)
# Half of a pair of surrogates, control characters and zeros are written as JSON may write them.
TEXTS = st.text(st.characters(exclude_categories=()), max_size=30).map(json.dumps)
INSTANTS = st.one_of(
    st.datetimes().map(lambda at: json.dumps(f"{at.isoformat()}Z")),
    st.from_regex(r'"2026-0[123]-[0-9]{2}T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]Z"', fullmatch=True),
    st.from_regex(r'"[0-9]{4,6}-[0-9]{2}-[0-9]{2}T10:20:00(\+|-)[0-9]{2}:?[0-9]{2}"'),
)
NESTED = st.one_of(
    st.integers(1, 200).map(lambda depth: "[" * depth + "]" * depth),
    st.recursive(
        st.one_of(NUMBERS, TEXTS),
        lambda inner: st.lists(inner, max_size=3).map(lambda parts: f"[{','.join(parts)}]"),
        max_leaves=6,
    ),
    st.dictionaries(TEXTS, NUMBERS, max_size=3).map(
        lambda members: "{" + ",".join(f"{key}:{value}" for key, value in members.items()) + "}"
    ),
)
VALUES = st.one_of(
    NUMBERS,
    NUMBERS.map(json.dumps),
    TEXTS,
    INSTANTS,
    NESTED,
    st.sampled_from(["null", "true", "false", '""', "{}", "[]", '" 1.5 "', '"1,234.5"', '"１２"']),
)


@st.composite
def bent_rows(draw: st.DrawFn) -> str:
    """A row of the real shape with up to four changes: values, keys gone, new or double."""
    pairs = list(draw(st.sampled_from(ROWS)))
    if draw(st.integers(0, 3)):
        pairs = [pair if pair[0] != '"last_updated"' else (pair[0], NOW) for pair in pairs]
    for _ in range(draw(st.integers(0, 4))):
        key = (
            draw(st.sampled_from([*READ, *READ, *KEYS])) if draw(st.integers(0, 9)) else draw(TEXTS)
        )
        change = draw(st.sampled_from(["set", "set", "drop", "add"]))
        kept = [pair for pair in pairs if pair[0] != key]
        if change == "drop":
            pairs = kept
        else:
            value = draw(SPOILERS if draw(st.integers(0, 60)) == 7 else VALUES)
            place = draw(st.integers(0, len(pairs)))
            pairs = [*(pairs if change == "add" else kept)]
            pairs.insert(place, (key, value))
    return "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"


# What makes the whole answer unreadable, wherever in it it stands.
SPOILERS = st.one_of(
    NO_JSON,
    st.sampled_from([3000, 60_000]).map(lambda depth: "[" * depth + "]" * depth),
)
NOW = '"2026-03-04T10:19:59.000Z"'
# Not `one_of`, which would give each kind of value the weight of a whole row.
ELEMENTS = st.integers(0, 9).flatmap(lambda luck: VALUES if luck == 5 else bent_rows())


@st.composite
def bent_answers(draw: st.DrawFn) -> bytes:
    """A list of bent rows and one that is as it should be; now and then the list itself is bent."""
    elements = draw(st.lists(ELEMENTS, max_size=6))
    elements.insert(draw(st.integers(0, len(elements))), json.dumps(row(PRISTINE)))
    content = f"[{', '.join(elements)}]".encode("utf-8", "surrogatepass")
    match draw(st.integers(0, 30)):  # its ends are drawn more often than what lies between
        case 11:
            return content[: draw(st.integers(0, len(content)))]
        case 12:
            place = draw(st.integers(0, len(content)))
            return content[:place] + draw(st.binary(min_size=1, max_size=4)) + content[place:]
        case 13:
            return draw(VALUES).encode("utf-8", "surrogatepass")
        case 14:
            return b"\xef\xbb\xbf" + content
    return content


@dataclass(frozen=True, slots=True)
class Source:
    """What a row of the answer says, read by another reader than the product's."""

    id: object
    members: dict[str, list[Any]]

    def figures(self, key: str) -> set[Decimal]:
        """The numbers that stand at this key, in quotes or not; several where it stands twice."""
        found = (_figure(value) for value in self.members.get(key, []))
        return {value for value in found if value is not None}

    def instants(self) -> set[datetime]:
        """The instants that it names; a leap second is the first of the next minute."""
        found = (_instant(value) for value in self.members.get("last_updated", []))
        return {value for value in found if value is not None}


def read_sources(body: bytes) -> list[Source] | None:
    """The elements of the list; None where the answer is no JSON list that Python can read."""
    try:
        found = json.loads(
            body.decode("utf-8-sig"),
            parse_float=Decimal,
            parse_int=Decimal,
            parse_constant=_refuse,
            object_pairs_hook=_Members,
        )
    except (ValueError, RecursionError, InvalidOperation):
        return None
    return [_source(element) for element in found] if isinstance(found, list) else None


class _Members(list[tuple[str, Any]]):
    """The members of an object in order, doubles included."""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _source(element: Any) -> Source:
    members: dict[str, list[Any]] = {}
    if isinstance(element, _Members):
        for key, value in element:
            members.setdefault(key, []).append(value)
    return Source((members.get("id") or [None])[-1], members)


def _figure(value: Any) -> Decimal | None:
    if isinstance(value, Decimal):
        return value
    try:
        return Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        return None


def _instant(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    seconds = value[17:19]
    try:
        instant = datetime.fromisoformat(value[:17] + seconds.replace("60", "59") + value[19:])
        return instant.astimezone(UTC) + timedelta(seconds=seconds == "60")
    except (ValueError, OverflowError):
        return None

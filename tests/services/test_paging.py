"""Cursors: what is written can be read, and nothing else is taken for one."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest
from app.services.paging import LARGEST_PAGE, check_limit, read_cursor, write_cursor

PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(st.lists(st.one_of(st.none(), PLAIN), max_size=4))
def test_a_cursor_gives_back_what_was_written(values: list[str | None]) -> None:
    cursor = write_cursor(values)
    assert read_cursor(cursor, len(values)) == values
    assert cursor.isascii()
    assert not set(cursor) & set("+/=&?#")


def test_no_cursor_is_the_first_page() -> None:
    assert read_cursor(None, 2) is None
    assert read_cursor("", 2) is None


@given(st.one_of(st.text(min_size=1), st.binary(min_size=1).map(lambda raw: raw.decode("latin-1"))))
def test_anything_else_is_read_or_refused(text: str) -> None:
    try:
        values = read_cursor(text, 2)
    except InvalidRequest:
        return
    assert values is not None
    assert len(values) == 2


@pytest.mark.parametrize(
    "content",
    ["[1, 2]", '["a"]', "null", "{}", "[" * 9000, '["a", "\\u0000"]', '["a", "\\ud800"]', "é"],
)
def test_content_of_another_kind_is_refused(content: str) -> None:
    cursor = base64.urlsafe_b64encode(content.encode()).decode()
    with pytest.raises(InvalidRequest, match="cursor"):
        read_cursor(cursor, 2)


def test_a_page_holds_at_least_one_row_and_at_most_the_largest_page() -> None:
    assert [check_limit(limit) for limit in (1, LARGEST_PAGE)] == [1, LARGEST_PAGE]
    for limit in (0, LARGEST_PAGE + 1):
        with pytest.raises(InvalidRequest, match=f"limit is {limit}, but must be 1 to"):
            check_limit(limit)

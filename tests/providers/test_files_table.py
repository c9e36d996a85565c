"""Which rows a file has, which of them are bad, and when the file as a whole is."""

import contextlib
import gzip
import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import Granularity
from app.providers.files_copy import FileCopy, FileTrouble, Identity
from app.providers.files_table import read_table
from tests.providers.files_setup import HEADER, HOUR, Asked, hour, hours, line

NAME = "BTC-USD_1h.csv"


def write(folder: Path, content: str, name: str = NAME) -> Path:
    (folder / name).write_text(content)
    return folder


def prices(folder: Path, **options: Any) -> list[Decimal]:
    return [candle.close for candle in Asked(folder, **options).candles()]


def test_a_bad_row_is_set_aside_by_its_line_and_the_rest_is_kept(tmp_path: Path) -> None:
    bad = ["2025-04-16T07:00:00Z,1,2", "yesterday,1,2,1,2,3", line(hour(-1), "1,x,1,2").rstrip()]
    rows = [line(hour(-5)), f"{bad[0]}\n", line(hour(-4)), f"{bad[1]}\n", f"{bad[2]}\n"]
    asked = Asked(write(tmp_path, HEADER + "".join(rows)))
    assert [candle.opened_at for candle in asked.candles()] == [hour(-5), hour(-4)]
    assert [(row.reason, row.detail) for row in asked.rejected] == [
        ("not_a_number", f"{NAME} line 6: high is 'x', which is not a number."),
        ("bad_shape", f"{NAME} line 3: it has 3 cells instead of 6."),
        (
            "bad_time",
            f"{NAME} line 5: the time is 'yesterday', which is not ISO 8601 or unix.",
        ),
    ]
    assert {row.raw for row in asked.rejected} == {
        f"{NAME} line {number}: {text}" for number, text in zip((3, 5, 6), bad, strict=True)
    }


@pytest.mark.parametrize("row", ["nonsense\n", ""])
def test_of_very_many_bad_rows_the_first_thousand_are_told_and_the_rest_counted(
    tmp_path: Path, row: str
) -> None:
    minute = timedelta(minutes=1)
    bad = [row or line(hour(-150) + number * minute, "x,2,1,2") for number in range(1500)]
    good = [line(hour(-20) + number * minute) for number in range(120)]
    asked = Asked(write(tmp_path, HEADER + "".join(bad + good), "BTC-USD_1m.csv"))
    assert len(asked.candles()) == 2
    assert len(asked.rejected) == 1001
    assert asked.rejected[-1].reason == "more_bad_rows"
    assert "line 1501: it is the last of 500 more rows" in asked.rejected[-1].detail


def test_a_bad_row_is_told_by_the_call_whose_span_it_lies_in(tmp_path: Path) -> None:
    rows = [line(hour(-50)), "nonsense\n", line(hour(-2)), line(hour(-1))]
    asked = Asked(write(tmp_path, HEADER + "".join(rows)))
    asked.candles(days=1)
    assert asked.rejected == []
    asked.candles(days=9)
    assert [row.detail[:21] for row in asked.rejected] == [f"{NAME} line 3"[:21]]
    asked.candles(days=9)
    assert asked.rejected == [], "a run tells each row once"


def test_of_two_rows_of_one_moment_the_later_line_is_kept(tmp_path: Path) -> None:
    rows = [line(hour(-3), "1,3,1,2"), line(hour(-2)), line(hour(-3), "1,4,1,4"), line(hour(-2))]
    asked = Asked(write(tmp_path, HEADER + "".join(rows)))
    assert [candle.close for candle in asked.candles()] == [4, 11]
    (rejected,) = asked.rejected
    assert rejected.reason == "repeated"
    assert (
        rejected.detail == f"{NAME} line 2: line 4 is of the same moment and says something else."
    )


@pytest.mark.parametrize("end", [",10,12,9,1", ",10,12,9,11,5", ",10,12", ",", ""])
def test_a_last_line_that_is_cut_is_a_problem_and_never_half_a_row(
    tmp_path: Path, end: str
) -> None:
    write(tmp_path, hours(-3) + f"{hour(0):%Y-%m-%dT%H:%M:%SZ}{end}")
    asked = Asked(tmp_path)
    assert "may still be being written" in asked.complaint()
    assert asked.candles() == []


def test_an_open_end_may_be_allowed_and_a_cut_row_is_refused_even_then(tmp_path: Path) -> None:
    write(tmp_path, hours(-3).rstrip("\n"))
    assert len(prices(tmp_path, allow_open_end=True)) == 3
    write(tmp_path, hours(-3).rstrip("\n").removesuffix(",5"))
    assert "is cut" in Asked(tmp_path, allow_open_end=True).complaint()


def test_a_packed_file_without_a_last_line_end_is_known_to_be_whole(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.gz").write_bytes(gzip.compress(hours(-3).rstrip("\n").encode()))
    assert len(prices(tmp_path)) == 3


@pytest.mark.parametrize("name", ["BTC-USD_1h.json", "BTC-USD_1h.jsonl"])
def test_json_that_is_cut_anywhere_is_never_half_a_row(tmp_path: Path, name: str) -> None:
    rows = [json.dumps({"time": hour(n).isoformat(), **ohlc()}) for n in range(-3, 0)]
    is_array = name.endswith(".json")
    whole = f"[{', '.join(rows)}]" if is_array else "\n".join(rows)
    write(tmp_path, whole, name)
    assert len(prices(tmp_path)) == 3
    for size in range(len(whole) - len(rows[2]) + 1, len(whole)):
        write(tmp_path, whole[:size], name)
        asked = Asked(tmp_path)
        if is_array or whole[:size].rstrip("\n").count("\n") == 2:
            assert "written" in asked.complaint(), whole[:size]


def ohlc() -> dict[str, float]:
    return {"open": 10, "high": 12, "low": 9, "close": 11}


def test_lines_that_end_like_those_of_windows_and_blank_ones_are_read(tmp_path: Path) -> None:
    content = hours(-3).replace("\n", "\r\n")
    (tmp_path / NAME).write_bytes(b"\xef\xbb\xbf" + content.encode() + b"\r\n  \r\n")
    asked = Asked(tmp_path)
    assert len(asked.candles()) == 3
    assert asked.rejected == []


def test_a_row_that_names_no_market_is_set_aside(tmp_path: Path) -> None:
    rows = [f"BTC-USD,{line(hour(-3))}", f",{line(hour(-2))}", f"BTC-USD,{line(hour(-1))}"]
    asked = Asked(write(tmp_path, f"symbol,{HEADER}{''.join(rows)}", "drop_1h.csv"))
    assert [candle.opened_at for candle in asked.candles()] == [hour(-3), hour(-1)]
    (rejected,) = asked.rejected
    assert (rejected.reason, rejected.detail[:18]) == ("symbol_missing", "drop_1h.csv line 3")


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, HEADER.replace("volume", "close") + line(hour(-1)))
    assert "has the column close more than once" in Asked(tmp_path).complaint()


def test_more_rows_than_allowed_are_refused(tmp_path: Path) -> None:
    write(tmp_path, hours(-11))
    assert (
        "more than 10 rows, the most that FILES_MAX_ROWS allows"
        in Asked(tmp_path, max_rows=10).complaint()
    )
    assert len(prices(tmp_path, max_rows=11)) == 11


def test_a_file_without_one_good_row_says_so_with_its_first(tmp_path: Path) -> None:
    write(tmp_path, HEADER + "a,b,c,d,e,f\n" * 3)
    assert (
        "has no row that can be read. The first: line 2, the time is 'a'"
        in Asked(tmp_path).complaint()
    )


def test_the_step_of_a_file_is_found_in_its_rows_or_its_name(tmp_path: Path) -> None:
    days = HEADER + "".join(line(hour(-10 - 24 * number)) for number in range(5))
    write(tmp_path, days, "BTC-USD.csv")
    asked = Asked(tmp_path)
    assert asked.candles(granularity=Granularity.HOURLY) == []
    assert len(asked.candles(granularity=Granularity.DAILY)) == 5
    write(tmp_path, HEADER + line(hour(-2)), "BTC-USD.csv")
    assert "put _1h or _1d into its name" in Asked(tmp_path).complaint()
    (tmp_path / "BTC-USD.csv").rename(tmp_path / NAME)
    assert len(prices(tmp_path)) == 1


def test_a_name_that_contradicts_the_rows_is_refused(tmp_path: Path) -> None:
    write(tmp_path, hours(-30), "BTC-USD_1d.csv")
    assert "should have rows 1 d apart, but they are 1 h apart" in Asked(tmp_path).complaint()


def test_days_in_a_file_that_says_hours_are_refused(tmp_path: Path) -> None:
    write(tmp_path, HEADER + "".join(line(hour(-10 - 24 * number)) for number in range(5)))
    assert "should have rows 1 h apart, but they are 1 d apart" in Asked(tmp_path).complaint()


def test_a_list_with_anything_around_its_rows_is_refused(tmp_path: Path) -> None:
    row = json.dumps({"time": hour(-2).isoformat(), **ohlc()})
    for text in (f"[{row}] {row}", f"[{row}, 7]", f"[{row}]]", f"[{row} x {row}]"):
        write(tmp_path, text, "BTC-USD_1h.json")
        assert "is not a whole JSON array after its row 1" in Asked(tmp_path).complaint(), text


def test_hours_without_trades_may_be_missing(tmp_path: Path) -> None:
    write(tmp_path, HEADER + "".join(line(hour(number)) for number in (-90, -50, -49, -20, -3)))
    assert len(prices(tmp_path)) == 5


def test_odd_steps_are_refused(tmp_path: Path) -> None:
    rows = "".join(line(hour(-60) + number * 7 * HOUR) for number in range(6))
    write(tmp_path, HEADER + rows, "BTC-USD.csv")
    assert "has rows 7 h apart" in Asked(tmp_path).complaint()


def whole_copy(text: bytes, name: str) -> FileCopy:
    return FileCopy(name, Identity(0, 0, len(text), 0, 0), text, is_packed=False)


@given(st.binary(max_size=300), st.sampled_from(["A_1h.csv", "A_1h.json", "A_1h.jsonl"]))
def test_any_bytes_are_a_table_or_a_trouble(noise: bytes, name: str) -> None:
    beginning = HEADER.encode() if name.endswith("csv") else b'[{"time": 1600000000, "price": 1}'
    for text in (noise, beginning + noise, beginning + b"\n" + noise + b"\n"):
        with contextlib.suppress(FileTrouble):
            table = read_table(
                whole_copy(text, name),
                tag=timedelta(hours=1),
                most_rows=100,
                allow_open_end=True,
                check=lambda: None,
            )
            assert all(len(each.micros) == len(each.starts) for each in table.series)

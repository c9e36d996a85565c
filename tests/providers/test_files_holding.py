"""What the files of a market hold, and when they have to be read again."""

from datetime import timedelta
from pathlib import Path

import pytest

from app.domain import Granularity
from app.providers import files_copy
from tests.providers.files_setup import HEADER, HOUR, Asked, hour, hours, line

MINUTE = timedelta(minutes=1)


def write(folder: Path, **contents: str) -> Path:
    """CSV files by name, `__` for the dash."""
    for name, content in contents.items():
        (folder / f"{name.removesuffix('_csv').replace('__', '-')}.csv").write_text(content)
    return folder


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1m"], {Granularity.HOURLY}),
        (["1h", "1m"], {Granularity.HOURLY}),
        (["4h"], {Granularity.DAILY}),
        (["1d"], {Granularity.DAILY}),
        (["1d", "1h"], {Granularity.HOURLY, Granularity.DAILY}),
        (["1w"], set()),
    ],
)
def test_what_the_files_of_a_market_hold_is_told(
    tmp_path: Path, names: list[str], expected: set[Granularity]
) -> None:
    steps = {"1m": MINUTE, "1h": HOUR, "4h": 4 * HOUR, "1d": 24 * HOUR, "1w": 168 * HOUR}
    for name in names:
        content = HEADER + "".join(line(hour(-400) + n * steps[name]) for n in range(3))
        (tmp_path / f"BTC-USD_{name}.csv").write_text(content)
    asked = Asked(tmp_path)
    assert asked.provider.own_candles(asked.market).granularities == expected


def test_closes_alone_are_no_candles_and_prices_make_hours(tmp_path: Path) -> None:
    write(tmp_path, A__USD_csv="time,close\n2025-04-15,1\n2025-04-16,2\n")
    write(tmp_path, B__USD_csv="time,price\n2025-04-15,1\n2025-04-16,2\n")
    closes, quotes = Asked(tmp_path, "A-USD"), Asked(tmp_path, "B-USD")
    assert closes.provider.own_candles(closes.market).granularities == frozenset()
    assert quotes.provider.own_candles(quotes.market).granularities == {Granularity.HOURLY}


def test_the_state_of_a_market_changes_with_its_files_and_with_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def state() -> str | None:
        asked = Asked(tmp_path)
        return asked.provider.own_candles(asked.market).state

    write(tmp_path, BTC__USD_csv=hours(-5))
    assert state() == "", "written just now, it may be written again"
    monkeypatch.setattr(files_copy, "SETTLED_NS", 0)
    first = state()
    assert first
    write(tmp_path, ETH__USD_csv=hours(-5))
    assert state() == first
    write(tmp_path, BTC__USD_csv=hours(-5).replace("12,9", "13,9"))
    second = state()
    write(tmp_path, BTC__USD_1h_csv=hours(-9))
    assert len({first, second, state()}) == 3


def test_a_state_is_that_of_the_first_look_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_copy, "SETTLED_NS", 0)
    write(tmp_path, BTC__USD_csv=hours(-5))
    asked = Asked(tmp_path)
    asked.snapshot()
    write(tmp_path, BTC__USD_csv=hours(-9))
    assert len(asked.candles()) == 9
    later = Asked(tmp_path)
    before, after = (each.provider.own_candles(each.market) for each in (asked, later))
    assert before.state != after.state, "what changed meanwhile is read again by the next run"


def test_of_hours_and_days_that_close_together_the_hour_speaks(tmp_path: Path) -> None:
    midnight = hour(0).replace(hour=0)
    one_day = "".join(line(midnight - n * 24 * HOUR, "1,9,1,5") for n in (3, 2, 1))
    last_hours = "".join(line(midnight - n * HOUR, "1,9,1,6") for n in (3, 2, 1))
    write(tmp_path, BTC__USD_1d_csv=HEADER + one_day, BTC__USD_1h_csv=HEADER + last_hours)
    snapshot = Asked(tmp_path).snapshot()
    assert snapshot is not None
    assert (snapshot.observed_at, snapshot.price) == (midnight, 6)


def test_decimal_commas_are_named_and_the_market_says_where(tmp_path: Path) -> None:
    rows = "".join(f"{hour(n):%Y-%m-%dT%H:%M:%SZ};1,5;2,5;1,0;2,0;7\n" for n in range(-1500, 0))
    asked = Asked(write(tmp_path, BTC__USD_csv=HEADER.replace(",", ";") + rows))
    said = (
        "BTC-USD.csv line 1501: the price is '2,0', but numbers have a decimal point, and nothing"
    )
    assert said in asked.complaint()
    assert len(asked.rejected) == 1001
    assert asked.rejected[0].reason == "decimal_comma"
    assert asked.rejected[-1].reason == "more_bad_rows"

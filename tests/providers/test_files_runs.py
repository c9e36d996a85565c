"""Recorded files of exchanges and vendors through `flask ingest` into a real database."""

import csv
import gzip
import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.domain import HOUR
from app.extensions import db
from app.providers import files_copy
from tests.ingestion.making import empty
from tests.providers.files_shell import Row, Shell, one, rows, stored

FUTURES = "cdd-binance-futures-BTCUSDT-1h-2020.csv.gz"
MINUTES = "freqtrade-UNITTEST_BTC-1m-2017-11.json.gz"
SPOT = "cdd-binance-BTCUSDT-1h-2017-2020.csv.gz"
YAHOO = "yahoo-BTC-USD-daily-2016-2021.csv.gz"
FIELDS = ("open", "high", "low", "close")


@pytest.fixture(scope="module")
def recordings() -> Path:
    root = os.environ.get("TAPEDECK_RECORDINGS")
    if not root:
        pytest.skip("TAPEDECK_RECORDINGS is not set: no recorded data on this machine")
    return Path(root) / "ohlcv"


@pytest.fixture
def shell(
    request: pytest.FixtureRequest,
    recordings: Path,
    tmp_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shell]:
    """A shell over empty tables and recorded files: (now, markets, file names)."""
    # Nobody changes these files, so they need not lie for a while before they count as settled.
    monkeypatch.setattr(files_copy, "SETTLED_NS", 0)
    now, markets, names = request.param
    for name in names:
        shutil.copy(recordings / name, tmp_path / name)
    shell = Shell(database_url, tmp_path, now, markets)
    with shell.open():
        empty(db.engine)
        yield shell


def recorded(path: Path, volume: str) -> dict[datetime, Row]:
    """The candles of a CSV of cryptodatadownload; of a moment that is there twice the last."""
    with gzip.open(path, "rt") as file:
        next(file)
        rows = [{name.lower(): cell for name, cell in row.items()} for row in csv.DictReader(file)]
    return {
        moment(row.get("unix") or row["unix timestamp"]): tuple(
            Decimal(row[name]) for name in (*FIELDS, volume)
        )
        for row in rows
    }


def moment(unix: str) -> datetime:
    seconds = float(unix)
    return datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, UTC)


@pytest.mark.parametrize(
    "shell",
    [(datetime(2020, 12, 30, 0, 30, tzinfo=UTC), "BTC-USDT", [FUTURES])],
    indirect=True,
)
def test_hours_of_an_exchange_are_stored_as_they_are_written_and_give_its_days(
    shell: Shell, recordings: Path
) -> None:
    result = shell.ingest()
    assert result.exit_code == 0, result.output
    theirs = recorded(recordings / FUTURES, "volume usdt")
    del theirs[datetime(2020, 12, 30, tzinfo=UTC)]  # the hour that was still open
    assert len(theirs) == 3598
    assert stored("BTC-USDT", "hourly") == theirs
    days = recorded(recordings / FUTURES.replace("1h", "1d"), "volume usdt")
    full = {day: row for day, row in stored("BTC-USDT", "daily").items() if day > min(theirs)}
    assert len(full) == 149
    assert full == {day: days[day] for day in full}
    price, observed_at = one("SELECT price, observed_at FROM market_snapshot")
    assert (price, observed_at) == (Decimal("27402.83"), datetime(2020, 12, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    "shell",
    [(datetime(2020, 12, 30, 0, 30, tzinfo=UTC), "BTC-USDT", [FUTURES])],
    indirect=True,
)
def test_the_second_run_over_the_same_files_changes_nothing(shell: Shell) -> None:
    assert shell.ingest().exit_code == 0
    result = shell.ingest()
    assert result.exit_code == 0, result.output
    assert " 0 inserted, 0 updated, " in result.stdout


@pytest.mark.parametrize(
    "shell",
    [(datetime(2020, 9, 19, 8, 30, tzinfo=UTC), "BTC-USDT", [SPOT])],
    indirect=True,
)
def test_rows_that_are_there_twice_are_set_aside_by_their_lines(
    shell: Shell, recordings: Path
) -> None:
    result = shell.ingest()
    assert result.exit_code == 3, result.output
    theirs = recorded(recordings / SPOT, "volume usdt")
    assert len(theirs) == 27_096
    assert stored("BTC-USDT", "hourly") == theirs
    with db.engine.connect() as connection:
        rows = connection.execute(text("SELECT reason, detail, raw FROM rejected_row")).all()
    assert [row.reason for row in rows] == ["repeated"] * 4
    assert all(f"{SPOT} line 26" in row.detail for row in rows)
    assert all(f"{SPOT} line 26" in row.raw for row in rows)
    again = shell.ingest()
    assert again.exit_code == 0, "rows of the past were told by the run that asked for them"


@pytest.mark.parametrize(
    "shell",
    [
        (
            datetime(2017, 11, 14, 23, 5, tzinfo=UTC),
            f"UNITTEST-BTC={MINUTES}",
            [MINUTES],
        )
    ],
    indirect=True,
)
def test_minutes_are_put_together_to_hours(shell: Shell, recordings: Path) -> None:
    assert shell.ingest().exit_code == 0
    with gzip.open(recordings / MINUTES) as file:
        minutes = json.load(file, parse_float=Decimal)
    hours: dict[datetime, list[list[Any]]] = {}
    for row in minutes:
        at = datetime.fromtimestamp(row[0] / 1000, UTC)
        hours.setdefault(at.replace(minute=0), []).append(row)
    expected = {
        at: (
            parts[0][1],
            max(part[2] for part in parts),
            min(part[3] for part in parts),
            parts[-1][4],
            None,
        )
        for at, parts in hours.items()
    }
    assert stored("UNITTEST-BTC", "hourly") == expected


@pytest.mark.parametrize(
    "shell",
    [
        (
            datetime(2021, 9, 27, 18, 0, tzinfo=UTC),
            f"BTC-USD={YAHOO}",
            [YAHOO],
        )
    ],
    indirect=True,
)
def test_days_of_a_vendor_are_stored_as_they_are_written(shell: Shell, recordings: Path) -> None:
    assert shell.ingest().exit_code == 3
    # 2021-09-26,42721.628906,43919.300781,40848.460938,43208.539063,43208.539063,30661222077
    snapshot = one("SELECT price, volume, observed_at FROM market_snapshot")
    midnight = datetime(2021, 9, 27, tzinfo=UTC)
    assert tuple(snapshot) == (Decimal("43208.539063"), Decimal("30661222077"), midnight)
    with gzip.open(recordings / YAHOO, "rt") as file:
        written = [row for row in csv.DictReader(file) if row["Open"] != "null"]
    days = {
        datetime.fromisoformat(row["Date"]).replace(tzinfo=UTC): tuple(
            Decimal(row[name]) for name in ("Open", "High", "Low", "Close", "Volume")
        )
        for row in written
    }
    days.pop(midnight, None)
    assert stored("BTC-USD", "daily") == days
    assert stored("BTC-USD", "hourly") == {}
    assert rows("SELECT reason, count(*) FROM rejected_row GROUP BY 1") == [("value_missing", 4)]
    assert shell.ingest().exit_code == 0


@pytest.mark.parametrize(
    "shell",
    [(datetime(2021, 3, 1, tzinfo=UTC), "BTC-USDT", [FUTURES])],
    indirect=True,
)
def test_a_folder_of_history_is_stored_and_said_to_be_history(
    shell: Shell, recordings: Path
) -> None:
    result = shell.ingest()
    assert result.exit_code == 3
    assert "The newest row in the files of BTC-USDT is of 2020-12-30 01:00 UTC" in result.stderr
    assert "they hold history and nothing current" in result.stderr
    theirs = recorded(recordings / FUTURES, "volume usdt")
    assert stored("BTC-USDT", "hourly") == theirs
    last = max(theirs)
    snapshot = one("SELECT price, observed_at, flags FROM market_snapshot")
    assert tuple(snapshot) == (theirs[last][3], last + HOUR, ["stale"])
    assert one("SELECT observed_at FROM listing")[0] == last + HOUR
    (roi,) = one("SELECT roi_pct FROM market_roi_statistic WHERE \"window\" = '24h'")
    assert roi is not None
    assert rows("SELECT * FROM rejected_row") == []


@pytest.mark.parametrize(
    "shell",
    [
        (
            datetime(2020, 12, 30, 0, 30, tzinfo=UTC),
            "BTC-USDT,OLD-USDT=BTCUSDT",
            [FUTURES, SPOT],
        )
    ],
    indirect=True,
)
def test_a_folder_with_old_and_new_data_gives_both(shell: Shell) -> None:
    assert shell.ingest().exit_code == 3
    assert len(stored("OLD-USDT", "hourly")) == 27_096
    assert len(stored("BTC-USDT", "hourly")) == 3598
    assert rows("SELECT flags FROM market_snapshot ORDER BY observed_at") == [(["stale"],), ([],)]
    figures = rows(
        "SELECT count(*) FROM market_roi_statistic WHERE \"window\" = '30d' "
        "AND sharpe IS NOT NULL GROUP BY market_id"
    )
    assert figures == [(1,), (1,)]

"""Days, hours and corrections in a folder, through `flask ingest` into a real database."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.domain import DAY, HOUR
from app.extensions import db
from app.providers import files_copy
from tests.ingestion.making import DATA_TABLES, empty
from tests.providers.files_setup import HEADER, line
from tests.providers.files_shell import Shell, one, rows

# Before the clock of any machine: a file written before its last row closed leaves that row open.
MONDAY = datetime(2025, 3, 3, tzinfo=UTC)
NOW = MONDAY + 3 * DAY + 10 * HOUR
FIRST = MONDAY - 5 * 7 * DAY
HOURS_FROM = MONDAY - 2 * 7 * DAY
CANDLES = "SELECT opened_at, close, sample_count, basis FROM market_aggregate WHERE granularity = "


@pytest.fixture
def shell(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A shell over empty tables and a folder whose files count as settled at once."""
    monkeypatch.setattr(files_copy, "SETTLED_NS", 0)
    shell = Shell(database_url, tmp_path, NOW, "BTC-USD")
    with shell.open():
        empty(db.engine)
        yield shell


def write(path: Path, opened: Iterable[datetime], *, corrected: datetime | None = None) -> None:
    """A candle file; the close grows with the day, and a corrected row closes at 99."""
    path.write_text(HEADER + "".join(_row(at, is_corrected=at == corrected) for at in opened))


def _row(at: datetime, *, is_corrected: bool) -> str:
    close = 99 if is_corrected else 20 + (at - FIRST).days
    return line(at, f"20,{max(close, 90)},1,{close}")


def days(until: datetime = MONDAY + 3 * DAY) -> list[datetime]:
    return [FIRST + number * DAY for number in range((until - FIRST) // DAY)]


def hours() -> list[datetime]:
    return [HOURS_FROM + number * HOUR for number in range((NOW - HOURS_FROM) // HOUR)]


def data() -> dict[str, list[Any]]:
    return {
        name: rows(f"SELECT (to_jsonb(t) - 'run_id' - 'stored_at')::text FROM {name} t ORDER BY 1")
        for name in DATA_TABLES
    }


def wipe() -> None:
    """Empty tables, as before the first run."""
    with db.engine.begin() as connection:
        connection.execute(text("TRUNCATE market RESTART IDENTITY CASCADE"))


def test_days_are_stored_as_they_are_and_weeks_made_of_them(shell: Shell, tmp_path: Path) -> None:
    write(tmp_path / "BTC-USD_1d.csv", days())
    assert shell.ingest().exit_code == 0
    assert rows(f"{CANDLES} 'daily' ORDER BY 1") == [
        (at, Decimal(20 + number), 1, "provider") for number, at in enumerate(days())
    ]
    weeks = rows(f"{CANDLES} 'weekly' ORDER BY 1")
    assert weeks[0] == (FIRST, Decimal(26), 7, "finer")
    assert weeks[-1] == (MONDAY, Decimal(57), 3, "finer")
    assert len(weeks) == 6
    assert one("SELECT sum(volume) FROM market_aggregate WHERE granularity = 'weekly'")[0] == 190
    assert rows(f"{CANDLES} 'hourly'") == []


def test_statistics_of_days_have_numbers_or_reasons(shell: Shell, tmp_path: Path) -> None:
    write(tmp_path / "BTC-USD_1d.csv", days())
    shell.ingest()
    found = rows(
        'SELECT "window", grid, sample_count, round(roi_pct, 6), sharpe IS NULL, null_reasons '
        "FROM market_roi_statistic ORDER BY expected_count"
    )
    hour, day, week, month = found
    assert {row[1] for row in found} == {"daily"}
    assert (hour[0], hour[3], set(hour[5].values())) == ("1h", None, {"window_too_short"})
    assert (day[0], day[3]) == ("24h", Decimal("1.785714"))  # 57 after 56
    assert day[5]["sharpe"] == "window_too_short"
    assert (week[0], week[2:5]) == ("7d", (7, Decimal("14.000000"), False))  # 57 after 50
    assert (month[0], month[2:5]) == ("30d", (30, Decimal("111.111111"), False))  # 57 after 27
    snapshot = one("SELECT roi_1h_pct, round(roi_24h_pct, 6), volatility FROM market_snapshot")
    assert tuple(snapshot) == (None, Decimal("1.785714"), None)


def test_a_second_run_over_days_changes_nothing(shell: Shell, tmp_path: Path) -> None:
    write(tmp_path / "BTC-USD_1d.csv", days())
    shell.ingest()
    before = data()
    result = shell.ingest()
    assert result.exit_code == 0
    assert "Rows: 1 fetched, 0 inserted, 0 updated" in result.stdout, result.stdout
    assert data() == before


def test_a_corrected_row_of_the_past_is_read_again_and_counted(
    shell: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "BTC-USD_1d.csv"
    write(path, days())
    shell.ingest()
    write(path, days(), corrected=FIRST + 3 * DAY)
    result = shell.ingest()
    # The day and its week; the figures of the last 30 days rest on later closes.
    assert " 0 inserted, 2 updated, " in result.stdout
    assert one(f"{CANDLES} 'daily' AND close = 99")[0] == FIRST + 3 * DAY
    stored = data()
    wipe()
    shell.ingest()
    assert data() == stored


def test_a_corrected_newest_row_corrects_its_snapshot(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "BTC-USD_1d.csv"
    write(path, days())
    shell.ingest()
    write(path, days(), corrected=days()[-1])
    shell.ingest()
    assert rows("SELECT price FROM market_snapshot") == [(99,)]


def test_a_file_that_may_still_change_is_read_whole_by_the_next_run(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_copy, "SETTLED_NS", 10**18)
    write(tmp_path / "BTC-USD_1d.csv", days())
    shell.ingest()
    assert one("SELECT history_state FROM listing")[0] is None
    assert "Rows: 39 fetched, 0 inserted, 0 updated" in shell.ingest().stdout


def test_a_file_that_cannot_be_read_once_is_read_whole_later(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "BTC-USD_1d.csv"
    write(path, days())
    (tmp_path / "ETH-USD_1d.csv").write_text(path.read_text())
    both = Shell(shell.database_url, tmp_path, NOW, "BTC-USD,ETH-USD")
    assert both.ingest().exit_code == 0
    write(path, days(), corrected=FIRST)
    whole = path.read_text()
    path.write_text(whole.rstrip("\n"))
    assert both.ingest().exit_code == 3
    path.write_text(whole)
    assert both.ingest().exit_code == 0
    assert one(f"{CANDLES} 'daily' AND close = 99")[0] == FIRST


def test_days_stand_before_and_beside_hours_and_whole_weeks_are_made_of_hours(
    shell: Shell, tmp_path: Path
) -> None:
    write(tmp_path / "BTC-USD_1d.csv", days())
    write(tmp_path / "BTC-USD_1h.csv", hours())
    assert shell.ingest().exit_code == 0
    assert len(rows(f"{CANDLES} 'hourly'")) == len(hours())
    bases = rows(
        "SELECT basis, count(*) FROM market_aggregate WHERE granularity = 'daily' "
        "GROUP BY 1 ORDER BY 1"
    )
    # Only the day that is still open is made of its hours.
    assert bases == [("finer", 1), ("provider", 38)]
    weeks = rows(f"{CANDLES} 'weekly' ORDER BY 1")
    assert [row[2] for row in weeks] == [7, 7, 7, 168, 168, 82]
    assert one("SELECT grid FROM market_roi_statistic LIMIT 1")[0] == "hourly"


@pytest.mark.parametrize("order", [("1d", "1h"), ("1h", "1d")])
def test_the_order_in_which_files_come_changes_nothing(
    shell: Shell, tmp_path: Path, order: tuple[str, str]
) -> None:
    opened = {"1d": days(), "1h": hours()}
    for step in order:
        write(tmp_path / f"BTC-USD_{step}.csv", opened[step])
        shell.ingest()
    one_after_other = data()["market_aggregate"]
    wipe()
    shell.ingest()
    assert data()["market_aggregate"] == one_after_other


def test_days_with_a_hole_in_their_hours_make_the_week(shell: Shell, tmp_path: Path) -> None:
    write(tmp_path / "BTC-USD_1d.csv", days())
    hole = MONDAY - 3 * DAY
    write(tmp_path / "BTC-USD_1h.csv", [at for at in hours() if at != hole + 5 * HOUR])
    shell.ingest()
    counts = [row[2] for row in rows(f"{CANDLES} 'weekly' ORDER BY 1")]
    assert counts == [7, 7, 7, 168, 7, 82]


def test_history_counts_from_the_newest_row_whatever_its_age(shell: Shell, tmp_path: Path) -> None:
    write(tmp_path / "BTC-USD_1d.csv", days())
    late = Shell(shell.database_url, tmp_path, NOW + 4000 * DAY, "BTC-USD")
    result = late.ingest()
    assert result.exit_code == 3
    assert "hold history and nothing current" in result.stderr
    assert len(rows(f"{CANDLES} 'daily'")) == len(days())
    assert rows(f"{CANDLES} 'hourly'") == []
    assert one("SELECT observed_at FROM market_snapshot")[0] == MONDAY + 3 * DAY
    again = late.ingest()
    assert (again.exit_code, " 0 inserted, 0 updated, " in again.stdout) == (3, True)

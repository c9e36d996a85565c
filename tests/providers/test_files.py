"""What a folder of files answers: markets, candles, snapshots, and problems in plain words."""

import gzip
import json
import os
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from app.domain import Granularity
from app.errors import PermanentProviderError
from app.market_list import parse_markets
from app.providers import files_folder
from app.providers.files import OLDEST
from app.providers.files_cache import tables
from app.providers.files_folder import split_name
from tests.providers.files_setup import (
    HEADER,
    HOUR,
    NOW,
    Asked,
    build_files,
    hour,
    hours,
    line,
    listing,
)

MINUTE = timedelta(minutes=1)


def write(folder: Path, **contents: str) -> Path:
    """Files by name, `__` for the dash and the last `_` for the dot."""
    for name, content in contents.items():
        stem, _, ending = name.replace("__", "-").rpartition("_")
        (folder / f"{stem}.{ending}").write_text(content)
    return folder


@pytest.mark.parametrize(
    ("name", "key", "step"),
    [
        ("BTC-USD.csv", "BTC-USD", None),
        ("BTC-USD_1h.csv.gz", "BTC-USD", HOUR),
        ("btc_usdt-1h.json", "BTC-USDT", HOUR),
        ("BTC-USD_daily.csv", "BTC-USD", 24 * HOUR),
        ("BTC-USD_1h_2026-11.csv", "BTC-USD", HOUR),
        ("BTC-USD_2026-11-22.jsonl", "BTC-USD", None),
        ("BTCUSDT-15m-2024-01.csv", "BTCUSDT", 15 * MINUTE),
        ("BTC-USD_20261122_1d.csv", "BTC-USD", 24 * HOUR),
        ("SPX.csv", "SPX", None),
        ("yahoo-BTC-USD-daily-2016-2021.csv", "YAHOO-BTC-USD", 24 * HOUR),
    ],
)
def test_a_name_tells_market_and_step(name: str, key: str, step: timedelta | None) -> None:
    assert split_name(name) == (key, step)


def test_a_market_is_found_by_name_by_symbol_column_and_without_separators(tmp_path: Path) -> None:
    symbols = f"symbol,{HEADER}ETH/USD,{line(hour(-2))}LTCUSD,{line(hour(-2))}"
    write(tmp_path, BTC__USD_csv=hours(-3), drop_1h_csv=symbols)
    provider = build_files(tmp_path)
    found = provider.resolve_listings(parse_markets("BTC-USD,ETH-USD,LTC-USD,XRP-USD").requests)
    ids = {each.symbol: each.provider_id for each in found.listings}
    assert ids == {"BTC-USD": "BTC-USD", "ETH-USD": "ETH-USD", "LTC-USD": "LTCUSD"}
    (problem,) = found.problems
    assert (problem.symbol, problem.error_class) == ("XRP-USD", "NotFound")


def test_a_symbol_that_fits_several_markets_is_a_problem_that_lists_them(tmp_path: Path) -> None:
    write(tmp_path, AB__CUSD_csv=hours(-3), ABC__USD_csv=hours(-3))
    found = build_files(tmp_path).resolve_listings(parse_markets("ABCUSD").requests)
    assert "may mean AB-CUSD, ABC-USD in the folder. Pin one" in found.problems[0].message


def test_the_nearest_spelling_of_a_market_is_taken(tmp_path: Path) -> None:
    write(tmp_path, BTC_USD_1h_csv=hours(-3), BTCUSD_1h_csv=hours(-3))
    provider = build_files(tmp_path)
    assert listing("BTC-USD", provider).provider_id == "BTC-USD"
    assert listing("BTCUSD", provider).provider_id == "BTCUSD"


def test_a_pinned_file_may_have_any_name(tmp_path: Path) -> None:
    write(tmp_path, export_of_the_desk_csv=hours(-3))
    assert len(Asked(tmp_path, "BTC-USD=export_of_the_desk.csv").candles()) == 3


def test_a_pinned_file_of_several_markets_is_refused(tmp_path: Path) -> None:
    write(tmp_path, drop_1h_csv=f"symbol,{HEADER}A,{line(hour(-2))}B,{line(hour(-2))}")
    assert (
        "holds 2 markets (A, B); pin one of them"
        in Asked(tmp_path, "BTC-USD=drop_1h.csv").complaint()
    )
    assert len(Asked(tmp_path, "BTC-USD=B").candles()) == 1


def test_top_is_refused_plainly(tmp_path: Path) -> None:
    with pytest.raises(PermanentProviderError, match="files cannot rank markets, so top:N needs"):
        build_files(tmp_path).fetch_ranked(10, "USD")


def test_a_folder_that_is_missing_fails_the_call_by_its_setting(tmp_path: Path) -> None:
    calls: list[str] = []
    provider = build_files(tmp_path / "away", on_call=lambda outcome, _: calls.append(outcome))
    with pytest.raises(PermanentProviderError, match=r"FILES_FOLDER is .*No such file"):
        provider.resolve_listings(parse_markets("BTC-USD").requests)
    assert calls == ["refused"]


def test_a_broken_file_of_symbols_is_named_to_those_who_are_not_found(tmp_path: Path) -> None:
    write(
        tmp_path,
        drop_1h_csv=f"symbol,{HEADER}ETH-USD,{line(hour(-2))[:-4]}",
        BTC__USD_csv=hours(-3),
    )
    provider = build_files(tmp_path)
    found = provider.resolve_listings(parse_markets("BTC-USD,ETH-USD").requests)
    assert [each.symbol for each in found.listings] == ["BTC-USD"]
    assert "It may be in a file that can't be used: The last line of drop_1h.csv" in (
        found.problems[0].message
    )


def test_candles_are_the_numbers_of_the_text(tmp_path: Path) -> None:
    row = line(hour(-1), "0.10000000000000000001,3e-1,1E-12,0.2", "123456789012345678901234.5")
    write(tmp_path, BTC__USD_1h_csv=HEADER + row)
    (candle,) = Asked(tmp_path).candles()
    texts = ("0.10000000000000000001", "3e-1", "1E-12", "0.2", "123456789012345678901234.5")
    numbers = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    assert [str(number) for number in numbers] == [str(Decimal(each)) for each in texts]
    assert candle.raw == f"BTC-USD_1h.csv line 2: {row.rstrip()}"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_comments_quotes_and_delimiters_are_read(tmp_path: Path, delimiter: str) -> None:
    rows = [
        ["# from the desk"],
        ["Unix Timestamp", "Date", "Symbol", "Open", "High", "Low", "Close"],
    ]
    rows.append([f'"{int(hour(-1).timestamp())}"', "x", "BTC/USD", "10", "12", " 9", "11"])
    (tmp_path / "a.csv").write_text("".join(delimiter.join(row) + "\n" for row in rows))
    write(tmp_path, a_1h_csv=(tmp_path / "a.csv").read_text())
    (tmp_path / "a.csv").unlink()
    assert [candle.low for candle in Asked(tmp_path).candles()] == [9]


def test_date_and_time_may_stand_in_two_columns(tmp_path: Path) -> None:
    rows = [f"{hour(n):%Y%m%d,%H:%M},10,12,9,11\n" for n in (-2, -1)]
    write(tmp_path, BTC__USD_csv="<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>\n" + "".join(rows))
    assert [candle.opened_at for candle in Asked(tmp_path).candles()] == [hour(-2), hour(-1)]


def test_a_price_column_of_the_quote_currency_is_taken(tmp_path: Path) -> None:
    row = f"{NOW - MINUTE:%Y-%m-%dT%H:%M:%SZ},btc,93507.85,90345.89\n"
    write(tmp_path, drop_csv="time,symbol,price_usd,price_eur\n" + row)
    snapshot = Asked(tmp_path, "BTC-EUR=btc").snapshot()
    assert snapshot is not None
    assert snapshot.price == Decimal("90345.89")


def test_the_volume_in_the_quote_currency_is_taken_and_no_other(tmp_path: Path) -> None:
    header = "time,open,high,low,close,Volume BTC,Volume USD\n"
    write(tmp_path, BTC__USD_1h_csv=header + line(hour(-1), volume="5,50000"))
    assert Asked(tmp_path).candles()[0].volume == 50000
    write(tmp_path, BTC__EUR_1h_csv=header + line(hour(-1), volume="5,50000"))
    assert Asked(tmp_path, "BTC-EUR").candles()[0].volume is None


def test_lists_of_exchanges_are_candles_without_their_base_volume(tmp_path: Path) -> None:
    rows = [[int(hour(n).timestamp() * 1000), 10, 12.5, 9, 11, 77] for n in (-2, -1)]
    write(tmp_path, BTC_USD__1h_json=json.dumps(rows))
    candles = Asked(tmp_path).candles()
    assert [(candle.high, candle.volume) for candle in candles] == [(Decimal("12.5"), None)] * 2


def test_minutes_are_put_together_whatever_their_order(tmp_path: Path) -> None:
    rows = [
        line(hour(-2) + number * MINUTE, f"{number + 10},{number + 20},{number + 5},{number + 11}")
        for number in range(60)
    ]
    for content in (rows, rows[::-1], rows[30:] + rows[:30]):
        write(tmp_path, BTC__USD_csv=HEADER + "".join(content))
        (candle,) = Asked(tmp_path).candles()
        assert (candle.open, candle.high, candle.low, candle.close) == (10, 79, 5, 70)
        assert (candle.volume, candle.sample_count, candle.is_final) == (300, 60, True)


def test_a_minute_that_cannot_be_true_does_not_spoil_its_hour(tmp_path: Path) -> None:
    rows = [line(hour(-2) + number * MINUTE) for number in range(60)]
    rows[7] = line(hour(-2) + 7 * MINUTE, "10,12,0,11")
    rows[8] = line(hour(-2) + 8 * MINUTE, "10,12,13,11")
    asked = Asked(write(tmp_path, BTC__USD_csv=HEADER + "".join(rows)))
    assert [candle.low for candle in asked.candles()] == [9]
    assert [row.reason for row in asked.rejected] == ["price_not_positive", "outside_extremes"]


def test_an_hour_is_final_only_when_its_minutes_reach_its_end(tmp_path: Path) -> None:
    rows = [line(hour(-1) + number * MINUTE) for number in range(-60, 59)]
    write(tmp_path, BTC__USD_csv=HEADER + "".join(rows))
    assert [candle.is_final for candle in Asked(tmp_path).candles()] == [True, False]


def test_the_last_row_of_a_file_that_was_written_before_its_close_is_open(tmp_path: Path) -> None:
    write(tmp_path, BTC__USD_1h_csv=hours(-3))
    early = (hour(0) - 10 * MINUTE).timestamp()
    os.utime(tmp_path / "BTC-USD_1h.csv", (early, early))
    asked = Asked(tmp_path)
    assert [candle.is_final for candle in asked.candles()] == [True, True, False]
    snapshot = asked.snapshot()
    assert snapshot is not None
    assert snapshot.observed_at == hour(-1)


def test_files_of_one_market_are_read_together_and_the_later_name_counts(tmp_path: Path) -> None:
    first, second = hours(-6, -2), HEADER + line(hour(-3), "1,9,1,7") + line(hour(-2), "1,9,1,8")
    (tmp_path / "BTC-USD_1h_2025-04-15.csv").write_text(first)
    (tmp_path / "BTC-USD_1h_2025-04-16.csv.gz").write_bytes(gzip.compress(second.encode()))
    candles = Asked(tmp_path).candles()
    assert [candle.close for candle in candles] == [11, 11, 11, 7, 8]
    assert [candle.opened_at for candle in candles] == [hour(number) for number in range(-6, -1)]


def test_one_file_in_trouble_keeps_its_market_from_being_half_served(tmp_path: Path) -> None:
    (tmp_path / "BTC-USD_1h_2025-04-15.csv").write_text(hours(-6, -2))
    (tmp_path / "BTC-USD_1h_2025-04-16.csv").write_text(hours(-3)[:-3])
    write(tmp_path, ETH__USD_1h_csv=hours(-3))
    asked = Asked(tmp_path)
    assert "BTC-USD_1h_2025-04-16.csv has no end" in asked.complaint()
    assert asked.candles() == []
    assert len(Asked(tmp_path, "ETH-USD").candles()) == 3


def test_hours_are_taken_where_there_are_minutes_too(tmp_path: Path) -> None:
    minutes = "".join(line(hour(-3) + number * MINUTE, "1,1,1,1") for number in range(180))
    write(tmp_path, BTC__USD_1m_csv=HEADER + minutes, BTC__USD_1h_csv=hours(-3))
    assert {candle.close for candle in Asked(tmp_path).candles()} == {11}


def test_the_snapshot_of_candles_is_the_close_of_the_newest_one_that_is_over(
    tmp_path: Path,
) -> None:
    write(tmp_path, BTC__USD_1h_csv=hours(-30, 1))
    snapshot = Asked(tmp_path).snapshot()
    assert snapshot is not None
    assert (snapshot.observed_at, snapshot.price, snapshot.volume) == (hour(0), 11, 24 * 5)


def test_volumes_are_summed_to_the_last_digit(tmp_path: Path) -> None:
    volume = "1000000000000000000000000000000.0000000001"
    rows = [line(hour(number), volume=volume) for number in range(-24, 0)]
    snapshot = Asked(write(tmp_path, BTC__USD_1h_csv=HEADER + "".join(rows))).snapshot()
    assert snapshot is not None
    assert str(snapshot.volume) == "24000000000000000000000000000000.0000000024"


def test_bad_rows_of_the_past_are_none_of_the_snapshots_business(tmp_path: Path) -> None:
    rows = [line(hour(-5)), "nonsense\n", line(hour(-3), "a,b,c,d"), line(hour(-2)), line(hour(-1))]
    asked = Asked(write(tmp_path, BTC__USD_1h_csv=HEADER + "".join(rows)))
    assert asked.snapshot() is not None
    assert asked.rejected == []
    asked.candles()
    assert len(asked.rejected) == 2


def test_a_day_with_a_hole_has_no_volume(tmp_path: Path) -> None:
    write(tmp_path, BTC__USD_1h_csv=hours(-40, -20) + hours(-19)[len(HEADER) :])
    snapshot = Asked(tmp_path).snapshot()
    assert snapshot is not None
    assert snapshot.volume is None


def test_a_snapshot_file_gives_its_newest_row_with_all_figures(tmp_path: Path) -> None:
    header = "symbol,observed_at,price,volume,market_cap,volatility,roi_24h_pct\n"
    old = f"BTC-USD,{NOW - HOUR:%Y-%m-%dT%H:%M:%SZ},83000,1,2,0.1,3\n"
    new = f"BTC-USD,{NOW - MINUTE:%Y-%m-%d %H:%M:%S},83266.12,26817917729,1652026911163,,-1.5\n"
    write(tmp_path, drop_csv=header + new + old, BTC__USD_1h_csv=hours(-3))
    snapshot = Asked(tmp_path).snapshot()
    assert snapshot is not None
    assert snapshot.observed_at == NOW - MINUTE
    assert (snapshot.price, snapshot.volume) == (Decimal("83266.12"), 26817917729)
    assert (snapshot.market_cap, snapshot.volatility) == (1652026911163, None)
    assert snapshot.roi_24h_pct == Decimal("-1.5")


def test_a_bad_newest_row_is_told_and_the_one_before_serves(tmp_path: Path) -> None:
    content = hours(-4, -1) + line(hour(-1), "null,null,null,null", "null")
    asked = Asked(write(tmp_path, BTC__USD_1h_csv=content))
    snapshot = asked.snapshot()
    assert snapshot is not None
    assert snapshot.observed_at == hour(-1)
    (rejected,) = asked.rejected
    assert (rejected.kind, rejected.reason) == ("snapshot", "value_missing")
    assert asked.candles()[-1].opened_at == hour(-2)
    assert asked.rejected == [], "a run tells each row once"


def test_rows_of_the_future_are_set_aside(tmp_path: Path) -> None:
    asked = Asked(write(tmp_path, BTC__USD_1h_csv=hours(-3, 3)))
    snapshot = asked.snapshot()
    assert snapshot is not None
    assert snapshot.observed_at == hour(0)
    assert [row.reason for row in asked.rejected] == ["time_in_future"] * 2
    assert [candle.opened_at for candle in asked.candles()][-1] == hour(0)


def test_old_data_is_said_to_be_history(tmp_path: Path) -> None:
    write(tmp_path, BTC__USD_1h_csv=hours(-3))
    assert Asked(tmp_path, now=hour(0) + OLDEST).snapshot() is not None
    late = Asked(tmp_path, now=hour(0) + OLDEST + MINUTE)
    assert late.snapshot() is not None
    (problem,) = late.problems
    assert problem.error_class == "OldData"
    assert "is of 2025-04-16 10:00 UTC: they hold history and nothing" in problem.message


def test_a_file_with_the_future_only_is_a_problem(tmp_path: Path) -> None:
    write(tmp_path, BTC__USD_1h_csv=hours(2, 5))
    assert "hold no row up to now that can be read" in Asked(tmp_path).complaint()


def test_unchanged_files_are_not_read_again_and_changed_ones_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "BTC-USD_1h.csv"
    reads: list[str] = []
    original = files_folder.copy_file

    def counting(folder: Path, name: str, **options: object) -> object:
        reads.append(name)
        return original(folder, name, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(files_folder, "copy_file", counting)
    monkeypatch.setattr("app.providers.files_copy.SETTLED_NS", 0)
    tables.clear()
    path.write_text(hours(-5, -2))
    assert len(Asked(tmp_path).candles()) == len(Asked(tmp_path).candles()) == 3
    assert reads == [path.name]
    path.write_text(hours(-4, -1).replace("12,9,11", "12,9,10"))
    assert {candle.close for candle in Asked(tmp_path).candles()} == {10}
    assert reads == [path.name] * 2


def test_a_file_that_changed_a_moment_ago_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "BTC-USD_1h.csv"
    for close in ("10", "11", "12") * 5:
        path.write_text(hours(-3).replace("12,9,11", f"12,9,{close}"))
        assert {str(candle.close) for candle in Asked(tmp_path).candles()} == {close}


def test_tapedecks_own_export_is_read(tmp_path: Path) -> None:
    header = "symbol,provider,granularity,opened_at,open,high,low,close,volume,run_id\n"
    micros = "%Y-%m-%dT%H:%M:%S.%fZ"
    rows = [f"BTC-USD,mock,hourly,{hour(n):{micros}},10,12,9,11,5,x\n" for n in range(-30, 0)]
    midnight = hour(0).replace(hour=0) - timedelta(days=1)
    rows.append(f"BTC-USD,mock,daily,{midnight:{micros}},10,13,9,11,120,x\n")
    write(tmp_path, candles_csv=header + "".join(rows))
    asked = Asked(tmp_path)
    assert len(asked.candles()) == 30
    assert [candle.high for candle in asked.candles(granularity=Granularity.DAILY)] == [13]


def test_search_finds_markets_by_a_part_of_their_symbol(tmp_path: Path) -> None:
    write(tmp_path, BTC__USD_csv=hours(-3), BTC__EUR_csv=hours(-3), ETH__USD_csv=hours(-3))
    found = build_files(tmp_path).search(" btc ")
    assert [(each.symbol, each.quote) for each in found] == [("BTC-EUR", "EUR"), ("BTC-USD", "USD")]


def test_candles_are_a_sequence_that_can_be_read_at_any_place(tmp_path: Path) -> None:
    write(tmp_path, BTC__USD_csv=hours(-5), ETH__USD_csv=hours(-3))
    provider = build_files(tmp_path)
    markets = [listing("BTC-USD", provider), listing("ETH-USD", provider)]
    rows = provider.fetch_candles(markets, Granularity.HOURLY, hour(-9), NOW).rows
    assert len(rows) == 8
    assert [each.listing.symbol for each in rows] == ["BTC-USD"] * 5 + ["ETH-USD"] * 3
    assert rows[-1] == rows[7] == rows[5:][2]
    with pytest.raises(IndexError):
        rows[8]


def test_the_span_is_half_open(tmp_path: Path) -> None:
    provider = build_files(write(tmp_path, BTC__USD_csv=hours(-9)))
    market = listing("BTC-USD", provider)

    def opened(start: datetime, end: datetime) -> list[datetime]:
        batch = provider.fetch_candles([market], Granularity.HOURLY, start, end)
        return [candle.opened_at for candle in batch.rows]

    assert opened(hour(-4), hour(-2)) == [hour(-4), hour(-3)]
    assert opened(hour(-4) + MINUTE, hour(-2) + MINUTE) == [hour(-3), hour(-2)]

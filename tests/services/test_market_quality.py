"""Missing hourly candles and their causes."""

from datetime import UTC, datetime, timedelta

from app.services.market_quality import judge_quality

UNTIL = datetime(2026, 3, 4, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def hours_ago(*numbers: int) -> list[datetime]:
    return [UNTIL - number * HOUR for number in numbers]


def ran(*numbers: int, **counts: int) -> dict[str, dict[str, int]]:
    outcome = {"good": 0, "failed": 0, "refused": 0} | counts
    return {str(int(at.timestamp())): outcome for at in hours_ago(*numbers)}


def test_without_candles_there_is_nothing_to_judge() -> None:
    assert judge_quality([], {}, until=UNTIL) is None


def test_a_whole_series_has_no_gap() -> None:
    quality = judge_quality(hours_ago(1, 2, 3), {}, until=UNTIL)
    assert quality is not None
    assert (quality.expected_count, quality.present_count, quality.gaps) == (3, 3, ())


def test_what_lies_before_the_first_candle_is_no_gap() -> None:
    quality = judge_quality(hours_ago(5, 1), {}, until=UNTIL)
    assert quality is not None
    assert (quality.start_at, quality.expected_count) == (UNTIL - 5 * HOUR, 5)


def test_a_gap_is_split_where_its_cause_changes() -> None:
    runs = ran(4, failed=2) | ran(3, good=1) | ran(2, good=1, refused=1)
    quality = judge_quality(hours_ago(7, 6, 1), runs, until=UNTIL)
    assert quality is not None
    causes = [(gap.cause, gap.start_at, gap.missing_count) for gap in quality.gaps]
    assert causes == [
        ("no_run", UNTIL - 5 * HOUR, 1),
        ("run_failed", UNTIL - 4 * HOUR, 1),
        ("no_data", UNTIL - 3 * HOUR, 1),
        ("market_failed", UNTIL - 2 * HOUR, 1),
    ]


def test_causes_are_summed_with_the_largest_first() -> None:
    quality = judge_quality(hours_ago(9, 5, 1), ran(7, good=1), until=UNTIL)
    assert quality is not None
    assert quality.missing_by_cause == {"no_run": 5, "no_data": 1}
    assert list(quality.missing_by_cause) == ["no_run", "no_data"]

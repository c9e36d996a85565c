"""The memory tier: bounded in entries, bytes and time."""

from concurrent.futures import ThreadPoolExecutor

from app.cache_memory import MemoryTier


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_least_recently_used_entry_goes_first() -> None:
    tier = MemoryTier(max_entries=2, max_bytes=10_000)
    tier.put("a", b"1", ttl_seconds=60)
    tier.put("b", b"2", ttl_seconds=60)
    tier.get("a")
    tier.put("c", b"3", ttl_seconds=60)
    assert [tier.get(name) for name in "abc"] == [b"1", None, b"3"]


def test_bytes_are_bounded_and_counted_down_again() -> None:
    tier = MemoryTier(max_entries=1_000, max_bytes=10_000)
    for number in range(100):
        tier.put(f"name{number}", b"x" * 1_000, ttl_seconds=60)
    assert 5 <= tier.entry_count <= 10
    assert tier.byte_count <= 10_000
    tier.drop([f"name{number}" for number in range(100)])
    assert (tier.entry_count, tier.byte_count) == (0, 0)


def test_a_value_bigger_than_the_tier_is_not_kept_and_ends_the_old_one() -> None:
    tier = MemoryTier(max_entries=10, max_bytes=1_000)
    tier.put("a", b"old", ttl_seconds=60)
    tier.put("b", b"other", ttl_seconds=60)
    assert tier.put("a", b"x" * 2_000, ttl_seconds=60) is False
    assert [tier.get("a"), tier.get("b")] == [None, b"other"]


def test_an_entry_ends_with_its_time_and_zero_means_never() -> None:
    clock = Clock()
    tier = MemoryTier(max_entries=10, max_bytes=10_000, clock=clock)
    tier.put("short", b"1", ttl_seconds=5)
    tier.put("endless", b"2", ttl_seconds=0)
    clock.now += 4.9
    assert tier.get("short") == b"1"
    clock.now += 0.1
    assert tier.get("short") is None
    clock.now += 1e9
    assert tier.get("endless") == b"2"


def test_what_has_ended_takes_no_room_though_nobody_asks_for_it() -> None:
    clock = Clock()
    tier = MemoryTier(max_entries=100, max_bytes=10_000, clock=clock)
    tier.put("long", b"1", ttl_seconds=300)
    for number in range(9):
        tier.put(f"short{number}", b"2", ttl_seconds=5)
    tier.put("anew", b"3", ttl_seconds=5)
    clock.now += 4
    tier.put("anew", b"4", ttl_seconds=5)
    clock.now += 1
    tier.put("next", b"5", ttl_seconds=5)
    assert tier.entry_count == 3
    assert [tier.get(name) for name in ("long", "anew", "next")] == [b"1", b"4", b"5"]


def test_notes_of_what_is_gone_are_bounded_too() -> None:
    clock = Clock()
    tier = MemoryTier(max_entries=2, max_bytes=10_000, clock=clock)
    for _ in range(100):
        tier.put("a", b"1", ttl_seconds=60)
        clock.now += 1
    assert len(tier._endings) <= 8
    clock.now += 58
    tier.put("b", b"2", ttl_seconds=60)
    assert tier.entry_count == 2
    clock.now += 1
    tier.put("b", b"2", ttl_seconds=60)
    assert tier.entry_count == 1


def test_add_keeps_a_living_value_and_replaces_an_ended_one() -> None:
    clock = Clock()
    tier = MemoryTier(max_entries=10, max_bytes=10_000, clock=clock)
    assert tier.add("a", b"first", ttl_seconds=5) is True
    assert tier.add("a", b"second", ttl_seconds=5) is False
    clock.now += 5
    assert tier.add("a", b"third", ttl_seconds=5) is True
    assert tier.get("a") == b"third"


def test_drop_prefix_takes_what_begins_so_and_nothing_else() -> None:
    tier = MemoryTier(max_entries=10, max_bytes=10_000)
    for name in ("runs:1", "runs:2", "run", "markets:1"):
        tier.put(name, b"1", ttl_seconds=60)
    assert tier.drop_prefix("runs:") == 2
    assert tier.get("run") == tier.get("markets:1") == b"1"


def test_many_threads_leave_the_count_of_bytes_right() -> None:
    tier = MemoryTier(max_entries=50, max_bytes=100_000)

    def churn(seed: int) -> None:
        for number in range(300):
            tier.put(f"name{(seed * number) % 80}", b"x" * (number % 100), ttl_seconds=60)
            tier.drop([f"name{number % 80}"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(churn, range(1, 9)))
    tier.drop([f"name{number}" for number in range(80)])
    assert (tier.entry_count, tier.byte_count) == (0, 0)

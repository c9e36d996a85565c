"""The matrix of `make faults` in short: each fault a few times, the same things must hold.

Most of a scenario is waiting, so those that do not disturb each other are done side by side, each
on a database or a server of its own.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults import (
    run,
    scenarios,
    scenarios_cache,
    scenarios_claims,
    scenarios_database,
    scenarios_deploy,
    scenarios_web,
    scenarios_zombies,
)
from tests.faults.bench import Bench, Finding
from tests.faults.frozen import OwnPostgres, own_postgres
from tests.faults.matrix import SCENARIOS, Scenario
from tests.faults.run import render_row, sum_up

pytestmark = pytest.mark.timeout(300)
# Beside other tests the machine is busy: here the limits of time are wider than in `make faults`.
LEEWAY = 5.0
POINTS = ("tick-claimed", "run-committed", "mid-merge", "before-commit", "mid-webhook")
Part = Callable[[Bench], Finding]


@pytest.fixture
def together(own_server: OwnPostgres, tmp_path: Path) -> Callable[[Mapping[str, Part]], object]:
    """Do several parts at once, each on its own database; what did not hold, by name."""

    def do(parts: Mapping[str, Part]) -> dict[str, list[str]]:
        benches = [bench_of(own_server, tmp_path, name) for name in parts]
        with ThreadPoolExecutor(len(parts)) as pool:
            found = pool.map(lambda part, bench: part(bench).problems, parts.values(), benches)
            return {name: problems for name, problems in zip(parts, found, strict=True) if problems}

    return do


def bench_of(server: OwnPostgres, folder: Path, name: str) -> Bench:
    (folder / name).mkdir()
    return Bench(server.database(f"faults_{name}"), folder / name)


def test_workers_that_die_or_stand_still_leave_nothing_half(
    together: Callable[[Mapping[str, Part]], object],
) -> None:
    parts: dict[str, Part] = {
        "kills": lambda bench: scenarios.random_kills(bench, kills=8),
        "points": lambda bench: scenarios.named_points(bench, points=POINTS),
        "zombies": lambda bench: scenarios_zombies.zombies(bench, rounds=2),
        "claim_stop": lambda bench: scenarios.stopped_in_claim(bench, rounds=1),
        "claims": lambda bench: scenarios_claims.claims(bench, rounds=1),
        "oracle": lambda bench: scenarios.oracle_sees(bench, rounds=2),
    }
    assert together(parts) == {}


def test_deploys_and_hosts_run_each_tick_once(
    together: Callable[[Mapping[str, Part]], object],
) -> None:
    parts: dict[str, Part] = {
        "instances": lambda bench: scenarios_web.instances(bench, ticks=4, workers=1),
        "reload": lambda bench: scenarios_deploy.reloads(
            bench, rounds=1, workers=1, graces=[(0, False)]
        ),
        "recycle": lambda bench: scenarios_deploy.recycling(bench, recycled=2, workers=1),
    }
    assert together(parts) == {}


def test_redis_in_trouble_fails_no_request_and_shows_nothing_old(bench: Bench) -> None:
    finding = scenarios_cache.web_in_weather(bench, ingests=1, lag_seconds=0.5)
    assert finding.problems == []


def test_database_in_trouble_costs_no_row(
    together: Callable[[Mapping[str, Part]], object], own_server: OwnPostgres
) -> None:
    def stopped(bench: Bench) -> Finding:
        """On a server of its own, since the others would miss it."""
        with own_postgres() as server:
            bench = Bench(server.url, bench.folder)
            restarted = scenarios_database.server_restarts(bench, server, restarts=2)
            away = scenarios_database.server_down_over_ticks(bench, server, tick=2)
        return Finding("", "", restarted.problems + away.problems)

    parts: dict[str, Part] = {
        "stopped": stopped,
        "disk": lambda bench: scenarios_database.disk_full(bench, own_server, times=1),
    }
    assert together(parts) == {}


def test_frozen_server_costs_pages_seconds_and_the_probe_nothing(
    bench: Bench, own_server: OwnPostgres
) -> None:
    finding = scenarios_web.frozen(bench, own_server, seconds=3, leeway=LEEWAY)
    assert finding.problems == []


def test_matrix_names_what_does_not_hold_and_what_was_not_run() -> None:
    scenario = Scenario("x", "nothing lost", SCENARIOS[0].do, 1, 1)
    lost = render_row(scenario, Finding("a|b", "1 lost", ["a row is lost"]))
    assert lost == "| x | a/b | nothing lost | 1 lost | **no**: a row is lost |"
    missing = render_row(scenario, Finding("c", "-", not_run="no disk"))
    assert missing == "| x | c | nothing lost | - | not run: no disk |"
    held = Finding("d", "0 lost")
    lost_one = Finding("e", "1 lost", ["a row is lost"])
    not_run = Finding("c", "-", not_run="no disk")
    assert sum_up([held, lost_one, not_run]) == "1 hold, 1 fail, 1 not run"


def test_rows_of_other_scenarios_stay_in_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "report.md"
    monkeypatch.setattr(run, "REPORT", report)
    report.write_text(
        f"before\n{run.BEGIN}\nold\n\n| frozen | 1 |\n| kills | 1 |\n{run.END}\nafter"
    )
    run.write({"kills": "| kills | 2 |", "claims": "| claims | 2 |"})
    lines = report.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert [line for line in lines if line.startswith("|")][2:] == [
        "| kills | 2 |",
        "| frozen | 1 |",
        "| claims | 2 |",
    ]

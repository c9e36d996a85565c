"""The matrix of `make faults` in short: each fault a few times, the same things must hold."""

import pytest

from tests.faults import scenarios, scenarios_web
from tests.faults.frozen import OwnPostgres
from tests.faults.run import SCENARIOS, Scenario, render
from tests.faults.scenarios import Bench, Finding

pytestmark = pytest.mark.timeout(300)
# Beside other tests the machine is busy: here the limits of time are wider than in `make faults`.
LEEWAY = 5.0


def test_workers_killed_at_random_leave_nothing_half(bench: Bench) -> None:
    assert scenarios.random_kills(bench, kills=8).problems == []


def test_worker_killed_at_a_named_point_leaves_nothing_half(bench: Bench) -> None:
    points = ("tick-claimed", "run-committed", "mid-merge", "before-commit", "after-commit")
    assert scenarios.named_points(bench, points=points).problems == []


def test_worker_stopped_beyond_its_lease_is_fenced_off(bench: Bench) -> None:
    assert scenarios.zombies(bench, rounds=2).problems == []


def test_oracle_sees_wrong_rows_of_broken_builds(bench: Bench) -> None:
    assert scenarios.oracle_sees(bench, rounds=2).problems == []


def test_server_restarted_in_mid_run_costs_no_row(bench: Bench, own_server: OwnPostgres) -> None:
    assert scenarios.server_restarts(bench, own_server, restarts=2).problems == []


def test_server_away_over_two_ticks_costs_the_older_one(
    bench: Bench, own_server: OwnPostgres
) -> None:
    assert scenarios.server_down_over_ticks(bench, own_server, tick=2).problems == []


def test_fifty_claims_and_twenty_clicks_start_one_run(bench: Bench) -> None:
    assert scenarios.claims(bench, rounds=1).problems == []


def test_two_instances_run_each_tick_once(bench: Bench) -> None:
    assert scenarios_web.instances(bench, ticks=4, workers=1).problems == []


def test_frozen_server_costs_pages_seconds_and_the_probe_nothing(
    bench: Bench, own_server: OwnPostgres
) -> None:
    finding = scenarios_web.frozen(bench, own_server, seconds=3, leeway=LEEWAY)
    assert finding.problems == []


def test_matrix_names_what_does_not_hold() -> None:
    scenario = Scenario("x", "nothing lost", SCENARIOS[0].do, 1, 1)
    table = render([(scenario, Finding("a|b", "1 lost", ["a row is lost"]))])
    assert table.splitlines()[2] == "| a/b | nothing lost | 1 lost | **no**: a row is lost |"

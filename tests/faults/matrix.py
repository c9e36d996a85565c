"""The scenarios of the matrix: the fault, what must hold, and how large it is done."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.paths import ROOT
from tests.faults import (
    scenarios,
    scenarios_cache,
    scenarios_claims,
    scenarios_clock,
    scenarios_database,
    scenarios_deploy,
    scenarios_provider,
    scenarios_web,
    scenarios_zombies,
)
from tests.faults.bench import Bench, Finding
from tests.faults.frozen import OwnPostgres
from tests.faults.soak import soak


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fault by name; `do` takes a number that is smaller in the short form."""

    name: str
    demand: str
    do: Callable[[Bench, OwnPostgres, int], Finding]
    full: int
    short: int


SCENARIOS = (
    Scenario(
        "instances",
        "one run or one reason a tick",
        lambda bench, server, size: scenarios_web.instances(bench, ticks=size),
        100,
        5,
    ),
    Scenario(
        "kills",
        "0 lost, 0 double, 0 partial; every run closed",
        lambda bench, server, size: scenarios.random_kills(bench, kills=size),
        1000,
        12,
    ),
    Scenario(
        "claim-stop",
        "the next tick runs within 2 s and a poll",
        lambda bench, server, size: scenarios.stopped_in_claim(bench, rounds=size),
        10,
        1,
    ),
    Scenario(
        "points",
        "the same",
        lambda bench, server, size: scenarios.named_points(bench, rounds=size),
        3,
        1,
    ),
    Scenario(
        "zombies",
        "every late commit refused; the run says why",
        lambda bench, server, size: scenarios_zombies.zombies(bench, rounds=size),
        300,
        3,
    ),
    Scenario(
        "reload",
        "the run finishes within the grace time, or is taken up; no tick lost",
        lambda bench, server, size: scenarios_deploy.reloads(bench, rounds=size),
        20,
        2,
    ),
    Scenario(
        "recycle",
        "every run finishes; no tick lost",
        lambda bench, server, size: scenarios_deploy.recycling(bench, recycled=size),
        40,
        3,
    ),
    Scenario(
        "oracle",
        "wrong rows are seen",
        lambda bench, server, size: scenarios.oracle_sees(bench, rounds=size),
        10,
        3,
    ),
    Scenario(
        "restarts",
        "0 wrong",
        lambda bench, server, size: scenarios_database.server_restarts(
            bench, server, restarts=size
        ),
        40,
        2,
    ),
    Scenario(
        "away",
        "newest tick late, older ones missed",
        lambda bench, server, size: scenarios_database.server_down_over_ticks(bench, server),
        1,
        1,
    ),
    Scenario(
        "frozen",
        "pages <= 4 s, /healthz <= 100 ms, back <= 5 s",
        lambda bench, server, size: scenarios_web.frozen(bench, server, seconds=size),
        12,
        4,
    ),
    Scenario(
        "exhausted",
        "503, back <= 5 s",
        lambda bench, server, size: scenarios_web.exhausted(bench),
        1,
        1,
    ),
    Scenario(
        "read-only",
        "0 wrong, goes on afterwards",
        lambda bench, server, size: scenarios_database.read_only(bench),
        1,
        1,
    ),
    Scenario(
        "disk-full",
        "the run fails and says why; pages answer, or 503; the next tick with room works",
        lambda bench, server, size: scenarios_database.disk_full(bench, server, times=size),
        10,
        1,
    ),
    Scenario(
        "log-full",
        "0 wrong, goes on when it is started again",
        lambda bench, server, size: scenarios_database.log_disk_full(bench, times=size),
        10,
        1,
    ),
    Scenario(
        "crowd",
        "all answered",
        lambda bench, server, size: scenarios_web.crowd(bench, times=size),
        20,
        2,
    ),
    Scenario(
        "inputs",
        "each its stated outcome: never a 500, never a wrong value",
        lambda bench, server, size: suite("72 bad inputs", "tests/faults/test_bad_inputs.py"),
        1,
        1,
    ),
    Scenario(
        "payloads",
        "each row exact or set aside with a reason, or the answer refused",
        lambda bench, server, size: suite(
            "answers bent at random", "tests/faults/test_payloads.py"
        ),
        1,
        1,
    ),
    Scenario(
        "provider",
        "a wait that fits is waited out; the breaker opens, tries, closes",
        lambda bench, server, size: scenarios_provider.provider_trouble(bench, rest=size),
        60,
        2,
    ),
    Scenario(
        "claims",
        "1 starts, 49 claims and the clicks are refused cleanly; no two runs at once",
        lambda bench, server, size: scenarios_claims.claims(bench, rounds=size),
        100,
        3,
    ),
    Scenario(
        "clock",
        "one run a tick; never more than 3 polls without a look for it",
        lambda bench, server, size: scenarios_clock.clocks(bench, rounds=size),
        3,
        1,
    ),
    Scenario(
        "cache",
        "0 failed, 0 stale; <= 6 calls above 50 ms in 10 s with 16 threads; closed breaker <= 20 "
        "µs; back <= 3 s",
        lambda bench, server, size: together(
            "Redis killed, black-holed, slow, read-only, answering wrong types, partitioned",
            scenarios_cache.felt_weather(seconds=size),
            scenarios_cache.web_in_weather(bench, ingests=2),
            suite("the rest", "tests/faults/test_cache_faults.py"),
        ),
        10,
        2,
    ),
    Scenario(
        "alerts",
        "0 lost; repeats carry the same id and body; redirects not followed; no run fails or is "
        "delayed; flapping: one notice per 5 minutes",
        lambda bench, server, size: suite(
            "1,200 alerts and 300 kills; receiver down, slow, 500, 410, 429, redirecting; flapping",
            "tests/faults/test_alert_faults.py",
            "tests/faults/test_runs_without_alerts.py",
            "tests/alerts/test_storms.py",
        ),
        1,
        1,
    ),
    Scenario(
        "soak",
        "0 wrong; pages 200 or 503; memory < 5 % and files flat, of a worker and a web process",
        lambda bench, server, size: soak(bench, server, seconds=size),
        900,
        45,
    ),
)


def together(fault: str, *findings: Finding) -> Finding:
    """Several findings as one row."""
    figures = "; ".join(one.figures for one in findings)
    return Finding(fault, figures, [problem for one in findings for problem in one.problems])


def suite(fault: str, *paths: str) -> Finding:
    """Tests that have a file of their own, at full length (`TAPEDECK_FAULTS=full`)."""
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *paths]
    environment = dict(os.environ) | {"TAPEDECK_FAULTS": "full"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    lines = done.stdout.strip().splitlines() or ["nothing was printed"]
    # A line may begin with the dots of tests that passed before.
    measured = [line.partition("figures: ")[2] for line in lines if "figures: " in line]
    figures = "; ".join([*measured, f"{lines[-1]} ({time.monotonic() - started:.0f} s)"])
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR tests"))]
    return Finding(fault, figures, failed or [lines[-1]] * (done.returncode != 0))

"""A provider in trouble as a real process meets it: rate limits, and the states of the breaker."""

import json
import threading
import time
from dataclasses import dataclass

import urllib3

from app.providers.http_limits import BREAKER_FAILURES
from tests.faults.bench import Bench, Finding, await_true
from tests.faults.instance import Instance, instance
from tests.ingestion.exchange import MARKETS_PATH, page, row
from tests.servers import Answer, ScriptedServer

APP = "tests.faults.deck:asking_coingecko()"
RETRY_AFTER_SECONDS = 2
_SIGNAL = "SELECT EXISTS (SELECT FROM alert_signal WHERE kind = 'breaker_open')"
_pause = threading.Event()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run came to, after how many seconds, and how many requests it sent."""

    status: str
    message: str
    seconds: float
    requests: int


def provider_trouble(bench: Bench, *, rest: float) -> Finding:
    """429 with a wait; five failures; a try that fails, one that succeeds, `rest` seconds apart."""
    bench.clear()
    finding = Finding("provider rate-limited, then failing, then well", "")
    good = page(row(last_updated=None))
    with ScriptedServer() as provider:
        environment = {
            "COINGECKO_BASE_URL": provider.url,
            "COINGECKO_REQUESTS_PER_MINUTE": "1000",
            "COINGECKO_HISTORY_MARKETS_PER_RUN": "0",
            "FAULTS_BREAKER_SECONDS": str(rest),
        }
        with instance(bench, tick=3600, workers=1, app=APP, environment=environment) as web:
            busy = Answer(429, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
            waited = _ask(web, provider, busy, good)
            _expect(finding, "a rate limit", waited, status="succeeded", requests=2)
            failed = [_ask(web, provider, Answer(500)) for _ in range(BREAKER_FAILURES)]
            for one in failed:
                _expect(finding, "a failing provider", one, status="failed", requests=1)
            refused = _ask(web, provider, good)
            _expect(finding, "an open breaker", refused, status="failed", requests=0)
            if "not asked after repeated failures" not in refused.message:
                finding.problems.append(f"an open breaker only says: {refused.message}")
            if not await_true(bench, _SIGNAL, seconds=20):
                finding.problems.append("no process reports the open breaker to the alerts")
            _pause.wait(rest)
            tried = _ask(web, provider, Answer(500))
            _expect(finding, "a try that fails", tried, status="failed", requests=1)
            again = _ask(web, provider, good)
            _expect(finding, "a breaker that opened again", again, status="failed", requests=0)
            _pause.wait(rest)
            for name in ("a try that succeeds", "a closed breaker"):
                well = _ask(web, provider, good)
                _expect(finding, name, well, status="succeeded", requests=1)
            if not await_true(bench, f"SELECT NOT ({_SIGNAL})", seconds=30):
                finding.problems.append("the closed breaker is still reported")
    finding.figures = (
        f"429 waited out in {waited.seconds:.1f} s; {len(failed)} failed runs, then none asked for "
        f"{rest:.0f} s; a try that fails opens again, one that succeeds closes"
    )
    if waited.seconds < RETRY_AFTER_SECONDS:
        finding.problems.append(f"the rate limit was waited for only {waited.seconds:.1f} s")
    return finding


def _ask(web: Instance, provider: ScriptedServer, *answers: Answer) -> Asked:
    """A run over these answers, by hand."""
    provider.script(MARKETS_PATH, *answers)
    before, started = len(provider.requests), time.monotonic()
    pool = urllib3.PoolManager(retries=False, timeout=60)
    answer = json.loads(pool.request("POST", f"{web.url}/api/ingest").data)
    said = (answer.get("error") or {}).get("message", "")
    seconds = time.monotonic() - started
    return Asked(str(answer.get("status")), said, seconds, len(provider.requests) - before)


def _expect(finding: Finding, what: str, found: Asked, *, status: str, requests: int) -> None:
    if (found.status, found.requests) != (status, requests):
        finding.problems.append(
            f"{what} came to {found.status} after {found.requests} requests: {found.message}"
        )

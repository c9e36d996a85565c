"""Bad inputs 51 to 68: answers that are broken, hostile, refused, slow or never come."""

import gzip
import json
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from app.domain import RunStatus
from app.providers.http import CallLimits
from app.services.views import RunDetail
from tests.faults.inputs.table import Desk, bad_input, rejections, snapshots
from tests.ingestion.exchange import NOW, page, row
from tests.servers import Answer

REFUSED = "the run fails with one sentence, nothing is stored"
TAKEN = "taken"
GROWTH_MB = 50
BOMB_MEMBERS = 100  # of ten megabytes each
IMPATIENT = CallLimits(connect_seconds=1, read_seconds=0.5, total_seconds=1)


def _expect_refusal(desk: Desk, answer: Answer, words: str, *, calls: int = 1) -> RunDetail:
    """The run fails with those words, after so many calls and without a trace in the tables."""
    deck = desk.fresh()
    detail = deck.ingest(answer)
    message = detail.run.error_message or ""
    assert detail.run.status is RunStatus.FAILED
    assert detail.run.error_class in ("TransientProviderError", "PermanentProviderError")
    assert words in message
    assert "\n" not in message
    assert deck.rows("SELECT count(*) FROM market_snapshot") == [0]
    assert len(deck.server.requests) == calls
    return detail


def _expect_taken(desk: Desk, answer: Answer) -> None:
    deck = desk.fresh()
    assert deck.ingest(answer).run.snapshots_ingested == 1


def _body(content: bytes, **headers: str) -> Answer:
    return Answer(body=content, headers={name.replace("_", "-"): headers[name] for name in headers})


WHOLE = page(row()).content()


@bad_input(51, "JSON that ends too soon", REFUSED)
def _cut(desk: Desk) -> None:
    _expect_refusal(desk, Answer(body=WHOLE[:-20]), "JSON that cannot be read")
    _expect_refusal(desk, Answer(body=WHOLE, truncate_to=40), "ended after 40 of")


@bad_input(52, "HTML with status 200", REFUSED)
def _html(desk: Desk) -> None:
    _expect_refusal(desk, Answer(body="<html>Just a moment...</html>"), "HTML instead of JSON")


@bad_input(53, "an empty body", REFUSED)
def _empty(desk: Desk) -> None:
    _expect_refusal(desk, Answer(body=b""), "an empty body")


@bad_input(54, "good JSON under another content type", TAKEN)
def _odd_type(desk: Desk) -> None:
    _expect_taken(desk, _body(WHOLE, Content_Type="text/html"))


@bad_input(55, "a byte order mark", TAKEN)
def _byte_order_mark(desk: Desk) -> None:
    _expect_taken(desk, Answer(body=b"\xef\xbb\xbf" + WHOLE))


@bad_input(56, "Latin-1, or no valid UTF-8", REFUSED)
def _latin(desk: Desk) -> None:
    for content in ('[{"id": "é"}]'.encode("latin-1"), b'[{"id": "\xff\xfe"}]'):
        _expect_refusal(desk, Answer(body=content), "not UTF-8")


@bad_input(57, "a gigabyte in a megabyte of gzip", f"refused, memory grows by < {GROWTH_MB} MB")
def _bomb(desk: Desk) -> None:
    bomb = gzip.compress(b"[" + b" " * 10_000_000) * BOMB_MEMBERS
    desk.fresh()
    before = _reset_peak_mb()
    _expect_refusal(desk, _body(bomb, Content_Encoding="gzip"), "larger than 5,000,000 bytes")
    growth = _memory_mb("VmHWM") - before
    desk.figures.append(f"a gigabyte of gzip costs {growth:.0f} MB")
    assert growth < GROWTH_MB


def _reset_peak_mb() -> float:
    """The resident memory now; the peak is counted from here on."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory_mb("VmRSS")


def _memory_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1000


@bad_input(58, "lists nested 100,000 deep", REFUSED)
def _deep(desk: Desk) -> None:
    _expect_refusal(desk, Answer(body="[" * 100_000), "JSON")
    _expect_refusal(desk, Answer(body="[" * 100_000 + "]" * 100_000), "JSON")
    price = "[" * 100_000 + "]" * 100_000
    deep = json.dumps(row("deep", current_price=None)).replace(": null", f": {price}", 1)
    _expect_refusal(desk, page(row(), deep), "JSON")


@bad_input(59, "a key twice", "set aside alone, with its reason")
def _twice(desk: Desk) -> None:
    deck = desk.fresh()
    double = json.dumps(row("double"))[:-1] + ', "current_price": 1}'
    detail = deck.ingest(page(row(), double))
    assert rejections(deck, detail.run.id) == {"double": "duplicate_key"}
    assert list(snapshots(deck, "s.price")) == ["bitcoin"]


@bad_input(
    60, "NUL or half a surrogate pair in a name", "the name is cleaned, or the row set aside"
)
def _unstorable(desk: Desk) -> None:
    deck = desk.fresh()
    half = json.dumps(row("half")).replace('"Bitcoin"', '"A\\ud800B"')
    rows = [row("nul", name="A\0B"), row("nul\0id"), half]
    detail = deck.ingest(page(*rows))
    assert {each.reason for each in detail.rejected} == {"bad_id"}
    names = dict(deck.rows("SELECT provider_id, name FROM listing"))
    assert names == {"nul": "AB", "half": "A\ufffdB"}


@bad_input(
    61, "a name of 10,000 characters, of the other direction, of no width", "cut and cleaned"
)
def _odd_names(desk: Desk) -> None:
    deck = desk.fresh()
    odd = {"long": "x" * 10_000, "turned": "\u202eniocteR", "thin": "\u200b\u200bThin"}
    rows = [row(coin_id, symbol=coin_id, name=name) for coin_id, name in odd.items()]
    assert deck.ingest(page(*rows)).run.snapshots_ingested == 3
    assert set(deck.rows("SELECT name FROM market")) == {"x" * 100, "niocteR", "Thin"}


@bad_input(62, "a redirect to another host", "the run fails, nobody connects there")
def _redirect(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        target = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/"
        for status in (301, 302, 303, 307, 308):
            answer = Answer(status, b"", {"Location": target})
            _expect_refusal(desk, answer, "a redirect, which is not followed")
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


@bad_input(63, "401 and 403", "the run fails at once, without another try")
def _refused(desk: Desk) -> None:
    for status in (401, 403):
        detail = _expect_refusal(desk, Answer(status, {"error": "no"}), f"answered {status}")
        assert detail.run.error_class == "PermanentProviderError"


@bad_input(64, "an id that is not found", "that market is named, the others go on")
def _not_found(desk: Desk) -> None:
    history = {"history_markets_per_run": 5}
    with desk.follow("BTC-USD=bitcoin,ETH-USD=ethereum,XXX-USD=gone", **history) as deck:
        deck.server.script("/coins/bitcoin/market_chart", Answer(404, {"error": "not found"}))
        chart = {"prices": [[NOW.timestamp() * 1000 - 3_600_000, 5]]}
        deck.server.script("/coins/ethereum/market_chart", Answer(body=chart))
        detail = deck.ingest(page(row(), row("ethereum", symbol="eth")))
        assert (detail.run.status, detail.run.snapshots_ingested) == (RunStatus.PARTIAL, 2)
        assert {problem.symbol for problem in detail.run.problems} == {"BTC-USD", "XXX-USD"}


@bad_input(65, "429 with every kind of Retry-After", "waited for where it fits, else the run fails")
def _retry_after(desk: Desk) -> None:
    soon = format_datetime(NOW + timedelta(seconds=1), usegmt=True)
    past = format_datetime(NOW - timedelta(days=1), usegmt=True)
    for wait in ("0.2", soon, past):
        deck = desk.fresh()
        detail = deck.ingest(Answer(429, headers={"Retry-After": wait}), page(row()))
        assert detail.run.snapshots_ingested == 1
        assert len(deck.server.requests) == 2
    for wait in ("-1", "abc"):
        _expect_refusal(desk, Answer(429, headers={"Retry-After": wait}), "429")
    endless = Answer(429, headers={"Retry-After": "999999"})
    _expect_refusal(desk, endless, "asks to wait 999999 s")


@bad_input(66, "500, 502, 503 and 504", "the run fails at once; the next tick asks again")
def _server_errors(desk: Desk) -> None:
    for status in (500, 502, 503, 504):
        detail = _expect_refusal(desk, Answer(status, "trouble"), f"answered {status}")
        assert detail.run.error_class == "TransientProviderError"


@bad_input(67, "nobody listens, no such name, a certificate nobody vouches for", REFUSED)
def _unreachable(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    _expect_unreachable(desk, f"http://127.0.0.1:{port}", "could not be reached")
    with pytest.MonkeyPatch.context() as patch:
        known = socket.getaddrinfo
        patch.setattr(socket, "getaddrinfo", _without("provider.invalid", known))
        _expect_unreachable(desk, "https://provider.invalid", "could not be resolved")
    if shutil.which("openssl"):
        with _server_of_no_repute() as url:
            _expect_unreachable(desk, url, "certificate was not accepted")


def _without(name: str, known: Callable[..., Any]) -> Callable[..., Any]:
    def resolve(host: str, *arguments: Any, **named: Any) -> Any:
        if host == name:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *arguments, **named)

    return resolve


def _expect_unreachable(desk: Desk, url: str, words: str) -> None:
    with desk.follow("BTC-USD=bitcoin", base_url=url) as deck:
        run = deck.ingest().run
        assert run.status is RunStatus.FAILED
        assert words in (run.error_message or "")
        assert deck.rows("SELECT count(*) FROM market_snapshot") == [0]


@contextmanager
def _server_of_no_repute() -> Iterator[str]:
    """A server that speaks TLS under a certificate of its own making."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as line:
        key, certificate = Path(folder) / "key.pem", Path(folder) / "certificate.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
        command += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"]
        subprocess.run(command, check=True, capture_output=True)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        thread = threading.Thread(target=_shake_hands, args=(line, tls), daemon=True)
        thread.start()
        yield f"https://localhost:{line.getsockname()[1]}"
        thread.join(10)


def _shake_hands(line: socket.socket, tls: ssl.SSLContext) -> None:
    connection, _ = line.accept()
    # The client hangs up when it sees the certificate.
    with pytest.raises(OSError), connection:  # noqa: PT011
        tls.wrap_socket(connection, server_side=True).recv(1)


@bad_input(68, "silence, a byte now and then, a reset", "ended within the time of a call")
def _slow(desk: Desk) -> None:
    assert CallLimits().total_seconds <= 20
    dripping = Answer(body=b"[" + b" " * 10_000 + b"]", drip_seconds=0.02)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.providers.http.CallLimits", lambda: IMPATIENT)
        _expect_refusal(desk, Answer(hold=threading.Event()), "was silent for 0.5 s")
        started = time.monotonic()
        _expect_refusal(desk, dripping, "did not answer within 1 s")
        took = time.monotonic() - started
        desk.figures.append(f"a drip given 1 s is ended with its run after {took:.1f} s")
        _expect_refusal(desk, Answer(reset=True), "broke the connection off")

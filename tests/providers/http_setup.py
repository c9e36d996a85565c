"""What the tests of the HTTP room share: a client of a local server, and its error."""

import msgspec
import pytest

from app.errors import ProviderError
from app.providers.base import ProviderContext
from app.providers.http import CallLimits, HttpClient, Request
from app.providers.http_errors import ErrorReader
from tests.providers.coingecko_setup import QUICK, build_context

KEY = "CG-secret-key"
LIST = Request("/list", msgspec.json.Decoder(list[int]).decode)


def build_client(
    url: str,
    context: ProviderContext | None = None,
    *,
    limits: CallLimits = QUICK,
    per_minute: int = 100_000,
    waits: bool = True,
) -> HttpClient:
    return HttpClient(
        provider="coingecko",
        base_url=url,
        context=context or build_context(),
        errors=ErrorReader("CoinGecko", [KEY], frozenset({10005, 10012})),
        requests_per_minute=per_minute,
        headers={"x-cg-demo-api-key": KEY},
        wait_out_rate_limits=waits,
        limits=limits,
    )


def error_of(client: HttpClient, request: Request[list[int]] = LIST) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        client.get(request)
    client.close()
    return caught.value

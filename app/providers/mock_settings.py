"""The settings of the mock provider, all of which begin with `MOCK_`."""

from typing import Annotated, Literal

from pydantic import AfterValidator
from pydantic_settings import SettingsConfigDict

from app.providers.mock_faults import FailingMarkets
from app.settings import ProviderSettings, variable
from app.settings_values import Lowered

Failure = Literal["none", "transient", "permanent", "rate_limited", "plan", "market"]


def _failing_markets(text: str) -> str:
    FailingMarkets.parse(text)
    return text


class MockSettings(ProviderSettings):
    """The settings of the mock provider; one field is one variable beginning with `MOCK_`."""

    model_config = SettingsConfigDict(env_prefix="MOCK_")

    seed: int = variable(
        42, "Another seed is another history.", "0 to 18446744073709551615", ge=0, lt=2**64
    )
    fail: Annotated[Failure, Lowered] = variable(
        "none",
        "How calls fail; `market` fails some markets and serves the others.",
        "none, transient, permanent, rate_limited, plan or market",
    )
    fail_markets: Annotated[str, AfterValidator(_failing_markets)] = variable(
        "1",
        "With MOCK_FAIL=market: how many markets fail (the first a run asks for), or which.",
        "a number, or symbols joined by commas",
    )
    delay_seconds: float = variable(
        0, "How long each call takes.", "0 to 600", ge=0, le=600, allow_inf_nan=False
    )
    bad_rows: float = variable(
        0, "Share of the rows that no one should store.", "0 to 1", ge=0, le=1, allow_inf_nan=False
    )
    stale_rows: float = variable(
        0,
        "Share of the snapshots that are hours or days old.",
        "0 to 1",
        ge=0,
        le=1,
        allow_inf_nan=False,
    )
    tiny_prices: bool = variable(False, "Prices around 1e-12.", "true or false")

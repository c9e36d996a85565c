"""CoinGecko's settings: `COINGECKO_*` in the environment."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, model_validator
from pydantic_settings import SettingsConfigDict

from app.providers.base_address import read_base_address
from app.settings import Derived, ProviderSettings, variable
from app.settings_fields import Conflict, SettingsConflict
from app.settings_values import BearerToken, Lowered

Plan = Literal["keyless", "demo", "pro"]

_BASE_URLS = {
    "keyless": "https://api.coingecko.com/api/v3",
    "demo": "https://api.coingecko.com/api/v3",
    "pro": "https://pro-api.coingecko.com/api/v3",
}
# The vendor's own pages disagree; these stay below the lowest figure each plan is given.
_REQUESTS_PER_MINUTE = {"keyless": 5, "demo": 25, "pro": 250}
_HISTORY_MARKETS = {"keyless": 5, "demo": 20, "pro": 100}
_HISTORY_DAYS = {"keyless": 365, "demo": 365, "pro": 3650}
_KEY_HEADERS = {"demo": "x-cg-demo-api-key", "pro": "x-cg-pro-api-key"}


def _default_plan(earlier: dict[str, Any]) -> str:
    return "demo" if earlier.get("api_key") else "keyless"


def _by_plan(figures: dict[str, Any]) -> Derived:
    words = ", ".join(f"{figure} {plan}" for plan, figure in figures.items())
    return Derived(lambda earlier: figures[earlier.get("plan") or _default_plan(earlier)], words)


class CoinGeckoSettings(ProviderSettings):
    """How CoinGecko is asked; what is not set follows from the plan."""

    model_config = SettingsConfigDict(env_prefix="COINGECKO_")

    # The order matters: a default is made from the fields above it.
    api_key: BearerToken = variable(
        None, "Key of a demo or pro plan, sent in a header.", "visible ASCII characters"
    )
    plan: Annotated[Plan, Lowered] = variable(
        Derived(_default_plan, "keyless, or demo where there is a key"),
        "Which plan CoinGecko is asked under.",
        "keyless, demo or pro",
    )
    base_url: Annotated[str, AfterValidator(read_base_address)] = variable(
        _by_plan(_BASE_URLS),
        "Where CoinGecko is asked.",
        "an https address without user, query and fragment (http only on this machine)",
    )
    requests_per_minute: int = variable(
        _by_plan(_REQUESTS_PER_MINUTE),
        "Rate budget of each process.",
        "1 to 100000",
        ge=1,
        le=100_000,
    )
    history_markets_per_run: int = variable(
        _by_plan(_HISTORY_MARKETS),
        "Markets whose history one run asks for; 0 asks for none.",
        "0 to 10000",
        ge=0,
        le=10_000,
    )
    wait_out_rate_limits: bool = variable(
        True,
        "Whether a call waits when CoinGecko asks it to and the run's deadline allows it.",
        "true or false",
    )
    concurrency: int = variable(8, "Calls side by side.", "1 to 64", ge=1, le=64)

    @model_validator(mode="after")
    def _check_key(self) -> Self:
        if self.plan == "keyless" or self.api_key:
            return self
        sentence = f"COINGECKO_PLAN is {self.plan}, which needs a key in COINGECKO_API_KEY."
        raise SettingsConflict([Conflict(("COINGECKO_PLAN", "COINGECKO_API_KEY"), sentence)])

    @property
    def history_days(self) -> int:
        """How far back the plan lets history reach, in days."""
        return _HISTORY_DAYS[self.plan]

    def headers(self) -> dict[str, str]:
        """The header that carries the key; none on the keyless plan."""
        name = _KEY_HEADERS.get(self.plan)
        return {name: self.api_key.get_secret_value()} if name and self.api_key else {}

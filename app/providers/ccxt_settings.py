"""The settings of the ccxt provider: `CCXT_*` in the environment."""

import difflib
import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import SettingsConfigDict

from app.providers.base_address import read_base_address
from app.providers.ccxt_package import INSTALL, exchange_names, is_installed
from app.settings import ProviderSettings, variable
from app.settings_values import Lowered

_NAME = re.compile(r"[a-z][a-z0-9_]{1,39}")
_COIN = re.compile(r"[A-Z0-9]{2,20}")


def _exchange(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("not a name")
    known = exchange_names()
    if known and text not in known:
        close = difflib.get_close_matches(text, sorted(known), n=1)
        raise ValueError(f"did you mean {close[0]}?" if close else "ccxt has none of that name")
    return text


def _coins(value: object) -> object:
    if not isinstance(value, str):
        return value
    names = tuple(name.strip().upper() for name in value.split(",") if name.strip())
    for name in names:
        if not _COIN.fullmatch(name) or name == "USD":
            raise ValueError(f"{name[:40]!r} is no coin")
    return tuple(dict.fromkeys(names))


def _base_url(text: str) -> str:
    return read_base_address(text) if text.strip() else ""


class CcxtSettings(ProviderSettings):
    """Which exchange is asked, and how."""

    model_config = SettingsConfigDict(env_prefix="CCXT_")

    exchange: Annotated[str, Lowered, AfterValidator(_exchange)] = variable(
        "kraken",
        "The exchange to ask, by ccxt's name for it.",
        "an exchange that ccxt knows, such as kraken, binance or coinbaseexchange",
    )
    usd_stablecoins: Annotated[tuple[str, ...], BeforeValidator(_coins)] = variable(
        "",
        "Stablecoins that count as USD where an exchange has no market in USD itself; the first "
        "that has one wins. Unset: none does.",
        "coins joined by commas, such as USDC,USDT",
    )
    requests_per_minute: int = variable(
        60, "Rate budget of each process.", "1 to 100000", ge=1, le=100_000
    )
    history_markets_per_run: int = variable(
        100,
        "Markets whose history one run asks for; 0 asks for none.",
        "0 to 10000",
        ge=0,
        le=10_000,
    )
    wait_out_rate_limits: bool = variable(
        True,
        "Whether a call waits when the exchange asks it to and the run's deadline allows it.",
        "true or false",
    )
    base_url: Annotated[str, AfterValidator(_base_url)] = variable(
        "",
        "An address that stands for all of the exchange's own, such as a mirror. Unset: its own.",
        "an https address without user, query and fragment (http only on this machine)",
    )

    def lacks(self) -> Sequence[str]:
        """That ccxt is not installed, where it is not."""
        return () if is_installed() else (INSTALL,)

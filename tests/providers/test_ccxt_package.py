"""The package ccxt is loaded when it is needed, one exchange of it, and missed with a word."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.errors import PermanentProviderError, SettingsError
from app.paths import ROOT
from app.providers import provider_classes
from app.providers.ccxt import CcxtSettings
from app.providers.ccxt_package import build_exchange, exchange_names, is_installed
from app.settings_loader import LoadedSettings, load_settings

Load = Callable[..., LoadedSettings]
GROUPS = {name: cls.Settings for name, cls in provider_classes().items()}


def run_python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def without_ccxt(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine where the package is not installed: Python's own way to hide one."""
    monkeypatch.setitem(sys.modules, "ccxt", None)
    exchange_names.cache_clear()
    yield
    exchange_names.cache_clear()


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Load:
    """Loads the settings of a few variables, with no file beside them."""

    def load(**variables: str) -> LoadedSettings:
        for name, text in variables.items():
            monkeypatch.setenv(name, text)
        return load_settings(GROUPS, env_file=tmp_path / "none")

    return load


def test_start_of_the_application_does_not_import_ccxt() -> None:
    code = (
        "import sys, app\n"
        "from app.providers import provider_classes\n"
        "for each in provider_classes().values(): each.Settings()\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}"
        " & {'ccxt', 'requests', 'aiohttp'}))"
    )
    assert run_python(code) == "[]"


def test_only_the_chosen_exchange_is_imported_and_the_package_stays_whole() -> None:
    code = (
        "import sys\n"
        "from app.providers.ccxt_package import build_exchange\n"
        "build_exchange('kraken', lambda *_: None)\n"
        "loaded = [name for name in sys.modules if name.startswith('ccxt')]\n"
        "print('ccxt.kraken' in loaded, 'ccxt.binance' in loaded, 'ccxt' in loaded)\n"
        "build_exchange('binanceus', lambda *_: None)\n"
        "import ccxt\n"
        "print(ccxt.kraken is sys.modules['ccxt.kraken'].kraken, len(ccxt.exchanges) > 50)"
    )
    assert run_python(code).split() == ["True", "False", "False", "True", "True"]


def test_names_are_those_that_ccxt_lists_itself() -> None:
    listed = run_python("import ccxt; print(*ccxt.exchanges)").split()
    assert set(listed) <= exchange_names()


def test_only_spot_markets_are_kept_and_of_them_not_the_raw_rows() -> None:
    exchange = build_exchange("kraken", lambda *_: None)
    row = {"id": "a", "symbol": "A/USD", "base": "A", "quote": "USD", "info": {"long": "text"}}
    swap = {**row, "id": "b", "symbol": "A/USD:USD", "spot": False}
    exchange.set_markets([{**row, "spot": True}, swap, None])
    assert list(exchange.markets) == ["A/USD"]
    assert exchange.markets["A/USD"]["info"] == {}


def test_without_the_package_the_choice_of_ccxt_is_refused_with_what_to_install(
    without_ccxt: None, settings_of: Load
) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_of(INGESTION_PROVIDER="ccxt")
    (problem,) = caught.value.problems
    assert problem.startswith("INGESTION_PROVIDER=ccxt needs the Python package ccxt")
    assert "make .venv/.requirements-ccxt" in problem
    assert "pip install ccxt" in problem


def test_without_the_package_other_providers_start(without_ccxt: None, settings_of: Load) -> None:
    assert not is_installed()
    assert settings_of(INGESTION_PROVIDER="mock").providers["ccxt"] == CcxtSettings()


def test_without_the_package_a_run_of_ccxt_says_so(without_ccxt: None) -> None:
    with pytest.raises(PermanentProviderError, match="pip install ccxt"):
        build_exchange("kraken", lambda *_: None)


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("CCXT_EXCHANGE", "krakn", "did you mean kraken?"),
        ("CCXT_EXCHANGE", "../evil", "not a name"),
        ("CCXT_EXCHANGE", "__init__", "not a name"),
        ("CCXT_EXCHANGE", "zzzz", "ccxt has none of that name"),
        ("CCXT_USD_STABLECOINS", "USDT,US Dollar", "no coin"),
        ("CCXT_USD_STABLECOINS", "USD", "no coin"),
        ("CCXT_BASE_URL", "http://mirror.example", "http is for this machine only"),
        ("CCXT_BASE_URL", "https://user:pass@mirror.example", "more than host, port and path"),
        ("CCXT_REQUESTS_PER_MINUTE", "0", "1 to 100000"),
    ],
)
def test_wrong_settings_are_told_in_words(
    settings_of: Load, variable: str, text: str, said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_of(**{variable: text})
    (problem,) = caught.value.problems
    assert problem.startswith(f"{variable} is ")
    assert said in problem
    assert "pass@" not in problem


def test_settings_are_read_as_they_are_meant(settings_of: Load) -> None:
    found = settings_of(
        CCXT_EXCHANGE=" Binance ",
        CCXT_USD_STABLECOINS="usdc, USDT,usdc",
        CCXT_BASE_URL="https://mirror.example/binance/",
    ).providers["ccxt"]
    assert isinstance(found, CcxtSettings)
    assert (found.exchange, found.usd_stablecoins) == ("binance", ("USDC", "USDT"))
    assert found.base_url == "https://mirror.example/binance"
    assert found.shown("usd_stablecoins") == "USDC,USDT"

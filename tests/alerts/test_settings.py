"""The settings of alerts: what they take, and that no refusal shows a secret."""

import base64

import pytest
from pydantic import ValidationError

from app.settings import Settings

GOOD = "whsec_" + base64.b64encode(b"k" * 32).decode()
SHORT = "whsec_" + base64.b64encode(b"s3cr3t" * 2).decode()


@pytest.mark.parametrize("written", [GOOD, f"{GOOD},{GOOD}", f" {GOOD}\n", ""])
def test_one_secret_or_two_while_one_replaces_the_other(written: str) -> None:
    assert Settings(alert_webhook_secret=written)


@pytest.mark.parametrize(
    "written",
    [SHORT, GOOD[6:], "whsec_s3cr3t!", f"{GOOD},", ",".join([GOOD] * 3), "whsec_" + "A" * 200],
)
def test_what_is_no_secret_is_refused_unseen(written: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(alert_webhook_secret=written)
    assert written not in str(caught.value)


@pytest.mark.parametrize("url", ["https://u:s3cr3t@hooks.example/", "ftp://h/x", "https://"])
def test_an_address_with_a_user_or_none_is_refused_unseen(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(alert_webhook_url=url)
    assert "s3cr3t" not in str(caught.value)


def test_the_dashboards_address_loses_its_last_slash() -> None:
    assert Settings(alert_dashboard_url="https://deck.example/x/").alert_dashboard_url == (
        "https://deck.example/x"
    )


@pytest.mark.parametrize("url", ["deck.example", "https://a@b/", "https://deck/?x=1", "ftp://d"])
def test_a_dashboard_needs_a_plain_address(url: str) -> None:
    with pytest.raises(ValidationError):
        Settings(alert_dashboard_url=url)


@pytest.mark.parametrize("name", ["Slack", " alertmanager "])
def test_a_format_is_known_in_any_case(name: str) -> None:
    assert Settings(alert_webhook_format=name).alert_webhook_format == name.strip().lower()

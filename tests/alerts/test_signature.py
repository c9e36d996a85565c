"""Signatures as Standard Webhooks computes them."""

import base64
import subprocess
from uuid import UUID

from pydantic import SecretStr

from app.alerts.signature import signed_headers, webhook_id
from app.settings_values import webhook_keys
from tests.alerts.making import KEY, NOON

BODY = b'{"test": 2432232314}'
DELIVERY = UUID("0123456789abcdef0123456789abcdef")


def openssl_hmac(key: bytes, content: bytes) -> str:
    """The same digest from another implementation."""
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}"]
    done = subprocess.run([*command, "-binary"], input=content, capture_output=True, check=True)
    return base64.b64encode(done.stdout).decode()


def test_the_signature_is_that_of_an_independent_implementation() -> None:
    headers = signed_headers(DELIVERY, BODY, at=NOON, keys=[KEY])
    timestamp = str(int(NOON.timestamp()))
    assert headers["webhook-id"] == "msg_0123456789abcdef0123456789abcdef"
    assert headers["webhook-timestamp"] == timestamp
    content = f"msg_{DELIVERY.hex}.{timestamp}.".encode() + BODY
    assert headers["webhook-signature"] == f"v1,{openssl_hmac(KEY, content)}"


def test_while_a_secret_is_replaced_both_sign() -> None:
    other = bytes(reversed(KEY))
    both = signed_headers(DELIVERY, BODY, at=NOON, keys=[KEY, other])["webhook-signature"]
    alone = [
        signed_headers(DELIVERY, BODY, at=NOON, keys=[key])["webhook-signature"]
        for key in (KEY, other)
    ]
    assert both.split() == alone


def test_the_secret_of_the_settings_is_the_key_in_base64() -> None:
    written = "whsec_" + base64.b64encode(KEY).decode()
    assert webhook_keys(SecretStr(f"{written}, {written}")) == (KEY, KEY)
    assert webhook_keys(None) == ()


def test_without_a_key_nothing_is_signed_but_the_id_stays() -> None:
    headers = signed_headers(DELIVERY, BODY, at=NOON, keys=[])
    assert set(headers) == {"webhook-id", "webhook-timestamp"}
    assert headers["webhook-id"] == webhook_id(DELIVERY)

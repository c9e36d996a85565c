"""Signatures as Standard Webhooks computes them."""

import base64
import re
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from pydantic import SecretStr

from app.alerts.signature import sign, signed_headers, webhook_id
from app.paths import ROOT
from app.settings_values import webhook_keys
from tests.alerts.making import KEY, NOON
from tests.alerts.verifier import Forged, verify

BODY = b'{"test": 2432232314}'
DELIVERY = UUID("0123456789abcdef0123456789abcdef")
SECRET = "whsec_" + base64.b64encode(KEY).decode()
# The example that the reference implementations of Standard Webhooks are tested with.
EXAMPLE_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EXAMPLE = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


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


def test_the_signature_of_the_specifications_example_is_the_published_one() -> None:
    (key,) = webhook_keys(SecretStr(EXAMPLE_SECRET))
    signature = sign(key, EXAMPLE["webhook-id"], EXAMPLE["webhook-timestamp"], BODY)
    assert signature == EXAMPLE["webhook-signature"]
    verify(EXAMPLE_SECRET, EXAMPLE, BODY, now=1614265330)


def test_a_receiver_takes_what_is_signed_and_nothing_that_was_touched() -> None:
    now = NOON.timestamp()
    headers = signed_headers(DELIVERY, BODY, at=NOON, keys=[bytes(32), KEY])
    verify(SECRET, headers, BODY, now=now)
    touched = [
        (headers, BODY + b" ", now),
        (headers | {"webhook-id": "msg_0"}, BODY, now),
        (headers | {"webhook-timestamp": str(int(now) + 1)}, BODY, now),
        (headers, BODY, now + 301),
    ]
    for found, body, at in touched:
        with pytest.raises(Forged):
            verify(SECRET, found, body, now=at)


def test_the_code_in_the_document_tells_genuine_from_forged() -> None:
    is_genuine = code_of_the_document()
    headers = signed_headers(DELIVERY, BODY, at=datetime.now(UTC), keys=[bytes(32), KEY])
    old = signed_headers(DELIVERY, BODY, at=NOON, keys=[KEY])
    assert is_genuine(headers, BODY, SECRET)
    assert not is_genuine(headers, BODY + b" ", SECRET)
    assert not is_genuine(headers, BODY, EXAMPLE_SECRET)
    assert abs(time.time() - NOON.timestamp()) > 300
    assert not is_genuine(old, BODY, SECRET)


def code_of_the_document() -> Callable[..., bool]:
    """The function that docs/alerts.md gives to receivers, as it stands there."""
    document = (ROOT / "docs/alerts.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    names: dict[str, Callable[..., bool]] = {}
    exec(code, names)
    return names["is_genuine"]


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

"""A receiver's side of Standard Webhooks 1.0.0, written from its text and nothing of the product.

`spec/standard-webhooks.md`, sections "Signature scheme" and "Webhook headers".
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping

TOLERANCE_SECONDS = 5 * 60


class Forged(Exception):
    """The message is not what its sender signed, or is too old."""


def verify(secret: str, headers: Mapping[str, str], payload: bytes, *, now: float) -> None:
    """Raise `Forged` unless one of the signatures is that of the secret over this very message."""
    identity, stamp = headers["webhook-id"], headers["webhook-timestamp"]
    if "." in identity + stamp or not stamp.isdigit():
        raise Forged("id or timestamp could be mistaken for a part of the other")
    if abs(now - int(stamp)) > TOLERANCE_SECONDS:
        raise Forged("the message is too old or too new")
    key = base64.b64decode(secret.split("_", 1)[1])
    signed = b".".join([identity.encode(), stamp.encode(), payload])
    wanted = hmac.new(key, signed, hashlib.sha256).digest()
    for written in headers["webhook-signature"].split(" "):
        version, _, signature = written.partition(",")
        if version == "v1" and hmac.compare_digest(base64.b64decode(signature), wanted):
            return
    raise Forged("no signature fits")

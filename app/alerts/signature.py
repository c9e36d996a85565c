"""The headers of Standard Webhooks: a stable id, the time of this try, and who vouches for it."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID


def webhook_id(delivery_id: UUID) -> str:
    """The id that every try of a delivery carries; receivers drop repeats by it."""
    return f"msg_{delivery_id.hex}"


def signed_headers(
    delivery_id: UUID, body: bytes, *, at: datetime, keys: Sequence[bytes]
) -> dict[str, str]:
    """`webhook-id`, `webhook-timestamp` (Unix seconds) and, with keys, `webhook-signature`.

    A signature is `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`; one for each key,
    separated by spaces (Standard Webhooks 1.0.0, section "Signature scheme").
    """
    identity, timestamp = webhook_id(delivery_id), str(int(at.timestamp()))
    headers = {"webhook-id": identity, "webhook-timestamp": timestamp}
    if keys:
        signatures = (sign(key, identity, timestamp, body) for key in keys)
        headers["webhook-signature"] = " ".join(signatures)
    return headers


def sign(key: bytes, identity: str, timestamp: str, body: bytes) -> str:
    """The signature of one key: `v1,` and base64."""
    content = f"{identity}.{timestamp}.".encode() + body
    digest = hmac.new(key, content, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"

"""How the settings of a provider take an address that stands for its own."""

from urllib.parse import urlsplit

from app.settings import is_loopback


def read_base_address(text: str) -> str:
    """The address without blanks and a slash at its end; `ValueError` where it may not be asked."""
    text = text.strip().rstrip("/")
    url = urlsplit(text)
    if url.scheme not in ("https", "http") or not url.hostname or url.port == 0:
        raise ValueError("not an address")
    if "@" in url.netloc or url.query or url.fragment or not text.isprintable():
        raise ValueError("it holds more than host, port and path")
    if url.scheme == "http" and not is_loopback(url.hostname):
        raise ValueError("http is for this machine only")
    return text

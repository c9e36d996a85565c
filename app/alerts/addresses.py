"""Where alerts may be sent: every address of the receiver is checked before it is connected to."""

import ipaddress
import re
import socket
import threading
from dataclasses import dataclass
from urllib.parse import urlsplit

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NUMERIC_HOST = re.compile(r"[0-9.]+|(0x)?[0-9a-f.]*x[0-9a-f.x]*")


class AddressRefused(Exception):
    """Nothing may be sent there; the message is for people and holds no address."""


class NameNotFound(Exception):
    """The host name could not be resolved in time."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far alerts may go; public addresses over https are always allowed.

    `private` allows private addresses and plain http, `loopback` this machine over either.
    """

    private: bool = False
    loopback: bool = False


@dataclass(frozen=True, slots=True)
class Destination:
    """An address taken apart; `target` is path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def host_header(self) -> str:
        """As HTTP wants it: brackets around IPv6, the port only where it is unusual."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"http": 80, "https": 443}[self.scheme]
        return host if self.port == usual else f"{host}:{self.port}"


def read_destination(url: str) -> Destination:
    """The parts of an http(s) address; `AddressRefused` for what is none or holds a user."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        raise AddressRefused("The webhook's address is not http or https.") from None
    host = parts.hostname or ""
    if "@" in parts.netloc or not host:
        raise AddressRefused("The webhook's address must hold a host and no user.")
    if _NUMERIC_HOST.fullmatch(host) and not _is_ip(host):
        raise AddressRefused("The webhook's host is a number in an unusual spelling.")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(parts.scheme, host, port, target)


def resolve(destination: Destination, *, reach: Reach, seconds: float) -> str:
    """The one IP address to connect to, looked up once and checked.

    Raises `AddressRefused` where any address of the host is out of reach, `NameNotFound` where the
    lookup fails or takes longer than `seconds`.
    """
    found = _look_up(destination.host, destination.port, seconds)
    for address in found:
        _refuse(address, destination.scheme, reach)
    return str(found[0])


def _look_up(host: str, port: int, seconds: float) -> list[IpAddress]:
    """The addresses of a host. A lookup can't be cut short, so it is only waited for so long."""
    answers: list[IpAddress] = []

    def ask() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.extend(
                ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in infos
            )
        except (OSError, ValueError):
            return

    thread = threading.Thread(target=ask, name="webhook-lookup", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive() or not answers:
        raise NameNotFound("The webhook's host name could not be resolved.")
    return answers


def _refuse(address: IpAddress, scheme: str, reach: Reach) -> None:
    real = _embedded(address)
    if real.is_loopback:
        if not (reach.loopback or reach.private):
            raise AddressRefused("The webhook's host is this machine, which is not allowed.")
        return
    if real.is_multicast or real.is_unspecified or real.is_link_local or real.is_reserved:
        raise AddressRefused("The webhook's host has an address that no receiver has.")
    if not real.is_global and not reach.private:
        raise AddressRefused(
            "The webhook's host has a private address; ALERT_ALLOW_PRIVATE_TARGETS allows that."
        )
    if scheme != "https" and not reach.private:
        raise AddressRefused("The webhook's address is http; alerts leave over https only.")


def _embedded(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

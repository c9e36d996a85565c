"""Where alerts may go: the addresses of the host decide, whatever their spelling."""

import ipaddress
import socket
import threading
from collections.abc import Callable

import pytest

from app.alerts.addresses import (
    AddressRefused,
    Destination,
    NameNotFound,
    Reach,
    read_destination,
    resolve,
)

EVERYWHERE = Reach(private=True, loopback=True)
HOUSE = Reach(loopback=True)
PUBLIC = Reach()
Names = Callable[..., None]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Say which addresses the next lookups find; nothing is ever connected to."""

    def answer(*addresses: str) -> None:
        def look_up(host: str, port: int, **options: object) -> list[object]:
            return [(0, 0, 0, "", (address, port)) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    return answer


def go(url: str, reach: Reach = PUBLIC) -> str:
    return resolve(read_destination(url), reach=reach, seconds=2)


PRIVATE = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1"]
NOBODY = [
    "169.254.169.254",
    "fe80::1",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_needs_leave(names: Names, address: str) -> None:
    names(address)
    for reach in (PUBLIC, HOUSE):
        with pytest.raises(AddressRefused, match="private address"):
            go("https://hooks.example/x", reach)
    assert go("https://hooks.example/x", EVERYWHERE) == str(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", NOBODY)
def test_addresses_that_no_receiver_has_are_refused_always(names: Names, address: str) -> None:
    names(address)
    for reach in (PUBLIC, HOUSE, EVERYWHERE):
        with pytest.raises(AddressRefused):
            go("https://hooks.example/x", reach)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "127.8.8.8", "::ffff:127.0.0.1"])
def test_this_machine_is_for_dashboards_on_loopback(names: Names, address: str) -> None:
    names(address)
    with pytest.raises(AddressRefused, match="this machine"):
        go("https://hooks.example/x")
    assert go("http://hooks.example/x", HOUSE)


def test_one_bad_address_among_good_ones_is_enough_to_refuse(names: Names) -> None:
    names("1.1.1.1", "10.0.0.1")
    with pytest.raises(AddressRefused):
        go("https://hooks.example/x")


def test_a_public_address_is_reached_over_https_only(names: Names) -> None:
    names("1.1.1.1")
    assert go("https://hooks.example/x") == "1.1.1.1"
    with pytest.raises(AddressRefused, match="https only"):
        go("http://hooks.example/x")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hooks.example/x",
        "javascript:alert(1)",
        "https://user:secret@hooks.example/x",
        "https:///x",
        "https://2130706433/x",
        "https://0x7f000001/x",
        "https://0177.0.0.1/x",
        "https://127.1/x",
        "https://[::1/x",
    ],
)
def test_what_is_no_plain_address_is_refused_unasked(url: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        read_destination(url)
    assert "secret" not in str(caught.value)


def test_the_parts_are_those_of_the_address() -> None:
    assert read_destination("https://hooks.example/a/b?c=d#e") == Destination(
        "https", "hooks.example", 443, "/a/b?c=d"
    )
    assert read_destination("http://[::1]:8080").host_header == "[::1]:8080"
    assert read_destination("https://hooks.example").host_header == "hooks.example"


def test_a_lookup_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(*args: object, **options: object) -> list[object]:
        release.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(NameNotFound):
        resolve(read_destination("https://hooks.example/"), reach=PUBLIC, seconds=0.1)
    release.set()

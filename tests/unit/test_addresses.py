"""Which addresses a job may make the node talk to."""

import socket

import pytest

from agent.workers.guard import guarded
from wire.addresses import AddressPolicy
from wire.failures import ExecutionFailed, InvalidRequest

BLOCKED = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",  # noqa: S104
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    "2001:0:1:2::3",
    "2001:db8::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "100::1",
    "3fff::1",
    "5f00::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "172.32.0.1",
    "192.169.0.1",
    "2606:4700::1111",
    "64:ff9b::808:808",
    "2002:808:808::1",
    "::ffff:8.8.8.8",
]


@pytest.mark.parametrize("address", BLOCKED)
def test_an_address_that_is_not_public_is_blocked(address):
    assert not AddressPolicy().permits("host.example", address)
    with pytest.raises(ExecutionFailed) as caught:
        AddressPolicy().check_literal(address)
    assert caught.value.reason.code == "address-not-allowed"


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_permitted(address):
    assert AddressPolicy().permits("host.example", address)
    AddressPolicy().check_literal(address)


def test_the_owner_allows_by_network_by_address_and_by_name():
    policy = AddressPolicy(["127.0.0.0/8", "192.168.7.7", "fd00::/8", "Minio.Plant.example"])
    assert policy.permits("any.example", "127.3.3.3")
    assert policy.permits("any.example", "::ffff:127.0.0.1")
    assert policy.permits("any.example", "192.168.7.7")
    assert not policy.permits("any.example", "192.168.7.8")
    assert policy.permits("any.example", "fd01::1")
    assert policy.permits("minio.plant.example.", "10.1.1.1")
    assert not policy.permits("evil-minio.plant.example", "10.1.1.1")


def test_what_is_neither_name_nor_network_is_refused_when_it_is_read():
    for entry in ["10.0.0.0/99", "", "host/path"]:
        with pytest.raises(InvalidRequest):
            AddressPolicy([entry])


@pytest.mark.parametrize("spelling", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "localhost", "LOCALHOST", "0"])
def test_no_spelling_of_loopback_gets_past_the_guard(spelling):
    with guarded(AddressPolicy()), pytest.raises(ExecutionFailed) as caught:
        socket.create_connection((spelling, 9), timeout=5)
    assert caught.value.reason.code == "address-not-allowed"
    assert socket.getaddrinfo("127.0.0.1", 9)

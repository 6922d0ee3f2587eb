"""Signed envelopes: nothing but the exact bytes on the exact topic by the right key is opened."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.failures import Untrusted
from wire.signing import OVERHEAD, Keyring, Keyrings, Signer

HUB, OTHER = Signer(b"h" * 32), Signer(b"o" * 32)
TOPIC = "tender/1/n/n-1/want"


@given(st.binary(max_size=300))
def test_a_sealed_body_opens_to_the_same_bytes(body):
    envelope = HUB.seal(TOPIC, body)
    assert Keyring([HUB.public]).open(TOPIC, envelope) == body
    assert len(envelope) == len(body) + OVERHEAD


@given(st.binary(min_size=1, max_size=100), st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_any_changed_byte_is_refused(body, place, flip):
    envelope = bytearray(HUB.seal(TOPIC, body))
    envelope[place % len(envelope)] ^= flip
    with pytest.raises(Untrusted):
        Keyring([HUB.public]).open(TOPIC, bytes(envelope))


def test_a_document_cannot_be_moved_to_another_topic():
    with pytest.raises(Untrusted, match="does not match"):
        Keyring([HUB.public]).open("tender/1/n/n-2/want", HUB.seal(TOPIC, b"{}"))


def test_the_split_between_topic_and_body_cannot_be_shifted():
    with pytest.raises(Untrusted):
        Keyring([HUB.public]).open(TOPIC + "\x00x", HUB.seal(TOPIC, b"x\x00")[:-2] + b"")


def test_an_unknown_key_is_refused_and_named():
    with pytest.raises(Untrusted, match="unknown key"):
        Keyring([HUB.public]).open(TOPIC, OTHER.seal(TOPIC, b"{}"))


@given(st.binary(max_size=OVERHEAD + 20))
def test_rubbish_is_refused(rubbish):
    with pytest.raises(Untrusted):
        Keyring([HUB.public]).open(TOPIC, rubbish)


def test_two_valid_keys_serve_a_rotation():
    ring = Keyring([HUB.public, OTHER.public])
    assert ring.open(TOPIC, OTHER.seal(TOPIC, b"1")) == b"1"


def test_a_node_is_only_opened_with_its_own_key():
    rings = Keyrings({"n-1": HUB.public, "n-2": OTHER.public})
    assert rings.open("n-1", TOPIC, HUB.seal(TOPIC, b"1")) == b"1"
    with pytest.raises(Untrusted):
        rings.open("n-2", TOPIC, HUB.seal(TOPIC, b"1"))
    with pytest.raises(Untrusted, match="not known"):
        rings.open("n-3", TOPIC, HUB.seal(TOPIC, b"1"))


def test_a_key_is_made_once_readable_by_its_owner_only(tmp_path):
    path = tmp_path / "keys" / "order.key"
    first = Signer.load_or_make(path)
    assert Signer.load_or_make(path).public == first.public
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_half_written_key_is_not_taken_for_a_key(tmp_path):
    path = tmp_path / "order.key"
    path.with_suffix(".partial").write_bytes(b"half")
    assert len(Signer.load_or_make(path).public) == 32

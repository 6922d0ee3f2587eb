"""Messages: caps, unknown fields, junk, and a policy for each channel."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import messages as m
from wire.failures import InvalidRequest, TenderError, TooLarge
from wire.signing import OVERHEAD
from wire.topics import Channel


def test_every_channel_has_exactly_one_message():
    assert set(m.REGISTRY) == set(Channel)
    assert all(kind.policy.qos == 1 for kind in m.REGISTRY.values())


def test_what_must_be_rebuilt_from_the_broker_is_retained_and_nothing_else():
    retained = {channel for channel, kind in m.REGISTRY.items() if kind.policy.retain}
    assert retained == {Channel.STATE, Channel.CAPS, Channel.HEALTH, Channel.HELD, Channel.WANT, Channel.HUB}


def test_a_message_over_its_cap_is_refused_before_it_is_sent():
    with pytest.raises(TooLarge, match="over its cap"):
        m.encode(m.Award(ep=1, tender_id="t" * 600, outcome="lost"))


def test_a_body_over_the_cap_is_refused_before_it_is_parsed():
    with pytest.raises(TooLarge):
        m.decode(Channel.AWARD, b"[" * (512 - OVERHEAD + 1))


def test_unknown_fields_pass_so_that_an_additive_change_keeps_the_version():
    body = b'{"ep":3,"tender_id":"t-1","outcome":"lost","colour":"red"}'
    assert m.decode(Channel.AWARD, body) == m.Award(ep=3, tender_id="t-1", outcome="lost")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b'{"ep":"1"}',
        b'{"ep":1,"tender_id":1,"outcome":"x"}',
        b"[" * 400,
        b'{"ep":1' + b"0" * 350 + b"}",
        b'{"ep":NaN,"tender_id":"t","outcome":"x"}',
        b"\xff\xfe",
        b'{"ep":1,"tender_id":"\\ud800","outcome":"x"}',
    ],
)
def test_junk_is_a_refusal_and_never_another_error(body):
    with pytest.raises(InvalidRequest):
        m.decode(Channel.AWARD, body)


@given(st.sampled_from(Channel), st.binary(max_size=400))
def test_any_bytes_on_any_channel_are_a_message_or_a_refusal(channel, body):
    try:
        message = m.decode(channel, body)
    except TenderError:
        return
    assert message.policy.channel is channel


def test_a_page_of_want_and_an_ack_full_of_receipts_stay_below_their_caps():
    ids = [f"e-{n:08d}-0000-0000-0000-000000000000" for n in range(200)]
    items = [m.WantItem(x, 12, m.Desired.FORGET) for x in ids]
    m.encode(m.Want(ep=10**6, ver=10**9, items=items, page=99, pages=100))
    m.encode(m.Ack(ep=10**6, lanes={"status": 10**9, "event": 10**9}, receipts=ids[:100]))


def test_rows_keep_their_bodies_as_they_are():
    row = m.Row(7, msgspec.Raw(b'{"id": "e-1"}'))
    batch = m.decode(Channel.STATUS, m.encode(m.StatusBatch(ep=1, rows=[row])))
    assert isinstance(batch, m.StatusBatch)
    assert bytes(batch.rows[0].body) == b'{"id": "e-1"}'

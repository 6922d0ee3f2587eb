"""Topics: both ways, for every channel, and nothing else gets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.topics import ITEMISED, MAX_BYTES, PLAIN, Address, Channel, Topics

level = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=40)
plain = st.builds(Address, st.sampled_from([*PLAIN, Channel.HUB]), level, st.just(""))
itemised = st.builds(Address, st.sampled_from([*ITEMISED, Channel.SPEC]), level, level)


@given(root=level, address=st.one_of(plain, itemised))
def test_parsing_what_was_built_gives_the_address_back(root, address):
    topic = Topics(root).build(address)
    if len(topic) <= MAX_BYTES:
        assert Topics(root).parse(topic) == address
        assert topic.count("/") <= 7


@given(st.text(max_size=200))
def test_any_text_parses_to_an_address_that_builds_it_or_to_none(text):
    address = Topics().parse(text)
    assert address is None or Topics().build(address) == text


@pytest.mark.parametrize(
    "topic",
    [
        "tender/1/n/a",
        "tender/1/n/a/",
        "tender/1/n/a/state/",
        "/tender/1/n/a/state",
        "tender/2/n/a/state",
        "other/1/n/a/state",
        "tender/1/n/A/state",
        "tender/1/n/a/bid",
        "tender/1/n/a/state/x",
        "tender/1/n/a/x/e/spec/more",
        "tender/1/n/a/x/e",
        "tender/1/n/a/spec",
        "tender/1/n/a/hub",
        "tender/1/n/+/state",
        "tender/1/n/#",
        "tender/1/h/hub",
        "tender/1/h/hub/caps",
        "tender/1/n/" + "a" * 65 + "/state",
        "$SYS/broker/uptime",
        "",
    ],
)
def test_near_misses_are_no_address(topic):
    assert Topics().parse(topic) is None


@pytest.mark.parametrize("bad", ["", "A", "a/b", "+", "#", "ä", "a" * 65, "a b", "a\x00"])
def test_levels_outside_the_grammar_are_refused_when_building(bad):
    with pytest.raises(ValueError, match="not a topic level"):
        Topics().build(Address(Channel.STATE, bad))
    with pytest.raises(ValueError, match="not a topic level"):
        Topics(bad)


def test_an_item_is_given_exactly_where_the_channel_has_one():
    with pytest.raises(ValueError, match="do not go together"):
        Topics().build(Address(Channel.BID, "n"))
    with pytest.raises(ValueError, match="do not go together"):
        Topics().build(Address(Channel.STATE, "n", "x"))


def matches(pattern: str, topic: str) -> bool:
    wanted, levels = pattern.split("/"), topic.split("/")
    return len(wanted) == len(levels) and all(w in {"+", have} for w, have in zip(wanted, levels, strict=True))


@given(address=st.one_of(plain, itemised))
def test_each_topic_is_read_by_exactly_the_side_that_does_not_write_it(address):
    topics = Topics()
    topic = topics.build(address)
    node = sum(matches(f, topic) for f in topics.node_filters(address.owner))
    hub = sum(matches(f, topic) for f in topics.hub_filters("hub"))
    writes = {Channel.STATE, Channel.CAPS, Channel.HEALTH, Channel.HELD, Channel.STATUS, Channel.EVENT, Channel.BID}
    if address.channel is Channel.STATE:
        assert (node, hub) == (1, 1)
    elif address.channel is Channel.HUB:
        assert node == 1
    elif address.channel in writes | {Channel.RESPONSE}:
        assert (node, hub) == (0, 1)
    else:
        assert (node, hub) == (1, 0)

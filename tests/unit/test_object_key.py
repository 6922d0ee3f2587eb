"""The key of a result in a bucket: the node makes it, the hub knows it again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.object_key import PLACEHOLDERS, completed, filled, fits

NAMES = {"nodeID": "n-1", "executionID": "e-1", "jobID": "j-1", "date": "20260102", "time": "030405"}
KNOWN = {name: NAMES[name] for name in ("nodeID", "executionID", "jobID")}


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("results/", "results/e-1.tar.gz"),
        ("results", "results.tar.gz"),
        ("/a/{jobID}/{date}/{time}-{nodeID}.tar.gz", "a/j-1/20260102/030405-n-1.tar.gz"),
        ("a.b/{executionID}", "a.b/e-1.tar.gz"),
    ],
)
def test_a_key_is_completed_filled_and_known_again(template, key):
    whole = completed(template, "gzip")
    assert filled(whole, NAMES) == key
    assert fits(key, whole, KNOWN)


@pytest.mark.parametrize(
    "key",
    ["secrets/e-1.tar.gz", "results/e-2.tar.gz", "results/../e-1.tar.gz", "results/e-1.tar.gz/more", "", "results/"],
)
def test_a_key_that_the_template_does_not_give_is_not_taken(key):
    assert not fits(key, completed("results/", "gzip"), KNOWN)


@pytest.mark.parametrize("key", ["a/../b.tar.gz", "a/b/c.tar.gz", "aXb.tar.gz"])
def test_a_placeholder_holds_no_slash_and_a_dot_is_a_dot(key):
    assert not fits(key, completed("a.b/{date}", "gzip"), KNOWN)


_PIECES = st.lists(st.sampled_from([*(f"{{{name}}}" for name in PLACEHOLDERS), "/", "a", ".", "-", "("]), max_size=8)


@given(_PIECES.map("".join))
def test_every_key_that_a_node_makes_is_known_again(template):
    whole = completed(template, "gzip")
    assert fits(filled(whole, NAMES), whole, KNOWN)

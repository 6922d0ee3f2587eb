"""Which hosts a list of domains covers, by Bacalhau's rule."""

import pytest

from agent.steps.domains import Domains

CASES = [
    (["example.com"], "example.com", True),
    (["example.com"], "EXAMPLE.com.", True),
    (["example.com"], "www.example.com", False),
    (["example.com"], "notexample.com", False),
    (["example.com"], "example.com.evil.org", False),
    ([".example.com"], "example.com", True),
    ([".example.com"], "www.example.com", True),
    ([".example.com"], "a.b.example.com", True),
    ([".example.com"], "notexample.com", False),
    (["*.example.com"], "www.example.com", True),
    (["*.example.com"], "example.org", False),
    (["10.0.0.1"], "10.0.0.1", True),
    (["10.0.0.1"], "10.0.0.2", False),
    ([".0.0.1"], "10.0.0.1", False),
    (["2001:DB8::1"], "2001:db8:0:0::1", True),
    ([], "example.com", False),
    (["example.com"], "", False),
]


@pytest.mark.parametrize(("listed", "host", "covered"), CASES)
def test_a_name_covers_itself_and_a_dot_all_below_it(listed, host, covered):
    assert Domains(listed).cover(host) is covered

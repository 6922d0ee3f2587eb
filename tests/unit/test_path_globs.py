"""The owner's allow-list of local paths."""

import pytest

from agent.inputs.path_globs import AllowedPath
from wire.failures import InvalidRequest


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("/data", ["/data"], ["/data/a", "/dat", "/data2", "/x/data"]),
        ("/data/*", ["/data/a", "/data/.h"], ["/data", "/data/a/b"]),
        ("/data/**", ["/data", "/data/a", "/data/a/b/c"], ["/data2", "/dat", "/x/data/a"]),
        ("/**/logs", ["/logs", "/a/logs", "/a/b/logs"], ["/logs/a", "/alogs"]),
        ("/d/**/f.txt", ["/d/f.txt", "/d/a/b/f.txt"], ["/d/f-txt", "/f.txt"]),
        ("/d/a**b", ["/d/ab", "/d/axb"], ["/d/a/b"]),
        ("/d/?.csv", ["/d/a.csv"], ["/d/ab.csv", "/d//.csv", "/d/.csv"]),
        ("/d/[a-c]1", ["/d/b1"], ["/d/d1", "/d/1"]),
        ("/d/[!a]", ["/d/b"], ["/d/a", "/d//"]),
        ("/d/{x,y*}/f", ["/d/x/f", "/d/yes/f"], ["/d/z/f", "/d/x"]),
        ("/d/a\\*", ["/d/a*"], ["/d/ab"]),
        ("/d/(a|b)+", ["/d/(a|b)+"], ["/d/a", "/d/ab"]),
        ("/", ["/"], ["/a"]),
        ("/**", ["/a", "/a/b"], ["a"]),
    ],
)
def test_a_glob_matches_whole_paths(glob, yes, no):
    allowed = AllowedPath.parse(glob)
    assert [path for path in yes if not allowed.matches(path)] == []
    assert [path for path in no if allowed.matches(path)] == []


def test_the_suffix_says_whether_writing_is_allowed():
    assert AllowedPath.parse("/d/**:rw") == AllowedPath("/d/**", writable=True)
    assert AllowedPath.parse("/d/**:ro") == AllowedPath("/d/**")
    assert AllowedPath.parse("/d/**") == AllowedPath("/d/**")
    assert AllowedPath.parse("/odd:name") == AllowedPath("/odd:name")


@pytest.mark.parametrize("entry", ["data/**:ro", "", ":rw", "**", "/d/[b-a]"])
def test_an_entry_that_cannot_be_meant_is_refused(entry):
    with pytest.raises(InvalidRequest):
        AllowedPath.parse(entry)

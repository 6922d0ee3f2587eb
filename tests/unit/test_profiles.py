"""Profiles: what is kept and how, which hub is asked, and that a secret goes nowhere but to its own hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hub.pki import Pki
from tests.support.hub_stub import JOBS, hub_stub_fixture, tender_fixture
from tui.hub_choice import choose
from tui.profiles import PLACES, SIGNS, Credential, Profiles, config_folder
from wire.failures import Conflict, InvalidRequest, NotFound, TooLarge

FIXTURES = (hub_stub_fixture, tender_fixture)
ROOT = Path(__file__).parents[2]
KEY = Credential(key="s3cret")


@pytest.fixture
def profiles(tmp_path):
    return Profiles(tmp_path / "config")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """Settings of this test alone; what commands do to the environment is undone."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("TENDER_PROFILE", "TENDER_CA", *PLACES, *SIGNS):
        monkeypatch.setenv(name, "")
    return tmp_path / "tender"


def add(profiles, name="plant", url="https://plant.example:1234", **more):
    return profiles.add(name, url, **({"ca": b"", "credential": Credential(), "replace": False} | more))


# --- what is kept ---------------------------------------------------------------------------------


def test_the_first_profile_is_used_and_later_ones_when_they_are_said_to(profiles):
    assert add(profiles)
    assert not add(profiles, "lab")
    assert profiles.known().current == "plant"
    profiles.use("lab")
    assert profiles.known().current == "lab"
    assert list(profiles.known().profiles) == ["plant", "lab"]


def test_secrets_lie_in_a_file_of_their_own_that_nobody_else_can_read(profiles, tmp_path):
    add(profiles, credential=KEY)
    folder = tmp_path / "config"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert "s3cret" in (folder / "credentials.json").read_text()
    assert "s3cret" not in (folder / "profiles.json").read_text()
    assert "s3cret" not in repr(profiles.credential("plant"))
    assert profiles.credential("plant") == KEY


def test_secrets_that_others_can_read_are_not_used(profiles, tmp_path):
    add(profiles, credential=KEY)
    path = tmp_path / "config" / "credentials.json"
    path.chmod(0o644)
    with pytest.raises(InvalidRequest, match="can be read by others") as refused:
        profiles.credential("plant")
    assert refused.value.hint == f"chmod 600 {path}"


def test_a_profile_is_replaced_only_when_that_is_meant(profiles):
    add(profiles, credential=KEY)
    with pytest.raises(Conflict, match="plant already"):
        add(profiles, url="https://elsewhere.example")
    add(profiles, url="https://elsewhere.example", replace=True)
    assert profiles.find("plant").url == "https://elsewhere.example"
    assert profiles.credential("plant") == Credential(), "the old hub's key does not go to the new one"


def test_what_is_removed_is_gone_with_its_secret_and_its_ca(profiles, tmp_path):
    add(profiles, credential=KEY, ca=b"pem")
    add(profiles, "lab")
    assert Path(profiles.find("plant").ca).read_bytes() == b"pem"
    profiles.remove("plant")
    assert profiles.known().current == ""
    assert list(profiles.known().profiles) == ["lab"]
    assert sorted(path.name for path in (tmp_path / "config").iterdir()) == ["credentials.json", "profiles.json"]
    assert "s3cret" not in (tmp_path / "config" / "credentials.json").read_text()


def test_a_profile_without_a_ca_does_not_keep_that_of_the_one_it_replaced(profiles):
    add(profiles, ca=b"pem")
    add(profiles, replace=True)
    assert profiles.find("plant").ca == ""


@pytest.mark.parametrize("name", ["", "Plant", "../x", "a b", "x" * 33, "-x"])
def test_a_name_that_cannot_be_one_is_refused(profiles, name):
    with pytest.raises(InvalidRequest, match="cannot be a profile"):
        add(profiles, name)


def test_a_profile_that_is_not_there_is_named_with_those_that_are(profiles):
    with pytest.raises(NotFound, match="there is none yet"):
        profiles.find("plnat")
    add(profiles)
    for act in (profiles.find, profiles.use, profiles.remove):
        with pytest.raises(NotFound, match="there are plant"):
            act("plnat")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"profiles": 3}', '{"profiles": {"a": {}}}', "\x00"])
def test_a_broken_file_is_refused_by_its_path(profiles, tmp_path, text):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "profiles.json").write_text(text)
    with pytest.raises(InvalidRequest, match=r"profiles\.json cannot be read"):
        profiles.known()


def test_a_huge_file_is_refused(profiles, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "profiles.json").write_text(" " * (1024**2 + 1))
    with pytest.raises(TooLarge):
        profiles.known()


def test_the_folder_is_where_people_keep_their_settings(monkeypatch):
    assert config_folder({"XDG_CONFIG_HOME": "/x"}) == Path("/x/tender")
    monkeypatch.setenv("HOME", "/home/ada")
    assert config_folder({}) == Path("/home/ada/.config/tender")
    assert config_folder({"XDG_CONFIG_HOME": "relative"}) == Path("/home/ada/.config/tender")


# --- which hub is asked ---------------------------------------------------------------------------

ENV_KEY = {"TENDER_API_KEY": "from-env"}
PLANT, LAB, HERE = "https://plant.example:1234", "https://lab.example", "http://127.0.0.1:1234"


@pytest.mark.parametrize(
    ("options", "environment", "url", "key"),
    [
        ({}, {}, PLANT, "s3cret"),
        ({}, {"TENDER_PROFILE": "lab"}, LAB, "labs"),
        ({}, ENV_KEY, PLANT, "from-env"),
        ({}, {"TENDER_URL": "http://box"}, "http://box", ""),
        ({}, {"TENDER_PROFILE": "lab", "TENDER_URL": "http://box"}, "http://box", ""),
        ({}, {"BACALHAU_API_HOST": "old"}, "http://old:1234", ""),
        ({"host": "box"}, {}, "http://box:1234", ""),
        ({"host": "box"}, ENV_KEY, "http://box:1234", "from-env"),
        ({"port": 9}, {"TENDER_PROFILE": "lab"}, "http://127.0.0.1:9", ""),
        ({"profile": "lab"}, {"TENDER_URL": "http://box", **ENV_KEY}, LAB, "labs"),
        ({"profile": "plant"}, {"TENDER_PROFILE": "lab"}, PLANT, "s3cret"),
    ],
)
def test_options_come_before_the_environment_and_that_before_a_profile(profiles, options, environment, url, key):
    add(profiles, credential=KEY)
    add(profiles, "lab", LAB, credential=Credential(key="labs"))
    chosen = choose(environment, profiles, **options)
    assert (chosen.url, chosen.credential.key) == (url, key)


def test_without_any_profile_all_is_as_it_was(profiles):
    assert choose({}, profiles).url == HERE
    with pytest.raises(NotFound):
        choose({"TENDER_PROFILE": "plant"}, profiles)


def test_a_profiles_ca_goes_with_its_hub_and_gives_way_to_an_option(profiles):
    add(profiles, ca=b"pem")
    own = profiles.find("plant").ca
    assert choose({}, profiles).ca == own
    assert choose({"TENDER_CA": "/env.pem"}, profiles).ca == "/env.pem"
    assert choose({"TENDER_CA": "/env.pem"}, profiles, profile="plant").ca == own
    assert choose({}, profiles, profile="plant", ca="/option.pem").ca == "/option.pem"
    assert choose({}, profiles, host="https://other.example").ca == ""


def test_a_profile_and_an_address_at_once_are_refused(profiles):
    add(profiles)
    with pytest.raises(InvalidRequest, match="both given"):
        choose({}, profiles, profile="plant", host="box")


# --- commands -------------------------------------------------------------------------------------


def test_a_profile_is_added_used_listed_and_removed(tender, tmp_path, hub_stub, monkeypatch):
    hub_stub.answer("GET", JOBS, {"Items": [], "NextToken": ""})
    monkeypatch.setenv("TENDER_URL", "")
    (tmp_path / "key").write_text("s3cret\n")
    added = tender("profile", "add", "stub", hub_stub.url, "--key-file", str(tmp_path / "key"))
    assert (added.code, added.err) == (0, "profile stub is kept and used\n")
    assert tender("profile", "add", "lab", "https://lab.example").err.endswith("tender profile use lab\n")
    listed = json.loads(tender("profile", "list", "--output", "json").out)
    assert [(one["Name"], one["SignsIn"], one["InUse"]) for one in listed] == [
        ("lab", "", False),
        ("stub", "key", True),
    ]
    shown = tender("profile", "list").out
    assert "s3cret" not in shown
    assert "*  stub" in shown
    assert tender("job", "list").code == 0
    assert hub_stub.last("GET").headers["authorization"] == "Bearer s3cret"
    assert tender("profile", "use", "lab").code == 0
    before = len(hub_stub.asked)
    assert tender("--profile", "stub", "job", "list").code == 0
    monkeypatch.setenv("TENDER_PROFILE", "")
    assert tender("job", "list", "--profile", "stub").code == 0
    assert len(hub_stub.asked) == before + 2
    assert tender("profile", "remove", "stub").code == 0
    gone = tender("job", "list", "--profile", "stub")
    assert gone.code == 3
    assert gone.err.endswith("hint: tender profile add NAME URL\ncode: NotFound\n")


def test_a_key_may_come_by_standard_input(tender, home, monkeypatch):
    read, write = os.pipe()
    os.write(write, b"s3cret\n")
    os.close(write)
    with os.fdopen(read) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert tender("profile", "add", "plant", "https://plant.example", "--key-file", "-").code == 0
    assert json.loads((home / "credentials.json").read_text()) == {"plant": {"key": "s3cret"}}


def test_a_user_signs_in_by_name_and_password(tender, home, tmp_path):
    (tmp_path / "word").write_text("open sesame")
    words = ("--username", "ada", "--password-file", str(tmp_path / "word"))
    assert tender("profile", "add", "plant", "https://plant.example", *words).code == 0
    assert json.loads((home / "credentials.json").read_text()) == {
        "plant": {"username": "ada", "password": "open sesame"}
    }
    assert "user ada" in tender("profile", "list").out


def test_a_copy_of_the_ca_is_kept(tender, home, tmp_path):
    pki = Pki(tmp_path / "pki")
    assert tender("profile", "add", "plant", "https://plant.example", "--ca", str(pki.ca_path)).code == 0
    assert (home / "plant.pem").read_bytes() == pki.ca_path.read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("plant", "ftp://x"), 2, "is not the address of a hub"),
        (("Plant", "https://x"), 2, "cannot be a profile"),
        (("plant", "https://x", "--key-file", "{tmp}/none"), 1, "No such file"),
        (("plant", "https://x", "--key-file", "{tmp}/empty"), 2, "the key is empty"),
        (("plant", "https://x", "--key-file", "{tmp}/lines"), 2, "not one line"),
        (("plant", "https://x", "--key-file", "{tmp}/huge"), 2, "larger than"),
        (("plant", "https://x", "--ca", "{tmp}/empty"), 2, "holds no certificate"),
        (("plant", "https://x", "--key-file", "-", "--username", "ada"), 2, "both given"),
    ],
)
def test_what_cannot_be_a_profile_is_refused_and_nothing_is_kept(tender, home, tmp_path, words, code, says):
    (tmp_path / "empty").write_text("")
    (tmp_path / "lines").write_text("a\nb")
    (tmp_path / "huge").write_text("x" * 5000)
    ran = tender("profile", "add", *(word.format(tmp=tmp_path) for word in words))
    assert (ran.code, says in ran.err) == (code, True), ran.err
    assert not home.exists()


def test_profile_and_address_are_refused_together_at_the_front_too(tender):
    ran = tender("--profile", "x", "--api-host", "y", "job", "list")
    assert (ran.code, ran.err.splitlines()[0]) == (2, "error: --profile and an address are both given")


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("tender jo", "job"),
        ("tender job li", "list"),
        ("tender profile use pl", "plant"),
        ("tender job list --profile ", "plant"),
    ],
)
def test_the_shell_completes_commands_and_profiles(profiles, home, line, offers):
    add(Profiles(home))
    words = {"_TENDER_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    code = "import sys; sys.argv = ['tender']\nfrom tui.main import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **words}, capture_output=True, text=True, check=False
    )
    assert offers in done.stdout.split(), done.stderr

"""The hub's doctor says of each thing whether it is well and what to do when it is not, and changes nothing."""

import json
import os
import shutil
import socket

import msgspec
import pytest
from typer.testing import CliRunner

from hub.backups.backup import LAST, LastBackup, back_up
from hub.cli import app
from hub.config import HubConfig
from hub.doctor import CHECKS, certificates, clocks, examine
from hub.doctor.subject import Subject
from hub.first_user import add_administrator
from hub.folder import open_folder
from hub.pki import Pki
from wire import clock


@pytest.fixture
def folder(tmp_path):
    """The data folder of a hub that does not run: database, keys and certificates."""
    place = tmp_path / "hub"
    with open_folder(place, ""):
        pki = Pki(place / "pki")
        pki.order_signer()
        pki.server("broker", ())
        pki.client("hub", "hub")
    return place


async def found(folder, policy=None, **settings):
    config = HubConfig(data_dir=folder, **{"api_port": 0, **settings})
    return {finding.name: finding for finding in await examine(Subject(config, policy))}


async def test_every_check_gives_a_verdict_and_every_problem_a_remedy(tmp_path, folder):
    for place in (tmp_path / "nothing", folder):
        findings = (await found(place)).values()
        assert [finding.name for finding in findings] == [name for name, _ in CHECKS]
        for finding in findings:
            assert finding.verdict in {"pass", "warn", "fail"}
            assert finding.message
            assert finding.remedy or finding.verdict == "pass"


async def test_a_hub_that_was_never_backed_up_lacks_only_that(folder):
    verdicts = {name: finding.verdict for name, finding in (await found(folder)).items()}
    assert verdicts.pop("backups") == "warn"
    assert verdicts.pop("broker") in {"pass", "warn"}  # distributions ship old releases with their own patches
    assert set(verdicts.values()) == {"pass"}


async def test_a_look_changes_nothing(tmp_path, folder):
    def all_of():
        return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before = all_of()
    await found(folder)
    assert all_of() == before
    await found(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


async def test_a_folder_that_others_may_read_is_a_failure_only_where_they_reach_a_secret(folder):
    folder.chmod(0o755)
    assert (await found(folder))["data"].verdict == "pass"
    (folder / "pki/ca.key").chmod(0o644)
    told = (await found(folder))["data"]
    assert (told.verdict, "pki/ca.key" in told.message) == ("fail", True)


async def test_a_damaged_database_is_a_failure_that_names_the_way_back(folder):
    database = folder / "hub.db"
    with database.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 4096)
    told = (await found(folder))["database"]
    assert (told.verdict, "hub restore" in told.remedy) == ("fail", True)
    database.write_bytes(b"no database at all" * 100)
    assert (await found(folder))["database"].verdict == "fail"


async def test_a_database_of_a_newer_release_is_a_failure(folder):
    data = bytearray((folder / "hub.db").read_bytes())
    data[60:64] = (99).to_bytes(4, "big")  # where SQLite keeps user_version
    (folder / "hub.db").write_bytes(data)
    told = (await found(folder))["database"]
    assert (told.verdict, "schema 99" in told.message) == ("fail", True)


async def test_a_clock_that_was_never_set_or_is_behind_the_events_is_a_failure(folder, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(clock, "unix", lambda: 86_400.0)
        assert (await found(folder))["clock"].verdict == "fail"
    ahead = int((clock.unix() + 7200) * 1e9)
    with open_folder(folder, "") as database:

        def work(connection):
            connection.execute(
                "INSERT INTO jobs (id, name, namespace, type, state, version, revision, priority, created, modified,"
                " queued_since) VALUES ('j-1', 'n', 'default', 'batch', 'pending', 1, 1, 50, 1, 1, 1)"
            )
            connection.execute(
                "INSERT INTO events (job_id, job_version, topic, message, time) VALUES ('j-1', 1, 't', 'm', ?)",
                (ahead,),
            )

        await database.write(work)
    told = await clocks.check(Subject(HubConfig(data_dir=folder)))
    assert (told.verdict, "behind the newest thing" in told.message) == ("fail", True)


async def test_certificates_are_judged_by_the_days_they_have_left(folder, monkeypatch):
    subject = Subject(HubConfig(data_dir=folder))
    now = clock.unix()
    for days, verdict in ((0, "pass"), (390, "warn"), (400, "fail"), (-3, "fail")):
        monkeypatch.setattr(clock, "unix", lambda days=days: now + days * 86_400)
        assert (await certificates.check(subject)).verdict == verdict, days


async def test_a_lost_or_foreign_ca_key_is_a_failure(tmp_path, folder):
    Pki(tmp_path / "other")
    shutil.copy(tmp_path / "other/ca.key", folder / "pki/ca.key")
    told = (await found(folder))["certificates"]
    assert (told.verdict, "is not the key of" in told.message) == ("fail", True)
    (folder / "pki/ca.key").unlink()
    assert "missing" in (await found(folder))["certificates"].message


async def test_a_hub_that_others_reach_needs_users(folder):
    open_one = {"api_host": "0.0.0.0"}  # noqa: S104
    told = (await found(folder, **open_one))["users"]
    assert (told.verdict, "add-user" in told.remedy) == ("fail", True)
    assert (await found(folder, allow_open=True, **open_one))["users"].verdict == "warn"
    await add_administrator(HubConfig(data_dir=folder), "admin")
    assert (await found(folder, **open_one))["users"].verdict == "pass"


async def test_a_port_that_somebody_else_has_is_named_with_its_process(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = (await found(folder, api_port=port))["ports"]
    assert told.verdict == "fail"
    assert f"(process {os.getpid()})" in told.message
    assert (await found(folder, api_port=port))["ports"].verdict == "pass"


async def test_a_policy_with_a_mistake_is_a_failure_with_its_place(tmp_path, folder):
    policy = tmp_path / "policy.toml"
    policy.write_text("[weights]\nrooom = 1\n")
    told = (await found(folder, policy))["policy"]
    assert (told.verdict, "rooom" in told.message) == ("fail", True)
    policy.write_text("[weights]\nroom = 1\n")
    assert (await found(folder, policy))["policy"].verdict == "pass"


async def test_a_backup_is_known_by_its_age(tmp_path, folder):
    back_up(folder, tmp_path / "monday")
    assert (await found(folder))["backups"].verdict == "pass"
    old = LastBackup(str(tmp_path / "monday"), int(clock.unix()) - 9 * 86_400)
    (folder / LAST).write_bytes(msgspec.json.encode(old))
    told = (await found(folder))["backups"]
    assert (told.verdict, "9.0 days old" in told.message) == ("warn", True)


def test_the_command_prints_one_json_document_and_fails_only_for_failures(tmp_path, folder):
    words = ["doctor", "--data-dir", str(folder), "--api-port", "0"]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert (done.exit_code, [one["name"] for one in json.loads(done.stdout)]) == (0, [name for name, _ in CHECKS])
    (folder / "pki/ca.key").unlink()
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert "→ restore pki/ from your backup" in done.stdout

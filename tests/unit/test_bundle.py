"""A support bundle helps and gives nothing away: secrets are planted everywhere on the machine, and none is in it."""

import asyncio
import base64
import gzip
import json
import os
import tarfile

import pytest
from typer.testing import CliRunner

from agent.cli import app as agent_app
from agent.identity import load_or_make
from agent.store.store import Store
from hub.cli import app as hub_app
from hub.config import HubConfig
from hub.first_user import add_administrator
from hub.folder import open_folder
from hub.pki import Pki
from tests.support.broker import make_csr
from wire.jointoken import JoinToken, render
from wire.operating.bundle import CAP
from wire.operating.redaction import GONE, Scrubber

CANARY = "canary"


def canary(name):
    """A secret that cannot be in a bundle by chance."""
    return f"{CANARY}-{name}-7f3a9c2b41"


def everything(bundle):
    """All text of a bundle, and its members by name."""
    with tarfile.open(bundle) as archive:
        members = {m.name.removeprefix("tender-bundle/"): archive.extractfile(m).read().decode() for m in archive}
    return "\n".join(members.values()), members


def forms(secret):
    raw = secret.encode()
    return {secret, base64.b64encode(raw).decode().rstrip("="), raw.hex()}


def key_lines(path):
    return [line for line in path.read_text().splitlines() if line and not line.startswith("-----")]


def log_with(folder, *secrets):
    file = folder / "service.log"
    lines = [f"12:00 INFO started with {form} in it" for secret in secrets for form in forms(secret)]
    shapes = [
        "GET https://user:hunter22@host/x", "authorization: Bearer abcdef.ghijkl", "password = swordfish99",
        "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI", "PUT https://s3/x?X-Amz-Signature=deadbeefcafe&y=1",
        '{"api_key": "0123456789abcdef"}', "AKIAIOSFODNN7EXAMPLE", "tk_0011223344556677_AbCdEfGhIjKlMnOp",
    ]  # fmt: skip
    file.write_text("\n".join([*lines, *shapes, "12:01 INFO a line that helps", ""]))
    return file


SHAPES = ("hunter22", "abcdef.ghijkl", "swordfish99", "wJalrXUtnFEMI", "deadbeefcafe", "0123456789abcdef",
          "AKIAIOSFODNN7EXAMPLE", "AbCdEfGhIjKlMnOp")  # fmt: skip


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Variables of the process with secrets in them."""
    for name in ("AWS_SECRET_ACCESS_KEY", "TENDER_API_KEY", "DB_PASSWORD"):
        monkeypatch.setenv(name, canary(name))
    return [canary(name) for name in ("AWS_SECRET_ACCESS_KEY", "TENDER_API_KEY", "DB_PASSWORD")]


async def box_with_secrets(tmp_path):
    """An agent's settings and data with a secret in every place that may hold one."""
    data = tmp_path / "data"
    identity = load_or_make(data)
    identity.tls_key.write_bytes(make_csr("n")[1])
    store = Store(data / "agent.db")
    await store.open()
    store.close()
    (data / "secrets").mkdir()
    (data / "secrets/modbus").write_text(canary("job-secret"))
    (tmp_path / "s3").write_text(
        f"[default]\naws_access_key_id = {canary('id')}\naws_secret_access_key={canary('s3')}\n"
    )
    (tmp_path / "agent.toml").write_text(
        f'data_dir = "{data}"\n[labels]\nhall = "a"\n[hub]\njoin_token = "{token("text")}"\n'
        f'[publishers]\ns3_credentials_file = "{tmp_path}/s3"\n'
        f'[[bidding.hooks]]\nname = "one"\nexec = ["/bin/true", "--key", "{canary("argv")}"]\n'
        f'[[bidding.hooks]]\nname = "two"\nhttp = "https://policy.example/x?t={canary("url")}"\n'
        f'[podman]\nsocket = "{tmp_path}/none"\n'
    )
    seed = json.loads((data / "identity/node.json").read_text())["seed"]
    names = ("job-secret", "id", "s3", "argv", "url")
    return [*(canary(name) for name in names), token("text"), seed, *key_lines(identity.tls_key)]


def token(name):
    return render(JoinToken(url="http://127.0.0.1:1", ca_sha256="0" * 64, secret=(canary(name) + "x" * 43)[:43]))


def test_the_bundle_of_a_box_holds_what_helps_and_no_secret(tmp_path, planted):
    secrets = [*planted, *asyncio.run(box_with_secrets(tmp_path))]
    log = log_with(tmp_path, *secrets)
    words = [
        "doctor",
        "--config",
        str(tmp_path / "agent.toml"),
        "--bundle",
        str(tmp_path / "b.tar.gz"),
        "--log",
        str(log),
    ]
    done = CliRunner().invoke(agent_app, words)
    assert (tmp_path / "b.tar.gz").exists(), done.output
    text, members = everything(tmp_path / "b.tar.gz")
    told = [form for secret in (*secrets, *SHAPES) for form in forms(secret) if form in text]
    assert told == []
    assert CANARY not in text
    assert "a line that helps" in members["log.txt"]
    assert json.loads(members["settings.json"])["labels"] == {"hall": "a"}
    assert json.loads(members["counts.json"])["rows"]["outbox"] == 0
    assert json.loads(members["versions.json"])["tender"]
    assert json.loads(members["doctor.json"])[0]["name"] == "python"


async def hub_with_secrets(folder):
    """A hub's folder with keys, users and a job; the secrets in it."""
    with open_folder(folder, ""):
        pki = Pki(folder / "pki")
        pki.order_signer()
        pki.server("broker", ())
    key = await add_administrator(HubConfig(data_dir=folder), "admin")
    spec = json.dumps({"Tasks": [{"Env": {"DB": canary("job-env")}}]}).encode()
    with open_folder(folder, "") as database:

        def work(connection):
            connection.execute(
                "INSERT INTO jobs (id, name, namespace, type, state, version, revision, priority, created, modified,"
                " queued_since) VALUES ('j-1', 'n', 'default', 'batch', 'running', 1, 1, 50, 1, 1, 1)"
            )
            connection.execute("INSERT INTO job_versions VALUES ('j-1', 1, 'default', 1, ?, 'w', 1)", (spec,))
            connection.execute("UPDATE users SET password = ?", (f"$argon2id$v=19${canary('password')}",))
            return connection.execute("SELECT hash FROM api_keys").fetchone()[0]

        hashed = await database.write(work)
    keys = [line for name in ("ca.key", "broker.pem") for line in key_lines(folder / "pki" / name)]
    # The hub knows only hashes of API keys; those themselves have a shape that is known.
    return [hashed, f"$argon2id$v=19${canary('password')}", *keys, (folder / "pki/order.key").read_bytes().hex()], [
        key,
        canary("job-env"),
    ]


def test_the_bundle_of_a_hub_holds_what_helps_and_no_secret(tmp_path, planted):
    known, [key, in_a_job] = asyncio.run(hub_with_secrets(tmp_path / "hub"))
    log = log_with(tmp_path, *planted, *known)
    with log.open("a") as file:
        file.write(f"12:02 INFO {key} came by\n")
    target = tmp_path / "b.tar.gz"
    words = [
        "doctor",
        "--data-dir",
        str(tmp_path / "hub"),
        "--api-port",
        "0",
        "--bundle",
        str(target),
        "--log",
        str(log),
    ]
    done = CliRunner().invoke(hub_app, words)
    assert done.exit_code == 0, done.output
    text, members = everything(target)
    assert [form for secret in (*planted, *known, *SHAPES) for form in forms(secret) if form in text] == []
    assert not any(secret in text for secret in (CANARY, key, in_a_job))
    assert "a line that helps" in members["log.txt"]
    assert json.loads(members["settings.json"])["keep"]["tokens"] == 604_800
    counts = json.loads(members["counts.json"])
    assert (counts["schema"], counts["jobs"]) == (1, {"running": 1})
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_bundle_stays_small_and_keeps_the_end_of_a_log(tmp_path):
    log = tmp_path / "long.log"
    line = "x" * 99 + "\n"
    with log.open("w") as file:
        for _ in range(200_000):
            file.write(line)
        file.write("the last line\n")
    words = ["doctor", "--data-dir", str(tmp_path), "--api-port", "0", "--bundle", str(tmp_path / "b.tar.gz")]
    CliRunner().invoke(hub_app, [*words, *["--log", str(log)] * 9])
    raw = gzip.decompress((tmp_path / "b.tar.gz").read_bytes())
    assert len(raw) < CAP + 64 * 1024
    assert "the last line" in everything(tmp_path / "b.tar.gz")[1]["log.txt"]


def test_a_bundle_replaces_nothing(tmp_path):
    there = tmp_path / "b.tar.gz"
    there.write_text("mine")
    words = ["doctor", "--data-dir", str(tmp_path), "--api-port", "0", "--bundle", str(there)]
    assert CliRunner().invoke(hub_app, words).exit_code == 1
    assert there.read_text() == "mine"


def test_the_longest_secret_goes_first_and_short_words_stay():
    scrub = Scrubber(["swordfish", "swordfish-and-more", "ok"])
    assert scrub("swordfish-and-more ok") == f"{GONE} ok"
    assert os.linesep in scrub("one" + os.linesep + "two")

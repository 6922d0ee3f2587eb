"""Sending a sealed result to S3: one archive, or every file below a prefix with the manifest last."""

import hashlib
import os
from pathlib import Path

import msgspec

from agent.files.transfer_orders import S3Put
from agent.workers.guard import guarded
from agent.workers.pack import damaged, open_listed, pack
from agent.workers.progress import Meter
from agent.workers.s3_client import make_client, our_reasons
from agent.workers.s3_clock import follow_server
from agent.workers.s3_objects import Objects, Source
from wire.addresses import AddressPolicy
from wire.files import manifest
from wire.files.manifest import File, Manifest

CHUNK = 1024 * 1024


def upload(order: S3Put, meter: Meter) -> dict[str, str]:
    """Carry out the order; returns `sha256` and `size` of what a client will download, and the manifest's identity."""
    listed = manifest.load(Path(order.results))
    Path(order.work).mkdir(parents=True, exist_ok=True)
    with guarded(AddressPolicy(order.allow)), our_reasons(order):
        client = make_client(order)
        follow_server(client)
        objects = Objects(client, order, meter)
        sent = (
            _plain(objects, order, listed, meter) if order.encoding == "plain" else _gzip(objects, order, listed, meter)
        )
    return sent | {"manifest": listed.identity}


def _gzip(objects: Objects, order: S3Put, listed: Manifest, meter: Meter) -> dict[str, str]:
    """The archive stays beside the state until it is there, so that a cut upload need not pack again."""
    archive = Path(order.work) / f"{listed.identity}.tar.gz"
    known = _sent_before(archive)
    if known and objects.there(order.key, int(known["size"]), known["sha256"]):
        archive.unlink(missing_ok=True)
        return known
    if not archive.is_file():
        pack(Path(order.results), listed, archive, meter, order.manifest_name)
    with archive.open("rb") as source:
        fd = source.fileno()
        size, sha256 = os.fstat(fd).st_size, _digest(fd, meter)
        objects.put(order.key, Source(fd, size, sha256))
    sent = {"sha256": sha256, "size": str(size)}
    _note(archive).write_bytes(msgspec.json.encode(sent))
    archive.unlink()
    return sent


def _note(archive: Path) -> Path:
    return archive.with_suffix(".json")


def _sent_before(archive: Path) -> dict[str, str] | None:
    """Size and sha256 of the archive that went up already; only a hint, the server is asked all the same."""
    try:
        known = msgspec.json.decode(_note(archive).read_bytes(), type=dict[str, str])
        int(known["size"])
    except (FileNotFoundError, msgspec.DecodeError, KeyError, ValueError):
        return None
    return known if "sha256" in known else None


def _plain(objects: Objects, order: S3Put, listed: Manifest, meter: Meter) -> dict[str, str]:
    results = Path(order.results)
    own = manifest.encode(listed)
    last = File(manifest.FILE_NAME, len(own), hashlib.sha256(own).hexdigest())
    for file in (*listed.files, last):
        fd = open_listed(results, file)
        try:
            if _digest(fd, meter) != file.sha256:
                raise damaged(file.path)
            objects.put(order.key + file.path, Source(fd, file.size, file.sha256))
        finally:
            os.close(fd)
    return {"sha256": last.sha256, "size": str(listed.size)}


def _digest(fd: int, meter: Meter) -> str:
    digest = hashlib.sha256()
    at = 0
    while data := os.pread(fd, CHUNK, at):
        digest.update(data)
        at += len(data)
        meter.add(len(data))
    return digest.hexdigest()

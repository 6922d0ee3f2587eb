"""Brings a job's results into a local folder: download, unpack, verify, and only then move into place."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tui.client import JOBS, HubClient
from tui.unpack import BadArchive, unpack
from wire.failures import Conflict, ExecutionFailed, InvalidRequest, NotFound, TenderError, TooLarge, Unavailable
from wire.files import manifest as manifests

MOST_DOWNLOAD = 64 * 1024**3
MERGED = ("stdout", "stderr", "exitCode")
Progress = Callable[[int, int], None]
"""Called with the bytes that came and the bytes that are expected (0 when unknown)."""


@dataclass(frozen=True)
class Fetched:
    """What came: the folder, its files, how many were checked by hash, and results that lie elsewhere."""

    folder: Path
    files: list[str]
    verified: int
    elsewhere: list[dict[str, Any]]


def fetch(client: HubClient, job: str, folder: Path, *, overwrite: bool, raw: bool, progress: Progress) -> Fetched:
    """Bring all results of a job into `folder`. Raises Conflict rather than touch what exists, unless told to."""
    if (folder.exists() or folder.is_symlink()) and not overwrite:
        raise Conflict(f"{folder} exists already", hint="give another place with --output-dir, or say --overwrite")
    items: list[dict[str, Any]] = client.get(f"{JOBS}/{job}/results").get("Items") or []
    urls = [url for item in items if (url := download_url(item))]
    elsewhere = [item for item in items if not download_url(item)]
    if not items:
        raise NotFound(
            f"{job} has no results",
            hint="only completed executions of jobs with a publisher have; see tender job describe",
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        room = tempfile.TemporaryDirectory(prefix=".tender-get-", dir=folder.parent)
    except OSError as failed:
        raise InvalidRequest(f"cannot write to {folder.parent}: {failed.strerror}") from None
    with room as name:
        work = Path(name)
        whole = work / "whole"
        whole.mkdir()
        verified, files = 0, []
        for number, url in enumerate(urls):
            part = work / str(number)
            verified += _fetch_one(client, url, part, progress)
            files += _keep_apart(part, whole, url) if raw else merge(part, whole, alone=len(urls) == 1)
        if urls:
            _place(whole, folder, overwrite=overwrite)
    return Fetched(folder, sorted(set(files)), verified, elsewhere)


def download_url(item: dict[str, Any]) -> str:
    """Where a result can be fetched from by plain HTTP; empty when it cannot."""
    params = item.get("Params") or {}
    kind = str(item.get("Type", "")).lower()
    url = params.get("URL") if kind == "urldownload" else params.get("PreSignedURL") if kind == "s3presigned" else ""
    if not isinstance(url, str) or not url:
        return ""
    if urlsplit(url).scheme not in {"http", "https"}:
        raise BadArchive(f"the hub names a result at {url[:100]!r}, which is no web address")
    return url


def _fetch_one(client: HubClient, url: str, into: Path, progress: Progress) -> int:
    archive = into.with_suffix(".tar.gz")
    came = 0
    with archive.open("wb") as file:
        for piece, total in client.download(url):
            came += len(piece)
            if came > MOST_DOWNLOAD:
                raise TooLarge(f"the result is over {MOST_DOWNLOAD} bytes")
            file.write(piece)
            progress(came, total)
    if came == 0:
        raise Unavailable("the result came empty", hint="try again")
    into.mkdir()
    unpack(archive, into)
    archive.unlink()
    for path in into.iterdir():
        if manifests.is_archive_name(path.name):
            path.replace(into / manifests.FILE_NAME)
    return verify(into)


def verify(folder: Path) -> int:
    """Check every file against the manifest inside; returns how many were, 0 without a manifest."""
    if not (folder / manifests.FILE_NAME).is_file():
        return 0
    try:
        manifest = manifests.load(folder)
        manifests.verify(folder, manifest)
    except ExecutionFailed as fault:
        raise BadArchive(f"the result is damaged: {fault.message}", hint="download it again") from None
    return len(manifest.files)


def merge(part: Path, whole: Path, *, alone: bool) -> list[str]:
    """Move one execution's files into the whole; stdout, stderr and exitCode of several are appended."""
    moved: list[str] = []
    for path in sorted(part.rglob("*")):
        name = str(path.relative_to(part))
        target = whole / name
        if path.is_dir():
            target.mkdir(exist_ok=True)
        elif not alone and name == manifests.FILE_NAME:
            continue  # it speaks of one execution only
        elif target.exists():
            if name not in MERGED:
                raise Conflict(
                    f"two executions both wrote {name}", hint="get each alone: tender job get --raw keeps them apart"
                )
            with target.open("ab") as out, path.open("rb") as more:
                shutil.copyfileobj(more, out)
        else:
            path.rename(target)
            moved.append(name)
    return moved


def _keep_apart(part: Path, whole: Path, url: str) -> list[str]:
    """Give one execution a folder of its own, called like its archive."""
    last = urlsplit(url).path.rpartition("/")[2].removesuffix(".tar.gz")
    name = last if last.replace("-", "").isalnum() else f"execution-{part.name}"
    part.rename(whole / name)
    return [str(path.relative_to(whole)) for path in sorted((whole / name).rglob("*")) if path.is_file()]


def _place(whole: Path, folder: Path, *, overwrite: bool) -> None:
    """Move the finished folder to its name, so that nobody ever sees half of it."""
    if overwrite and folder.exists():
        aside = whole.with_name("replaced")
        folder.rename(aside)
    try:
        whole.rename(folder)
    except OSError as failed:
        raise TenderError(f"cannot write {folder}: {failed.strerror}") from None

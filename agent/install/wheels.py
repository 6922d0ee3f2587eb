"""The wheels of a release: each is copied and compared with its hash before anything of it runs."""

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from wire.failures import InvalidRequest, NotFound, TooLarge

SUMS = "SHA256SUMS"
MOST_WHEELS, MOST_BYTES = 500, 1024**3
SUMS_CAP = 256 * 1024
_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S+)", re.ASCII)
_OURS = re.compile(r"tender-([0-9A-Za-z.+!_]{1,64})-(?:\d[^-]*-)?[^-]+-[^-]+-[^-]+\.whl", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Source:
    """What the owner gave: a wheel of ours or a folder of wheels; where its dependencies lie, or a lock for them.

    `sha256` is the hash of the wheel, for which otherwise a SHA256SUMS beside it stands.
    """

    path: Path
    find_links: Path | None = None
    requirements: Path | None = None
    sha256: str = ""


@dataclass(frozen=True)
class Staged:
    """Checked copies in `folder`; `version` is what is about to be installed, `wheel` its file."""

    folder: Path
    version: str
    wheel: Path
    sums: dict[str, str]


def stage(source: Source, folder: Path) -> Staged:
    """Copy what is to be installed into `folder`, every file as its hash says. Raises InvalidRequest and NotFound."""
    expected = _expected(source)
    sizes = {path: path.stat().st_size for path in expected}
    if len(sizes) > MOST_WHEELS or sum(sizes.values()) > MOST_BYTES:
        raise TooLarge(f"{len(sizes)} wheels with {sum(sizes.values())} bytes; {MOST_WHEELS} and 1 GiB are the most")
    folder.mkdir(parents=True, mode=0o700)
    for path, wanted in expected.items():
        copy = folder / path.name
        shutil.copyfile(path, copy)
        # The copy is compared, and the copy is installed: what happens to the original no longer matters.
        with copy.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != wanted:
                raise InvalidRequest(f"{path} is not what its hash says", hint="copy the release again")
    ours = [path.name for path in expected if _OURS.fullmatch(path.name)]
    if len(ours) != 1:
        found = ", ".join(ours) or "none"
        raise InvalidRequest(f"one wheel of tender is needed, there is {found}", hint="name the wheel itself")
    version = _OURS.fullmatch(ours[0])
    assert version is not None  # noqa: S101  it matched a line above
    return Staged(folder, version[1], folder / ours[0], {path.name: sha for path, sha in expected.items()})


def _expected(source: Source) -> dict[Path, str]:
    """Each file that is needed with its hash."""
    if source.path.is_dir():
        return _listed(source.path)
    if not source.path.is_file() or not _OURS.fullmatch(source.path.name):
        raise NotFound(f"{source.path} is no wheel of tender and no folder of wheels", hint="tender-VERSION-….whl")
    if source.sha256 and not _SHA256.fullmatch(source.sha256):
        raise InvalidRequest(f"--sha256 {source.sha256[:80]!r} is no hash", hint="64 digits, as sha256sum prints them")
    own = source.sha256 or _sums(source.path.parent).get(source.path.name, "")
    if not own:
        raise InvalidRequest(f"no hash of {source.path.name} is known", hint=f"give --sha256, or {SUMS} beside it")
    others = _listed(source.find_links) if source.find_links else {}
    return {path: sha for path, sha in others.items() if not _OURS.fullmatch(path.name)} | {source.path: own}


def _listed(folder: Path) -> dict[Path, str]:
    """All wheels of a folder. One without a hash is refused: pip might take it."""
    sums = _sums(folder)
    wheels = sorted(folder.glob("*.whl"))
    unknown = [path.name for path in wheels if path.name not in sums]
    if unknown or not wheels:
        what = f"{SUMS} has no hash of {', '.join(unknown)[:300]}" if unknown else f"there are no wheels in {folder}"
        raise InvalidRequest(what, hint=f"in that folder: sha256sum *.whl > {SUMS}")
    return {path: sums[path.name] for path in wheels}


def _sums(folder: Path) -> dict[str, str]:
    try:
        with (folder / SUMS).open("rb") as file:
            text = file.read(SUMS_CAP).decode("ascii", errors="replace")
    except OSError:
        return {}
    return {found[2]: found[1] for line in text.splitlines() if (found := _LINE.fullmatch(line.strip()))}

"""Real wheels of the project, and stand-ins for what it needs, so that pip installs a release without an index."""

import base64
import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from tests.support.documents import ROOT

PARTS = ("agent", "hub", "tui", "wire", "pyproject.toml", "README.md", "LICENSE")


def wheel_of_tender(
    folder: Path, version: str, change: Callable[[Path], None] = lambda _: None, *, packages: str = ""
) -> Path:
    """Build the project as `version` into `folder`, after `change` had its way with a copy of the source.

    `packages` is where the box sees the Python packages of the tests, if not where they are.
    """
    source = folder / f"source-{version}"
    source.mkdir(parents=True)
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, source)
    project = source / "pyproject.toml"
    project.write_text(re.sub(r'^version = ".*"$', f'version = "{version}"', project.read_text(), flags=re.MULTILINE))
    change(source)
    release = folder / f"release-{version}"
    argv = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(release)]
    subprocess.run([*argv, str(source)], check=True, capture_output=True, timeout=110)
    for wheel in stand_ins(packages or sysconfig.get_path("purelib")):
        write_wheel(release, *wheel)
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(release.glob("*.whl"))]
    (release / "SHA256SUMS").write_text("".join(sums))
    shutil.rmtree(source)
    return release


def stand_ins(packages: str) -> list[tuple[str, str, dict[str, str]]]:
    """Name, version and files for each package that an agent needs. They lead to those that the tests run with."""
    wanted = [text for text in metadata.requires("tender") or [] if "extra" not in text or 'extra == "agent"' in text]
    names = [re.split(r"[^A-Za-z0-9_.-]", text)[0] for text in wanted]
    here = {"stand_in.pth": packages + "\n"}
    return [(name, metadata.version(name), here if name == "msgspec" else {}) for name in names]


def write_wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> None:
    """The smallest wheel that pip takes."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    members = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text.encode())}\n" for path, text in members.items())
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for path, text in {**members, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            wheel.writestr(path, text)


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")

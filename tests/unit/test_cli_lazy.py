"""The root command costs little, and says what to install when a part is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from tui.lazy import PARTS

ROOT = Path(__file__).parents[2]


def run(code, *words):
    script = f"import sys; sys.argv = {['tender', *words]!r}\n{code}"
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_imports_no_part():
    code = """
import atexit
heavy = {"httpx", "yaml", "litestar", "podman", "wasmtime", "boto3", "cryptography", "pydantic", "aiomqtt", "textual"}
atexit.register(lambda: print("LOADED", sorted(heavy & set(sys.modules))))
from tui.main import main
main()
"""
    done = run(code, "--help")
    assert done.returncode == 0, done.stderr
    assert "LOADED []" in done.stdout


@pytest.mark.parametrize(
    ("package", "words", "extra"),
    [
        ("httpx", ["job", "list"], "tender[tui]"),
        ("yaml", ["job", "list"], "tender[tui]"),
        ("hub", ["hub", "--help"], "tender[hub]"),
        ("agent", ["agent", "--help"], "tender[agent]"),
        ("litestar", ["hub", "serve"], "tender[hub]"),
        ("litestar", ["devstack"], "tender[hub,agent]"),
        ("httpx", ["agent", "run"], "tender[agent]"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(package, words, extra):
    done = run(f"sys.modules[{package!r}] = None\nfrom tui.main import main\nmain()", *words)
    assert done.returncode == 1
    assert f"needs the package {package}" in done.stderr
    assert extra in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_part_can_be_loaded_and_helps(part):
    done = run("from tui.main import main\nmain()", part.name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: tender " + part.name in done.stdout

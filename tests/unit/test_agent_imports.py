"""What the core process of the agent may import: nothing that costs memory or belongs to a child."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = (
    "boto3",
    "cryptography",
    "httpx",
    "podman",
    "pydantic",
    "requests",
    "rich",
    "sqlite_utils",
    "textual",
    "wasmtime",
    "yaml",
)


def imported_by(module: str) -> set[str]:
    code = f"import sys, {module}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["agent.app", "agent.cli"])
def test_the_core_imports_no_library_that_belongs_to_a_child(module):
    found = imported_by(module)
    assert not [name for name in HEAVY if name in found]


def test_the_core_without_its_command_line_needs_no_typer():
    assert "typer" not in imported_by("agent.app")


def test_no_worker_is_imported_by_the_core():
    assert not [name for name in imported_by("agent.app") if name.startswith("agent.workers.")]

"""What several scenarios begin with."""

import signal

import pytest

from tests.support.fleet import Fleet
from tests.support.scenario import Gate, Notebook, settings


@pytest.fixture(autouse=True)
def heeded():
    """Ctrl-C is heeded by what a test starts, also where the tests run in a background that ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def notebook(fleet, tmp_path):
    """A folder of the test's own that the nodes of a fleet may mount, also when many tests share the fleet."""
    return Notebook(fleet.hub.folder.parent / tmp_path.name)


@pytest.fixture
def gates(tmp_path):
    return {name: Gate(tmp_path / f"gate-{name}") for name in ("north", "south")}


@pytest.fixture
async def gated(tmp_path, gates):
    """Two nodes whose owners make up their minds when the test says so."""
    async with Fleet(tmp_path, {name: settings(tmp_path, name, gate.toml) for name, gate in gates.items()}) as running:
        yield running

"""What most tests of the hub begin with. A file with other needs has a `bench` of its own."""

import pytest

from tests.support.hub_bench import hub_bench
from tests.support.served import served


@pytest.fixture
async def bench(tmp_path):
    async with hub_bench(tmp_path / "hub") as running:
        yield running


@pytest.fixture
async def url(bench):
    async with served(bench) as where:
        yield where

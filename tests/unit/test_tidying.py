"""What is freed on disk: folders of nobody at start, folders of forgotten executions at once."""

import pytest

from agent.files.tidying import Tidying
from agent.store.records import KeptResult
from agent.store.store import Store
from tests.support.orders import order_of, sealed
from wire.resources import Resources


@pytest.fixture
async def store(tmp_path):
    opened = Store(tmp_path / "agent.db")
    await opened.open()
    yield opened
    opened.close()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "executions"
    for name in ("e-live", "e-kept", "e-nobody"):
        (folder / name / "results").mkdir(parents=True)
        (folder / name / "results" / "stdout").write_text("said")
    return folder


async def keep(store: Store, execution_id: str, until: int) -> None:
    kept = KeptResult(execution_id, "0" * 64, 4, until)
    order = order_of(execution_id)
    taken = await store.executions.accept(order, sealed(order), requested=Resources(), steps={})
    assert taken is not None
    await store.executions.forget([taken], lambda _: kept)


async def test_at_start_only_folders_of_known_executions_and_kept_results_stay(store, root):
    await keep(store, "e-kept", 2**62)
    for name in ("e-live", "e-kept"):
        (root / name / "inputs").mkdir()
    await Tidying(root, store.results).sweep({"e-live": None})
    assert {path.name for path in root.iterdir()} == {"e-live", "e-kept"}
    assert (root / "e-kept" / "results" / "stdout").read_text() == "said"
    assert (root / "e-live" / "inputs").exists()
    assert not (root / "e-kept" / "inputs").exists()


async def test_the_folder_of_executions_is_for_nobody_else(store, tmp_path):
    for _ in range(2):
        await Tidying(tmp_path / "nothing", store.results).sweep([])
        assert (tmp_path / "nothing").stat().st_mode & 0o777 == 0o700
        (tmp_path / "nothing").chmod(0o755)


async def test_a_kept_result_goes_when_its_time_is_over(store, root):
    await keep(store, "e-kept", 1)
    await Tidying(root, store.results).prune()
    assert not (root / "e-kept").exists()
    assert not await store.results.all()


async def test_a_purged_job_takes_its_kept_results_along_and_nothing_else(store, root):
    await keep(store, "e-kept", 2**62)
    await Tidying(root, store.results).purge(["e-kept", "e-live", "e-unknown", "../executions", ""])
    assert {path.name for path in root.iterdir()} == {"e-live", "e-nobody"}
    assert await store.results.all() == []

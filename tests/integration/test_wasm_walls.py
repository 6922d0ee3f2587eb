"""What a WASM program can reach: its inputs to read, its outputs to write, and nothing else."""

from pathlib import Path

import msgspec
import pytest

from agent.executors.base import Mount
from tests.support.wasm_work import WasmBench, wasm_fixture  # noqa: F401
from tests.support.wat import CREATE, READ, WRITE, Program
from wire.resources import Resources

NOENT, NOTCAPABLE, PERM, BADF, ROFS, ACCES = 44, 76, 63, 8, 69, 2
REFUSED = {NOTCAPABLE, PERM, BADF, ROFS, ACCES}


@pytest.fixture(name="folders")
def folders_fixture(wasm: WasmBench) -> tuple[Path, Path]:
    inputs, outputs = wasm.folder / "inputs", wasm.folder / "outputs"
    inputs.mkdir()
    outputs.mkdir()
    (inputs / "data").write_text("data")
    (wasm.folder / "secret").write_text("secret")
    (inputs / "out").symlink_to(wasm.folder / "secret")
    (inputs / "far").symlink_to("/etc")
    return inputs, outputs


async def exit_code(wasm: WasmBench, folders: tuple[Path, Path], program: Program) -> int | None:
    report = await wasm.run(program, inputs={"/inputs": folders[0]}, outputs={"/outputs": folders[1]})
    assert report.reason is None
    return report.exit_code


async def test_an_input_can_be_read(wasm: WasmBench, folders):
    assert await exit_code(wasm, folders, Program().open(3, "data", READ)) == 0


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "/etc/passwd",
        "data/../../secret",
        "out",
        "out/",
        "far/passwd",
        "../inputs/../secret",
        "./../secret",
        "../../../../../../etc/passwd",
    ],
)
@pytest.mark.parametrize("folder", [3, 4], ids=["input", "output"])
async def test_no_path_leads_out_of_a_folder(wasm: WasmBench, folders, path, folder):
    code = await exit_code(wasm, folders, Program().open(folder, path, READ))
    assert code in REFUSED | {NOENT, 54}
    assert code != 0


@pytest.mark.parametrize("path", ["../new", "/tmp/new", "../inputs/new", "../secret"])
async def test_nothing_is_written_outside_the_outputs(wasm: WasmBench, folders, path):
    assert await exit_code(wasm, folders, Program().open(4, path, WRITE, CREATE)) in REFUSED
    assert sorted(entry.name for entry in wasm.folder.iterdir()) == sorted(
        ["e-1.wasm", "executions", "inputs", "modules", "outputs", "secret"]
    )
    assert (wasm.folder / "secret").read_text() == "secret"


@pytest.mark.parametrize("path", ["data", "new", "data/", "new/"])
async def test_inputs_are_read_only(wasm: WasmBench, folders, path):
    assert await exit_code(wasm, folders, Program().open(3, path, WRITE, CREATE)) != 0
    assert (folders[0] / "data").read_text() == "data"
    assert not (folders[0] / "new").exists()


async def test_a_single_mounted_file_is_read_only_too(wasm: WasmBench):
    file = wasm.folder / "table.csv"
    file.write_text("a,b\n")
    report = await wasm.run(Program().open(3, "table.csv", WRITE), inputs={"/data/table.csv": file})
    assert report.exit_code in REFUSED
    assert file.read_text() == "a,b\n"


async def test_a_file_to_read_stays_so_beside_one_to_write(wasm: WasmBench):
    files = [wasm.folder / name for name in ("own", "free")]
    for file in files:
        file.write_text("before")
    program = Program().write(3, "free", "after!").write(3, "own", "after!")
    for names in (("free", "own"), ("own", "free")):
        mounts = [Mount(str(wasm.folder / name), f"/data/{name}", read_only=name == "own") for name in names]
        work = wasm.work(program, f"e-{names[0]}")
        work = msgspec.structs.replace(work, mounts=[*work.mounts, *mounts])
        await wasm.executor.wait(await wasm.executor.start(work))
        assert [file.read_text() for file in files] == ["before", "after!"]
        files[1].write_text("before")


async def test_without_inputs_and_outputs_there_is_no_file_system(wasm: WasmBench):
    report = await wasm.run(Program().open(3, "etc/passwd", READ))
    assert report.exit_code == BADF


async def test_a_link_to_an_absolute_path_cannot_be_made(wasm: WasmBench, folders):
    assert await exit_code(wasm, folders, Program().symlink(4, "/etc/passwd", "link")) != 0


async def test_a_link_that_leads_out_of_an_output_makes_the_output_refused(wasm: WasmBench, folders):
    program = Program().symlink(4, "../secret", "link")
    report = await wasm.run(program, inputs={"/inputs": folders[0]}, outputs={"/outputs": folders[1]})
    if (folders[1] / "link").is_symlink():
        assert report.reason is not None
        assert report.reason.code == "output-refused"
    else:
        assert report.exit_code in REFUSED


async def test_a_link_within_an_output_is_fine(wasm: WasmBench, folders):
    program = Program().write(4, "file", "x").symlink(4, "file", "link")
    assert await exit_code(wasm, folders, program) == 0
    assert (folders[1] / "link").read_text() == "x"


async def test_a_file_over_the_disk_limit_is_cut_and_the_program_goes_on(wasm: WasmBench, folders):
    program = Program().write(4, "large", "x" * 5000).print("went on")
    report = await wasm.run(program, outputs={"/outputs": folders[1]}, inputs={"/i": folders[0]},
                            resources=Resources(disk=4096))  # fmt: skip
    assert (report.exit_code, wasm.printed()) == (0, "went on")
    assert (folders[1] / "large").stat().st_size <= 4096

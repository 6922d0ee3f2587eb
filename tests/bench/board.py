"""`python -m tests.bench.board`: what a board costs and gives, as rows for its page in firmware-notes."""

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.executors.base import Work
from agent.executors.podman import PodmanExecutor
from tests.support.podman import IMAGE, TestPodman
from wire.database import Database
from wire.failures import Reason
from wire.processes.cgroups import hierarchies

Row = tuple[str, str]


def main() -> None:
    print(f"load while measuring: {Path('/proc/loadavg').read_text().split()[0]} on {os.cpu_count()} cores\n")
    print("| what | p50 / p95 / worst |\n| --- | --- |")
    for name, value in rows():
        print(f"| {name} | {value} |", flush=True)


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BOARD_DIR", ".")) as folder:
        yield "fsync after 4 KiB were appended", spread(_fsync(Path(folder)))
        yield "SQLite commit of one row (WAL, FULL), through wire/database.py", spread(_commits(Path(folder)))
    yield "bare Python, start to end", spread(_timed(20, lambda: _python("pass")))
    yield "Python with wasmtime imported, start to end", spread(_timed(20, lambda: _python("import wasmtime")))
    yield "fork and wait, with wasmtime imported", spread(_forks())
    yield "an orphan's end to its reaping by process 1", spread([_orphan() for _ in range(10)])
    yield "control groups", hierarchies().version
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield "open files, soft and hard limit", f"{soft} and {hard}"
    with podman() as parts:
        yield from asyncio.run(_containers(parts))


def spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    pick = (ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)], ordered[-1])
    return " / ".join(f"{value * 1000:.2f}" for value in pick) + " ms"


def _timed(count: int, work: Callable[[], object]) -> list[float]:
    taken: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return taken


def _fsync(folder: Path) -> list[float]:
    with (folder / "file").open("wb", buffering=0) as file:

        def append() -> None:
            file.write(b"x" * 4096)
            os.fsync(file.fileno())

        return _timed(500, append)


def _commits(folder: Path) -> list[float]:
    async def measure() -> list[float]:
        database = Database(folder / "db")
        database.open()
        await database.write(lambda connection: connection.execute("CREATE TABLE t (a, b)") and None)
        taken: list[float] = []
        for number in range(1000):
            row = (number, b"z" * 400)
            began = time.perf_counter()
            await database.write(lambda c, row=row: c.execute("INSERT INTO t VALUES (?, ?)", row) and None)
            taken.append(time.perf_counter() - began)
        database.close()
        return taken

    return asyncio.run(measure())


def _python(line: str) -> None:
    subprocess.run([sys.executable, "-c", line], check=True)


def _forks() -> list[float]:
    """In a child: this process has threads by now."""
    line = (
        "import os, time, wasmtime\n"
        "engine = wasmtime.Engine()\n"
        "for _ in range(200):\n"
        "    began = time.perf_counter(); pid = os.fork()\n"
        "    if not pid: os._exit(0)\n"
        "    os.waitpid(pid, 0); print(time.perf_counter() - began)\n"
    )
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def _orphan() -> float:
    """How long a process whose parent left first is still to be seen in /proc after its end."""
    line = "import os\npid = os.fork()\nif pid: print(pid, flush=True); os._exit(0)\nos.close(1); os.read(0, 1)"
    with subprocess.Popen([sys.executable, "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        child.wait()
        child.stdin.close()
    began = time.perf_counter()
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.001)
    return time.perf_counter() - began


class podman:  # noqa: N801  reads as the thing it opens
    """A private Podman service with one tiny image."""

    def __enter__(self) -> TestPodman:
        self._parts = TestPodman()
        self._parts.start()
        self._parts.load_image()
        return self._parts

    def __exit__(self, *_: object) -> None:
        self._parts.close()


async def _containers(parts: TestPodman) -> list[Row]:
    """Containers as the agent starts them; the driver child is warm after the first."""
    started: list[float] = []
    ended: list[float] = []
    executor = PodmanExecutor(parts.socket, node="board", grace=1)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(11):
            work = Work(
                execution_id=f"e-{number}",
                job_id="j",
                folder=f"{folder}/{number}",
                engine="podman",
                params={"Image": IMAGE, "Parameters": ["sh", "-c", "exec sleep 60"]},
            )
            Path(work.folder).mkdir()
            began = time.perf_counter()
            handle = await executor.start(work)
            started.append(time.perf_counter() - began)
            began = time.perf_counter()
            await executor.stop(handle, 0.0, Reason("cancelled", "measured"))
            await executor.wait(handle)
            await executor.remove(handle)
            ended.append(time.perf_counter() - began)
        await executor.close()
    return [
        ("Podman, the first container (its driver child starts too)", spread(started[:1])),
        ("Podman, order to running", spread(started[1:])),
        ("Podman, stop, report and remove", spread(ended[1:])),
    ]


if __name__ == "__main__":
    main()

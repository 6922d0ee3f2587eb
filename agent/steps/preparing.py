"""What comes before the start: blobs, inputs, ports and environment, until a piece of work is complete."""

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from agent.executors.base import Mount, Work
from agent.files.blobs import Blobs
from agent.files.disk_faults import disk_work
from agent.plugins import Plugins
from agent.steps import networks, variables, work
from agent.steps.allotting import Allotting
from agent.store.records import Execution
from wire.failures import ExecutionFailed, Reason
from wire.files.tree import bad_name, shown
from wire.jobs.job import InputSource, Secret


@runtime_checkable
class WantsBlob(Protocol):
    """An input source that needs a blob to lie in the cache before it can fetch."""

    def wanted_blob(self, params: dict[str, object]) -> str | None: ...


class Preparation:
    """Makes work of orders. `secrets` is the folder in which the owner keeps what jobs may refer to."""

    def __init__(
        self,
        *,
        node_id: str,
        plugins: Plugins,
        blobs: Blobs,
        allotting: Allotting,
        secrets: Path,
        env_allow: Sequence[str],
        allow_unenforced: bool,
        reject_networked: bool,
    ) -> None:
        self._node_id, self._plugins, self._blobs, self._allotting = node_id, plugins, blobs, allotting
        self._secrets, self._env_allow, self._allow_unenforced = secrets, env_allow, allow_unenforced
        self._reject_networked = reject_networked

    async def work(self, execution: Execution, folder: Path) -> Work:
        """Everything that the executor needs, brought to this box. Raises ExecutionFailed."""
        task = execution.job.task
        for path in task.result_paths:
            if why := bad_name(path.name):
                message = f"the result {shown(path.name)} {why}"
                raise ExecutionFailed(Reason("bad-params", message, "use letters, digits and _ . -", retryable=False))
        env = variables.filled_in(task.env, self._env_allow, os.environ)
        mounts = [self._secret(secret) for secret in task.secrets]
        results = folder / work.RESULTS
        with disk_work("making the execution's folder"):
            for made in (folder, results, *(results / path.name for path in task.result_paths)):
                made.mkdir(exist_ok=True)
        for number, source in enumerate(task.input_sources):
            mounts.append(await self._bring(source, folder / f"input-{number}"))
        network = networks.network_of(task, rejected=self._reject_networked)
        allotted = await self._allotting.give(execution.id, task, bridged=network == "bridge")
        return work.work_of(
            execution,
            node_id=self._node_id,
            folder=folder,
            network=network,
            mounts=mounts,
            ports=allotted.ports,
            devices=allotted.devices,
            env=env,
            allow_unenforced=self._allow_unenforced,
        )

    def done_with(self, execution_id: str) -> None:
        """The work has ended: its ports and GPUs are others' now."""
        self._allotting.take_back(execution_id)

    async def _bring(self, wanted: InputSource, into: Path) -> Mount:
        source = self._plugins.source(wanted.source.type)
        if isinstance(source, WantsBlob):
            sha256 = source.wanted_blob(wanted.source.params)
            if sha256 is not None:
                await self._blobs.bring(sha256)
        if _is_there(into):
            await asyncio.to_thread(_remove, into)
        fetched = await source.fetch(wanted.source.params, into)
        return Mount(fetched.path, wanted.target, fetched.read_only)

    def _secret(self, secret: Secret) -> Mount:
        path = self._secrets / (secret.ref or secret.name)
        inside = self._secrets.resolve() in path.resolve().parents
        if not inside or not path.is_file():
            message = f"this node has no secret {secret.ref or secret.name}"
            hint = f"its owner puts it in {self._secrets}"
            raise ExecutionFailed(Reason("secret", message, hint, retryable=False))
        return Mount(str(path.resolve()), secret.target)


def _is_there(folder: Path) -> bool:
    """Whether a crash has left something; it may be a lot."""
    return folder.exists()


def _remove(folder: Path) -> None:
    with disk_work("removing an input that was not whole"):
        shutil.rmtree(folder)

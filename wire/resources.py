"""Amounts of CPU, memory, disk and GPU: how they are written, compared and added."""

import msgspec

AMOUNTS = ("cpu", "memory", "disk", "gpu")
"""The names of the resources; also codes of the reasons for which there is not enough of one."""
BUSY = "busy"
"""Code of reasons that go away by themselves when work on the node ends."""


class Resources(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An amount of each resource. `cpu` in cores, `memory` and `disk` in bytes, `gpu` in devices."""

    cpu: float = 0.0
    memory: int = 0
    disk: int = 0
    gpu: int = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(
            round(self.cpu + other.cpu, 6), self.memory + other.memory, self.disk + other.disk, self.gpu + other.gpu
        )

    def __sub__(self, other: "Resources") -> "Resources":
        return Resources(
            round(self.cpu - other.cpu, 6), self.memory - other.memory, self.disk - other.disk, self.gpu - other.gpu
        )

    def plain(self) -> dict[str, float | int]:
        """All four by name, also where they are zero: a script should not need a default."""
        return {name: getattr(self, name) for name in AMOUNTS}

    def lacking(self, room: "Resources") -> list[str]:
        """Names of the resources of which `room` has less than this amount; empty when all fit."""
        return [name for name in AMOUNTS if getattr(self, name) > getattr(room, name) + 1e-9]

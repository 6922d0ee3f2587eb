"""Facts about control groups: which version this box has, and which controllers can hold work to its limits."""

from pathlib import Path

from msgspec import Struct

from wire.processes import cgroups


class CgroupFacts(Struct, frozen=True):
    """`version` is 1, 2, hybrid or none."""

    version: str
    controllers: tuple[str, ...] = ()


def look() -> CgroupFacts:
    return facts_of(cgroups.hierarchies())


def facts_of(here: cgroups.Hierarchies) -> CgroupFacts:
    unified = cgroups.read_small(Path(here.unified, "cgroup.controllers")).split() if here.unified else []
    legacy = [name for name, _ in here.legacy if not name.startswith("name=")]
    return CgroupFacts(here.version, tuple(sorted({*unified, *legacy})))

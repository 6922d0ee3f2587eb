"""Where the simulation takes the place of the world: clock, link, disk, chance, and what a box is."""

import contextlib
import os
import random
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import agent.capabilities.cgroup as cgroups
import agent.capabilities.gpu as gpus
import agent.capabilities.host as hosts
import agent.executors.fake
import agent.offers
import agent.runner
import agent.session
import agent.store.executions
import agent.store.store
import hub.jobs.ids
import wire.clock
import wire.link
import wire.signing
from tests.fault.sim.disk import SimDatabase
from tests.fault.sim.executor import RecordedExecutor
from tests.fault.sim.files import Synced
from tests.fault.sim.keys import SimSigningKey, SimVerifyKey
from tests.fault.sim.loop import PROCESS, Clock, VirtualLoop
from tests.fault.sim.session import SimSession

HOST = hosts.HostFacts(
    cpu=4.0, memory=4 * 10**9, disk=40 * 10**9, arch="amd64", system="linux", kernel="6", hostname="box"
)

REAL_KEYS = 10
"""One seed in so many signs as the product does; that takes most of the time of a message."""


def _boot_id() -> str:
    process = PROCESS.get()
    assert process is not None
    return process.boot


async def _no_gpus() -> list[Any]:
    return []


@contextlib.contextmanager
def installed(loop: VirtualLoop, seed: int, synced: Synced) -> Generator[None]:
    """While this lasts the product's parts run in virtual time on modelled boxes; chance is drawn from the seed."""
    chance, state = random.Random(f"urandom {seed}"), random.getstate()
    groups = cgroups.look()
    clock = Clock(loop)
    seams: list[tuple[Any, str, Any]] = [
        (wire.clock, "time", clock),
        (wire.clock, "_reader", clock.even_ns),
        (wire.link, "Session", SimSession),
        (agent.store.store, "Database", SimDatabase),
        (agent.session, "tls", lambda *_: SimpleNamespace(verify_flags=0)),
        (agent.offers, "FakeExecutor", RecordedExecutor),
        (agent.events, "boot_id", _boot_id),
        (agent.runner, "boot_id", _boot_id),
        (agent.store.executions, "boot_id", _boot_id),
        (agent.executors.fake, "boot_id", _boot_id),
        (hosts, "look", lambda _folder: HOST),
        (gpus, "look", _no_gpus),
        (cgroups, "look", lambda: groups),
        (os, "urandom", chance.randbytes),
        (hub.jobs.ids, "_last", 0),
        (os, "fsync", synced.fsync),
        (os, "posix_fallocate", lambda *_: None),
    ]
    if seed % REAL_KEYS:
        seams += [(wire.signing, "SigningKey", SimSigningKey), (wire.signing, "VerifyKey", SimVerifyKey)]
    before = [(place, name, getattr(place, name)) for place, name, _ in seams]
    for place, name, stand_in in seams:
        setattr(place, name, stand_in)
    random.seed(seed)
    try:
        yield
    finally:
        for place, name, real in before:
            setattr(place, name, real)
        random.setstate(state)

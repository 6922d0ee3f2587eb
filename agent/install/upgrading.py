"""From one release to another: build beside, try, then switch; a power cut at any step boots one whole slot."""

import contextlib
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from agent.install import box, journal, rescue, slots, trial
from agent.install.journal import Entry
from agent.install.layout import PODMAN, UNIT, Layout
from wire.failures import Conflict, TenderError, Unavailable
from wire.files.only_one import only_one
from wire.operating.systemd import Systemctl

Build = Callable[[Layout, str], str]
"""Fills a slot; returns its version."""
READY_WITHIN = 120.0


@dataclass
class Upgrade:
    """One upgrade or first installation. `say` hears each step in words, `at` its name before it begins.

    Only the step `switch` changes what a box boots; everything before it can be thrown away.
    """

    layout: Layout
    build: Build
    systemctl: Systemctl
    say: Callable[[str], None]
    patience: float = READY_WITHIN
    at: Callable[[str], None] = field(default=lambda _: None)

    def install(self, *, start: bool) -> str:
        """The first slot, unit, user and folders. Raises Conflict when something is installed."""
        self.layout.home.mkdir(parents=True, exist_ok=True, mode=0o755)
        with self._alone():
            before = journal.read(self.layout)
            if slots.current(self.layout) and (before is None or before.doing != "install"):
                raise Conflict("the agent is installed here", hint="tender agent upgrade")
            name = slots.current(self.layout) or slots.other(None)
            if slots.whole(self.layout, name) is None:
                self._step("install", "build", name)
                self.build(self.layout, name)
            made = slots.whole(self.layout, name)
            version = made.version if made else ""
            self._step("install", "place", name)
            box.place(self.layout, name)
            for word in box.make_user_and_folders(self.layout):
                self.say(word)
            self._step("install", "switch", name)
            slots.switch(self.layout, name)
            self._step("install", "enable", name)
            self._enable(start=start)
            journal.close(self.layout)
        return version

    def upgrade(self) -> str:
        """The new version, running and ready. Raises Unavailable when it was taken back: the old one runs again."""
        with self._alone():
            now = slots.current(self.layout)
            if now is None:
                raise Conflict("the agent is not installed here", hint="tender agent install")
            name = slots.other(now)
            self._settle()
            self._step("upgrade", "build", name)
            version = self.build(self.layout, name)
            self.say(f"slot {name} holds {version}")
            if self.systemctl.runs:
                self._try(name, version)
            self._switch(name)
            if not self.systemctl.runs:
                self.say("there is no systemd: start the agent again by whatever supervises it")
        return version

    def _try(self, name: str, version: str) -> None:
        """Run the new slot until it is ready; take it back otherwise. Work goes on meanwhile: the unit leaves it."""
        why = "it was interrupted"
        try:
            self._step("upgrade", "stop", name)
            self.systemctl.call("stop", UNIT)
            self._step("upgrade", "keep", name)
            rescue.keep(self.layout.data)
            self._step("upgrade", "try", name)
            trial.begin(self.layout, self.systemctl, name)
            self._step("upgrade", "wait", name)
            why = trial.wait(self.systemctl, self.patience)
        except TenderError as error:
            why = error.message
        except BaseException:
            self._take_back(why)
            raise
        if why:
            self._take_back(why)
            hint = f"journalctl -u {UNIT} tells more; version {version} stays in slot {name} to look at"
            raise Unavailable(f"{version} was taken back: {why}; the old version runs again", hint=hint)

    def _switch(self, name: str) -> None:
        self._step("upgrade", "switch", name)
        slots.switch(self.layout, name)
        self._step("upgrade", "tidy", name)
        box.place(self.layout, name)
        (self.layout.data / rescue.KEPT).unlink(missing_ok=True)
        if self.systemctl.runs:
            trial.end(self.layout, self.systemctl)
        journal.close(self.layout)

    def _take_back(self, why: str) -> None:
        """The current slot runs again, with its own database if the new one changed it."""
        self.say(f"taking it back: {why}")
        self.systemctl.call("stop", UNIT)
        trial.end(self.layout, self.systemctl)
        rescue.settle(self.layout.data)
        self.systemctl.call("start", "--no-block", UNIT)
        again = trial.wait(self.systemctl, self.patience)
        if again:
            self.say(f"and the old version does not start either: {again}")
        journal.close(self.layout)

    def _settle(self) -> None:
        """What an interrupted upgrade left: the trial it was in is over."""
        if journal.read(self.layout) is None:
            return
        self.say("an earlier upgrade was interrupted; starting over")
        if self.systemctl.runs and self.layout.trial.exists():
            self._take_back("its upgrade was interrupted")

    def _enable(self, *, start: bool) -> None:
        if not self.systemctl.runs:
            self.say("there is no systemd: let whatever supervises this box start the agent, and not kill its children")
            return
        self.systemctl.call("daemon-reload")
        self.systemctl.call("enable", UNIT)
        if start:
            self.systemctl.call("start", "--no-block", UNIT)
            why = trial.wait(self.systemctl, self.patience)
            if why:
                raise Unavailable(f"the agent is installed, and does not start: {why}", hint=f"journalctl -u {UNIT}")

    def _step(self, doing: str, step: str, slot: str) -> None:
        journal.note(self.layout, Entry(doing, step, slot))
        self.at(step)

    @contextlib.contextmanager
    def _alone(self) -> Generator[None]:
        with only_one(self.layout.home / "lock", "installation", "wait until it is done") as lock:
            os.set_inheritable(lock, True)  # noqa: FBT003  the standard library's own signature
            yield


def uninstall(layout: Layout, systemctl: Systemctl, *, purge: bool) -> None:
    """Stop the agent and take it away; settings, identity and results stay unless `purge`."""
    if not layout.unit.exists() and slots.current(layout) is None:
        raise Conflict("the agent is not installed here")
    with only_one(layout.home / "lock", "installation", "wait until it is done"):
        for unit in (UNIT, PODMAN) if systemctl.runs else ():
            if layout.unit.with_name(unit).exists():
                systemctl.call("disable", unit)
                systemctl.call("stop", unit)
        box.remove(layout, purge=purge)
    if systemctl.runs:
        systemctl.call("daemon-reload")

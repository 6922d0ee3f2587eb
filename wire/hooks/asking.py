"""Asks an owner's hooks in their order; the first no declines, a fault does what `on_error` says."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from wire import clock
from wire.hooks.answer import Answer, HookError
from wire.hooks.opinion import Opinion, Tally
from wire.hooks.program import ask_program
from wire.hooks.reply import Reply, understand
from wire.hooks.settings import HookSettings
from wire.hooks.turns import Turns

AT_ONCE = 4

Post = Callable[[HookSettings, bytes], Awaitable[Reply]]
"""Brings a question to a hook's URL and its reply back, within the hook's time. Raises HookError."""


class Hooks:
    """All hooks of one owner; at most `at_once` run at a time, over all decisions.

    `asked` is told the name of the hook, `yes`, `no` or the code of its fault, and the seconds that it took.
    """

    def __init__(self, hooks: Sequence[HookSettings], *, post: Post, at_once: int = AT_ONCE) -> None:
        self._hooks = tuple(hooks)
        self._post, self._at_once = post, at_once
        self._turns = Turns(at_once)
        self.asked: Callable[[str, str, float], None] = lambda _hook, _answer, _seconds: None

    @property
    def names(self) -> list[str]:
        return [hook.name for hook in self._hooks]

    @property
    def patience(self) -> float:
        """Seconds that an opinion may take: each hook waits as long for its turn as it then has for its answer."""
        return 2 * sum(hook.timeout for hook in self._hooks)

    async def ask(self, question: bytes, *, node_id: str, job_id: str, priority: int = 0) -> Opinion:
        """The opinion on one job; `question` is the JSON that each hook gets. Higher priority is asked first."""
        tally = Tally()
        for hook in self._hooks:
            began = clock.monotonic()
            try:
                answer = await self._ask_one(hook, question, node_id, job_id, priority)
            except HookError as fault:
                self.asked(hook.name, fault.reason.code, clock.monotonic() - began)
                if hook.on_error != "accept":
                    return tally.refused([fault.reason])
                tally.notes.append(fault.reason)
                continue
            self.asked(hook.name, "yes" if answer.bid else "no", clock.monotonic() - began)
            if not answer.bid:
                return tally.refused([answer.reason] if answer.reason else [])
            tally.add(answer)
        return tally.accepted()

    async def _ask_one(self, hook: HookSettings, question: bytes, node_id: str, job_id: str, priority: int) -> Answer:
        try:
            # A queue behind hanging hooks must not turn into bids that come minutes too late.
            async with asyncio.timeout(hook.timeout):
                await self._turns.acquire(priority)
        except TimeoutError:
            message = f"{self._at_once} other hooks were still running after {hook.timeout:g} s"
            raise HookError(hook.name, "hook-busy", message, "make the hooks quicker") from None
        try:
            if hook.exec:
                return await ask_program(hook, question, node_id=node_id, job_id=job_id)
            return understand(hook.name, await self._post(hook, question))
        finally:
            self._turns.release()

"""Asks the owner's hooks about each bid as it comes, while other nodes still answer."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from hub.auctions.auction import Auction
from hub.auctions.bid_question import bid_question
from hub.auctions.hook_rules import BidRules
from hub.auctions.judgement import judgement
from hub.fleet.registry import Node
from hub.jobs.board import LiveJob
from wire import clock
from wire.failures import Reason
from wire.hooks.asking import Hooks
from wire.hooks.opinion import Opinion
from wire.hooks.reply import Reply
from wire.hooks.settings import HookSettings

log = logging.getLogger(__name__)


class BidHooks:
    """All hooks on bids. None set: nothing is asked, and auctions go as if there were no such thing."""

    def __init__(self, rules: BidRules) -> None:
        self._hooks = Hooks(rules.hooks, post=_post, at_once=rules.at_once)
        self._asking: dict[str, set[asyncio.Task[None]]] = {}

    @property
    def some(self) -> bool:
        return bool(self._hooks.names)

    @property
    def patience(self) -> float:
        """Seconds that an auction may wait for the hooks after its window, at the most."""
        return self._hooks.patience

    def tell(self, asked: Callable[[str, str, float], None]) -> None:
        """Tell of each answer: the hook, `yes`, `no` or the code of its fault, and the seconds that it took."""
        self._hooks.asked = asked

    def judge(self, auction: Auction, live: LiveJob, node: Node, then: Callable[[], None]) -> None:
        """Begin to ask about the node's bid; `then` is called when the judgement is in the auction."""
        auction.judging.add(node.id)
        task = asyncio.create_task(self._judge(auction, live, node, then))
        tasks = self._asking.setdefault(auction.record.id, set())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def forget(self, auction: Auction) -> None:
        """The auction ends: what is still being asked helps nobody, and is waited for no more."""
        auction.judging.clear()
        for task in self._asking.pop(auction.record.id, ()):
            task.cancel()

    async def _judge(self, auction: Auction, live: LiveJob, node: Node, then: Callable[[], None]) -> None:
        began = clock.monotonic()
        try:
            opinion = await self._opinion(auction, live, node)
        except Exception:
            # An auction waits for each judgement, so there always has to be one.
            log.exception("asking the hooks about the bid of %s failed", node.id)
            failed = Reason("hook-not-startable", "hooks could not be asked", "see the hub's log")
            opinion = Opinion(bid=False, reasons=(failed,))
        auction.judged(node.id, judgement(opinion, (clock.monotonic() - began) * 1000))
        then()

    def _opinion(self, auction: Auction, live: LiveJob, node: Node) -> Coroutine[Any, Any, Opinion]:
        bid, _ = auction.answers[node.id]
        ranked = auction.invited[node.id]
        question = bid_question(live.job, auction.record, node, ranked, bid, live.requested)
        return self._hooks.ask(question, node_id=node.id, job_id=live.job.id, priority=live.job.priority)


async def _post(hook: HookSettings, question: bytes) -> Reply:
    from wire.hooks.post import post  # noqa: PLC0415  the HTTP client is for hubs that have such a hook

    return await post(hook, question)

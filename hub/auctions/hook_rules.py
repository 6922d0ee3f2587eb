"""The hub owner's hooks on bids: what may be set, and the bounds that keep auctions short."""

from msgspec import Struct

from wire.failures import InvalidRequest
from wire.hooks.program import not_runnable
from wire.hooks.settings import HookSettings, check_hooks
from wire.jobs.job import Seconds
from wire.problems import Problems

FIELD = "bidding.hooks"
TOGETHER = 10.0
"""Seconds that the time-outs of all hooks may add up to: auctions wait for the hooks, and nodes keep what they bid."""
MOST_AT_ONCE = 64


class BidHook(HookSettings, frozen=True):
    """One hook on bids; all as for a node's hooks, with less time."""

    timeout: Seconds = 2.0


class BidRules(Struct, frozen=True):
    """The owner's say in every auction. `at_once` is how many hooks run at a time over all auctions."""

    hooks: list[BidHook] = []
    at_once: int = 8


def check_bidding(rules: BidRules, problems: Problems) -> None:
    """Add all that is wrong with the rules."""
    check_hooks(FIELD, rules.hooks, problems)
    together = sum(hook.timeout for hook in rules.hooks)
    if together > TOGETHER:
        said = f"the time-outs of the hooks on bids add up to {together:g} s, at most {TOGETHER:g} s are taken"
        problems.add(FIELD, together, said, "auctions wait for hooks: make them quick, or fewer")
    if not 1 <= rules.at_once <= MOST_AT_ONCE:
        said = f"bidding.at_once must be from 1 to {MOST_AT_ONCE}, not {rules.at_once}"
        problems.add("bidding.at_once", rules.at_once, said)


def check_programs(rules: BidRules) -> None:
    """Refuse hooks whose programs would not be run as things are now. Raises InvalidRequest."""
    wrong = [why for hook in rules.hooks if (why := not_runnable(hook))]
    if wrong:
        hint = "let root or the hub's user own the file and its folders, chmod 755"
        raise InvalidRequest("\n".join(wrong), hint=hint)

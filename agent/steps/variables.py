"""Variables of the node that jobs may ask for by `env:NAME`: the owner's list of globs decides. Pure."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from wire.failures import ExecutionFailed, Reason
from wire.jobs.job import FORWARD


def refusals(env: Mapping[str, str], allowed: Sequence[str], environ: Mapping[str, str]) -> list[Reason]:
    """Why the node does not give a job what it asks for. Only whole names that a glob covers are given."""
    reasons: list[Reason] = []
    for value in env.values():
        if not value.startswith(FORWARD):
            continue
        name = value.removeprefix(FORWARD)
        if not any(_glob(glob).fullmatch(name) for glob in allowed):
            hint = f'the owner can allow it: [env] allow = ["{_plain(name)}"]'
            message = f"this node does not give its variable {_plain(name)} to jobs"
            reasons.append(Reason("env-not-allowed", message, hint, retryable=False))
        elif name not in environ:
            hint = "set it where the agent is started"
            reasons.append(Reason("env-missing", f"this node has no variable {_plain(name)}", hint))
    return reasons


def filled_in(env: Mapping[str, str], allowed: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The job's variables with the node's in their places. Raises ExecutionFailed for what is refused."""
    for reason in refusals(env, allowed, environ):
        raise ExecutionFailed(reason)
    return {
        name: environ[value.removeprefix(FORWARD)] if value.startswith(FORWARD) else value
        for name, value in env.items()
    }


def _plain(name: str) -> str:
    return "".join(char for char in name if char.isalnum() or char in "_-.")[:64]


@lru_cache(maxsize=256)
def _glob(glob: str) -> re.Pattern[str]:
    """Anchored, unlike Bacalhau's: `AWS_*` does not cover `MY_AWS_KEY`."""
    return re.compile("".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in glob), re.DOTALL)

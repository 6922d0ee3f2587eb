"""Options that many commands share, written once as a dataclass and spread over a command's signature."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any


def grouped(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command whose parameters of a dataclass type became one option for each field."""
    signature = inspect.signature(command)
    groups: dict[str, type[Any]] = {}
    spread: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        kind = parameter.annotation
        if not (isinstance(kind, type) and is_dataclass(kind)):
            spread.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[parameter.name] = kind
        for one in fields(kind):
            default = inspect.Parameter.empty if one.default is MISSING else one.default
            spread.append(
                inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=one.type)
            )

    @functools.wraps(command)
    def run(**given: Any) -> Any:
        built = {name: kind(**{one.name: given.pop(one.name) for one in fields(kind)}) for name, kind in groups.items()}
        return command(**given, **built)

    run.__dict__["__signature__"] = signature.replace(parameters=spread)
    run.__dict__.pop("__wrapped__", None)
    run.__annotations__ = {one.name: one.annotation for one in spread}
    return run

"""Child process: one POST to a probe hook's URL.

Orders come as one JSON document on stdin, the report goes as one JSON document to stdout. The parent
kills this process at the deadline, so a server that drips bytes gains nothing.
"""

import asyncio
import sys
from typing import NoReturn

import msgspec

from agent.bidding.hook_child import Orders, Report
from wire.failures import Reason
from wire.hooks.answer import HookError, first_line
from wire.hooks.post import post

ORDERS_CAP = 32 * 1024 * 1024


def report(data: bytes) -> Report:
    """What became of the orders in `data`."""
    try:
        orders = msgspec.json.decode(data, type=Orders)
        reply = asyncio.run(post(orders.hook, orders.question))
    except HookError as fault:
        return Report(fault=fault.reason)
    except Exception as error:  # noqa: BLE001 - every failure is told to the parent as a fault
        message = first_line(f"{type(error).__name__}: {error}")
        return Report(fault=Reason("hook-not-startable", message))
    return Report(reply.status, reply.content_type, reply.body)


def main() -> NoReturn:
    sys.stdout.buffer.write(msgspec.json.encode(report(sys.stdin.buffer.read(ORDERS_CAP))))
    sys.stdout.flush()
    sys.exit(0)


if __name__ == "__main__":
    main()

"""The transfer child: reads orders on stdin, one a line, and reports on stdout until stdin ends.

HTTP and S3 libraries are imported by the order that needs them. When the core goes away, stdin ends
and the child leaves at once; what an upload had reached stands in its state file.
"""

import os
import queue
import resource
import sys
import threading

import msgspec

from agent.files.disk_faults import disk_failure
from agent.files.transfer_orders import LINE_CAP, Done, Download, Failed, Order, Report
from agent.workers.progress import Meter
from wire.failures import ExecutionFailed, Reason


def _perform(order: Order, meter: Meter) -> dict[str, str]:
    if isinstance(order, Download):
        from agent.workers.download import download  # noqa: PLC0415  httpx only when there is something to fetch

        return download(order, meter)
    from agent.workers.upload import upload  # noqa: PLC0415  boto3 only when there is something to send

    return upload(order, meter)


def carry_out(order: Order, meter: Meter) -> Report:
    """Do one order; every way in which it can end is a report."""
    try:
        return Done(_perform(order, meter))
    except ExecutionFailed as fault:
        return Failed(fault.reason)
    except OSError as fault:
        return Failed(disk_failure("moving data", fault).reason)
    except Exception as fault:  # noqa: BLE001  the child must answer, whatever a library throws
        return Failed(Reason("transfer-broken", f"{type(fault).__name__}: {fault}"[:300]))


def _read_orders(lines: "queue.SimpleQueue[bytes]") -> None:
    while (line := sys.stdin.buffer.readline(LINE_CAP + 1)).endswith(b"\n"):
        lines.put(line)
    os._exit(0)


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold keys
    os.umask(0o022)
    # Whatever a library prints must not get between the reports.
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_orders, args=(lines,), daemon=True).start()

    def tell(report: Report) -> None:
        out.write(msgspec.json.encode(report) + b"\n")

    while True:
        order = msgspec.json.decode(lines.get(), type=Order)
        tell(carry_out(order, Meter(tell)))


if __name__ == "__main__":
    main()

"""Becomes the broker: `python launch.py PARENT PIDFILE ARGV…` ties its life to the hub's, leaves its name, and execs.

Started by path with -I -S, so it imports nothing of the project. Everything here happens before exec in the very
process that becomes the broker: there is no moment in which it runs and is neither tied nor named.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def main(parent: int, pid_file: Path, argv: list[str]) -> None:
    """Never returns: ends, or is the broker."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        sys.exit("prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # the hub died before the line above
        sys.exit("the hub is gone")
    # A process id alone says nothing after a while: start time and boot make it one process for good.
    start = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    partial = pid_file.with_suffix(".partial")
    partial.write_text(f"{os.getpid()} {start} {boot}\n")
    partial.replace(pid_file)
    os.execv(argv[0], argv)  # noqa: S606  there is no shell, and the path comes from the hub


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])

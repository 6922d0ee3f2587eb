"""Threads for what blocks, all started at once: a box that later can start no more still has them."""

import threading
from concurrent.futures import ThreadPoolExecutor

from wire.failures import Unavailable


def full_pool(size: int) -> ThreadPoolExecutor:
    """A pool of which every thread runs. Raises Unavailable when they cannot be had."""
    pool, all_here = ThreadPoolExecutor(size, thread_name_prefix="work"), threading.Barrier(size)
    try:
        # A thread that waits takes nothing else, so each of these starts one.
        for started in [pool.submit(all_here.wait) for _ in range(size)]:
            started.result()
    except RuntimeError as error:
        all_here.abort()
        pool.shutdown(wait=False)
        raise Unavailable(f"{size} threads cannot be started: {error}", hint="raise the limit of processes") from error
    return pool

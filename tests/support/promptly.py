"""Whether something happens at once, on a machine that may stand still for seconds at any moment."""

from collections.abc import Awaitable, Callable

from wire import clock


async def at_once(attempt: Callable[[int], Awaitable[None]], *, within: float, times: int = 5) -> None:
    """Fails when none of the attempts is done within so many seconds. Each is told its number.

    A machine that stands still makes one of them late; a program that waits for its next look makes all late.
    """
    took: list[float] = []
    for number in range(times):
        began = clock.monotonic()
        await attempt(number)
        took.append(clock.monotonic() - began)
        if took[-1] < within:
            return
    raise AssertionError(f"it took {took} s")

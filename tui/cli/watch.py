"""`--watch` on lists: the same list again and again, until Ctrl-C."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from typer import Option

from tui import screen
from wire.failures import Unavailable

CLEAR = "\x1b[H\x1b[2J\x1b[3J"


@dataclass(frozen=True)
class Watch:
    """Whether a list is shown again and again."""

    watch: Annotated[bool, Option("-w", "--watch", help="Show it again and again, until Ctrl-C.")] = False
    watch_secs: Annotated[float, Option(help="Seconds between two looks.", min=0.2, max=3600)] = 2.0

    def show(self, once: Callable[[], None]) -> None:
        """Show the list, with --watch for ever. A hub that is away is waited for."""
        if not self.watch:
            once()
            return
        first = True
        while True:
            if sys.stdout.isatty():
                sys.stdout.write(CLEAR)
            elif not first:
                screen.say()
            try:
                once()
            except Unavailable as failed:
                if first:
                    raise
                screen.note(f"{failed.message}; asking again")
            first = False
            time.sleep(self.watch_secs)

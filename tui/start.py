"""Where the `tender` program starts: Ctrl-C ends it quietly from the first line on."""

import sys

INTERRUPTED = 130


def main() -> None:
    """Import the command line and run it."""
    try:
        from tui.main import main as run  # noqa: PLC0415  most of the start is this import
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    run()

"""Where the last lines of an output begin: the same for a node that streams and a hub that has it whole."""

TAIL_LINES = 10_000
"""Lines that can be asked for from the end."""
TAIL_DEFAULT = 10


def last_lines(data: bytes | bytearray, lines: int) -> int:
    """The index at which the last `lines` lines begin; a line without its end counts."""
    if lines <= 0:
        return len(data)
    at = len(data) - (1 if data.endswith(b"\n") else 0)
    for _ in range(lines):
        at = data.rfind(b"\n", 0, max(0, at))
        if at < 0:
            return 0
    return at + 1

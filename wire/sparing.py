"""How often a log tells of what others may cause without end."""


def is_told(count: int) -> bool:
    """Whether the so-manieth time is told: the first, the tenth, the hundredth and so on.

    >>> [count for count in range(1, 1001) if is_told(count)]
    [1, 10, 100, 1000]
    """
    return str(count).rstrip("0") == "1"

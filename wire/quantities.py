"""Amounts as people write them: CPU (`500m`), sizes (`512Mb`, `1GiB`), durations (`1h30m`), and back.

Own parsers of a few lines: the libraries for this cost the agent more than 1 MiB of memory.
Sizes follow Bacalhau (go-humanize): `Mb`, `MB` and `M` are 10^6, `MiB` and `Mi` are 2^20.
"""

import re

from wire.failures import InvalidRequest
from wire.jobs.job import ResourcesSpec
from wire.resources import Resources

MAX_TEXT = 64
MAX_SIZE = 2**63 - 1
MAX_CPU = 1_000_000.0
MAX_GPU = 1_000
MAX_SECONDS = 10 * 365 * 86_400.0

_CPU = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(m?)", re.ASCII)
_SIZE = re.compile(r"(\d[\d,]*(?:\.\d*)?|\.\d+)([kmgtpe]?i?)b?", re.ASCII)
_DURATION = re.compile(r"(?:(?:\d+(?:\.\d+)?|\.\d+)(?:ms|s|m|h|d))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h|d)", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+", re.ASCII)
_POWERS = {letter: power for power, letter in enumerate("kmgtpe", start=1)}
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def _plain(value: str | float) -> str:
    text = value if isinstance(value, str) else repr(value)
    return "" if len(text) > MAX_TEXT else "".join(text.split()).lower()


def parse_cpu(value: str | float) -> float:
    """Cores from `500m`, `0.5` or 2. Raises InvalidRequest."""
    found = _CPU.fullmatch(_plain(value))
    cores = (float(found[1]) / (1000 if found[2] else 1)) if found else -1.0
    if not found or cores > MAX_CPU:
        raise InvalidRequest(
            f"invalid CPU value: {str(value)[:MAX_TEXT]}", hint="write cores as 0.5 or 2, or thousandths as 500m"
        )
    return round(cores, 6)


def parse_size(value: str | float, what: str = "size") -> int:
    """Bytes from `512Mb`, `1GiB`, `2 GB` or a number of bytes. Raises InvalidRequest naming `what`."""
    found = _SIZE.fullmatch(_plain(value))
    size = -1
    if found and not found[2].startswith("i"):
        number, unit = found[1].replace(",", ""), found[2]
        factor = (1024 if unit.endswith("i") else 1000) ** _POWERS.get(unit[:1], 0)
        size = int(number) * factor if number.isdigit() else int(float(number) * factor)
    if not 0 <= size <= MAX_SIZE:
        raise InvalidRequest(
            f"invalid {what} value: {str(value)[:MAX_TEXT]}",
            hint="write a size as 512Mb (10^6), 1GiB (2^30) or in bytes",
        )
    return size


def parse_gpu(value: str | float) -> int:
    """Number of devices. Raises InvalidRequest."""
    text = _plain(value)
    count = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= count <= MAX_GPU:
        raise InvalidRequest(f"invalid GPU value: {str(value)[:MAX_TEXT]}", hint="write a whole number of devices")
    return count


def parse_duration(value: str | float) -> float:
    """Seconds from `90s`, `5m`, `1h30m`, `2d` or a number of seconds, to the millisecond. Raises InvalidRequest."""
    text = _plain(value)
    seconds = -1.0
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    elif _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if not 0 <= seconds <= MAX_SECONDS:
        raise InvalidRequest(
            f"invalid duration: {str(value)[:MAX_TEXT]}", hint="write 90s, 5m, 1h30m, 2d or seconds; at most ten years"
        )
    return round(seconds, 3)


def format_duration(seconds: float) -> str:
    """`5400` as `1h30m`, `0.25` as `250ms`; `parse_duration` gives the same number back."""
    rest = round(seconds * 1000)
    parts: list[str] = []
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        amount, rest = divmod(rest, length)
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"


def format_size(size: int) -> str:
    """Bytes for a person: `1.9 GB`, as go-humanize does."""
    if size < 1000:
        return f"{size} B"
    amount, units = float(size), iter("kMGTPE")
    unit = ""
    # 999.5 would be rounded up to 1000 of the same unit.
    while amount >= 999.5:
        amount, unit = amount / 1000, next(units)
    return f"{amount:.1f} {unit}B" if amount < 9.95 else f"{amount:.0f} {unit}B"


def format_cpu(cores: float) -> str:
    """Cores for a person: `0.5`, `2`."""
    return f"{cores:.3f}".rstrip("0").rstrip(".")


def resources(spec: ResourcesSpec) -> Resources:
    """The amounts that a job asks for; empty text is nothing. Raises InvalidRequest."""
    return Resources(
        cpu=parse_cpu(spec.cpu) if spec.cpu else 0.0,
        memory=parse_size(spec.memory, "memory") if spec.memory else 0,
        disk=parse_size(spec.disk, "disk") if spec.disk else 0,
        gpu=parse_gpu(spec.gpu) if spec.gpu else 0,
    )

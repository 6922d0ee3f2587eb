"""What a label of a node may be, whoever gives it."""

import re

from wire.jobs.job import FAVOUR

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}", re.ASCII)
VALUE_MOST = 63


def label_fault(key: str, value: str) -> tuple[str, str] | None:
    """What is wrong with a label, and what to write instead. None if it may be."""
    if not _KEY.fullmatch(key) or key.startswith(FAVOUR):
        return f"{key[:64]!r} cannot be a label", "use letters, digits, _ . / -"
    if len(value) > VALUE_MOST or not value.isprintable():
        return f"the label {key[:64]} is not up to {VALUE_MOST} printable characters", "shorten it"
    return None

"""Takes secrets out of text that leaves a machine: those that are known by value, and what looks like one."""

import base64
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

GONE = "(not shown)"
LEAST = 6
"""Characters. Shorter values would take words out of everything."""
MOST_VALUES = 5_000
FILE_CAP = 256 * 1024
_TELLING = re.compile(r"secret|token|passw|key|credential|auth|cookie|session", re.IGNORECASE)
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_SHAPES = (
    re.compile(r"tender1\.[A-Za-z0-9_-]{8,}"),  # join tokens
    re.compile(r"\btk_[0-9a-f]{8,}_[A-Za-z0-9_-]{8,}"),  # API keys
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"\$argon2[a-z]{1,2}\$\S+"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(r"(?<=[Bb]earer )\S+|(?<=[Bb]asic )\S+"),
    re.compile(r"^[A-Za-z0-9+/]{64}$", re.MULTILINE),  # a line of a key whose head was cut off
    re.compile(r"(?<=X-Amz-Signature=)[^&\s]+|(?<=X-Amz-Credential=)[^&\s]+|(?<=X-Amz-Security-Token=)[^&\s]+"),
)
_ASSIGNED = re.compile(
    r"((?:secret|token(?!s\b)|passw(?:or)?d|api[_-]?key|access[_-]?key|private[_-]?key|credential|seed|signature)"
    r"[\w.-]{0,40}[\"']?\s{0,4}[=:]\s{0,4}[\"']?)([^\s\"',;&}]+)",
    re.IGNORECASE,
)


def of_environment(environment: Mapping[str, str]) -> set[str]:
    """Values of variables whose names tell that they are secret."""
    return {value for name, value in environment.items() if _TELLING.search(name)}


def of_file(path: Path) -> set[str]:
    """All that a file of secrets may give away: itself, its lines, and the values in them."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_CAP)
    except OSError:
        return set()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return _coded(data)
    lines = {line.strip() for line in text.splitlines() if not line.startswith("-----")}
    values = {line.partition("=")[2].strip() for line in lines}
    quoted = {found for line in lines for found in re.findall(r'"([^"]{8,})"', line)}
    return {text.strip(), "".join(text.split()), *lines, *values, *quoted}


class Scrubber:
    """`values` are known secrets; each is looked for as it is, and as base64, hexadecimal or a URL would write it."""

    def __init__(self, values: Iterable[str]) -> None:
        known = [value for value in set(values) if len(value) >= LEAST][:MOST_VALUES]
        forms = {form for value in known for form in _forms(value)}
        # The longest first: a part of a secret must not be taken out of the whole and leave the rest.
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        for form in self._forms:
            text = text.replace(form, GONE)
        text = _PEM.sub(GONE, text)
        for shape in _SHAPES:
            text = shape.sub(GONE, text)
        return _ASSIGNED.sub(lambda found: f"{found[1]}{GONE}", text)


def _forms(value: str) -> set[str]:
    return {value, quote(value, safe=""), *_coded(value.encode())}


def _coded(raw: bytes) -> set[str]:
    coded = {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
    return {raw.hex(), *coded, *(form.rstrip("=") for form in coded)}

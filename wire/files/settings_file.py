"""Reads a settings file: TOML of a bounded size, refused with its name and the option that gave it."""

import tomllib
from pathlib import Path

from wire.failures import InvalidRequest, TooLarge

CAP = 1024 * 1024
"""Bytes of a settings file."""


def read_settings(path: Path, option: str) -> dict[str, object]:
    """The document in a file that `option` names. Raises InvalidRequest, or TooLarge above the cap."""
    try:
        with path.open("rb") as file:
            data = file.read(CAP + 1)
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {error.strerror}", hint=f"give the file with {option}") from None
    if len(data) > CAP:
        raise TooLarge(f"{path} is larger than {CAP} bytes", hint="this is hardly a settings file")
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"{path} is not valid TOML: {error}", hint="see https://toml.io") from None

"""Secrets that must not show anywhere: planted on each node, asked for by jobs, and looked for in all that is said."""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAME = "canary"
VALUE = "yellow-bird-5d41402abc4b2a76"
"""What the file holds: nobody else has a reason to say it."""


def plant(data: Path) -> None:
    """The owner of a node keeps a secret that jobs may refer to. `data` is the agent's folder."""
    folder = data / "secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / NAME
    path.write_text(VALUE)
    path.chmod(0o600)


def found(payload: bytes) -> bool:
    """Whether it shows, written plainly."""
    return VALUE.encode() in payload


class _Listener(logging.Handler):
    def __init__(self, heard: Callable[[logging.LogRecord, str], None]) -> None:
        super().__init__(logging.DEBUG)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard(record, self.format(record))


@contextmanager
def listening(heard: Callable[[logging.LogRecord, str], None]) -> Generator[None]:
    """While this lasts `heard` gets all that the product logs from INFO on, with its text and traceback."""
    root, handler = logging.getLogger(), _Listener(heard)
    level, off = root.level, logging.root.manager.disable
    logging.disable(logging.NOTSET)
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        logging.disable(off)


def with_secret(job: dict[str, Any]) -> dict[str, Any]:
    """The job, referring to the secret."""
    job["Tasks"][0]["Secrets"] = [{"Name": NAME, "Ref": NAME, "Target": "/run/secrets/canary"}]
    return job

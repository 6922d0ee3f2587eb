"""Devices of a container by CDI: whether this Podman takes them."""

import re

FIRST = (4, 1)
"""The release of Podman that understands names as nvidia.com/gpu=0."""


def takes_cdi(version: str) -> bool:
    found = re.match(r"(\d{1,4})\.(\d{1,4})", version)
    return found is not None and (int(found[1]), int(found[2])) >= FIRST

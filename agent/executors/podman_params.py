"""Reads the engine parameters of a container job: `docker` and `podman` mean the same, key case is free."""

import re

import msgspec

from wire.failures import ExecutionFailed, Reason

ENGINES = ("docker", "podman")
POLICIES = ("missing", "always", "never")
KEYS = ("Image", "Entrypoint", "Parameters", "EnvironmentVariables", "WorkingDirectory", "PullPolicy")
TEXT_CAP = 128 * 1024
"""Bytes of all strings of one list together; the kernel's own cap for one argument."""

_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::\d{1,5})?/)?"
_PATH = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(rf"{_HOST}{_PATH}(?:/{_PATH})*(?::[\w][\w.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?", re.ASCII)


class PodmanParams(msgspec.Struct, frozen=True):
    """What the job asks of the engine, with defaults filled in."""

    image: str
    entrypoint: list[str] = []
    parameters: list[str] = []
    environment: dict[str, str] = {}
    workdir: str = ""
    pull: str = "missing"


def parse(params: dict[str, object]) -> PodmanParams:
    """The parameters as one value. Raises ExecutionFailed with the first thing that is wrong."""
    known = {key.lower(): key for key in KEYS}
    values: dict[str, object] = {}
    for key, value in params.items():
        name = known.get(key.lower())
        if name is None:
            raise _bad(f"{key} is not a parameter of the podman engine", f"use one of {', '.join(KEYS)}")
        values[name] = value
    return PodmanParams(
        image=_image(values.get("Image")),
        entrypoint=_strings("Entrypoint", values.get("Entrypoint")),
        parameters=_strings("Parameters", values.get("Parameters")),
        environment=_environment(values.get("EnvironmentVariables")),
        workdir=_workdir(values.get("WorkingDirectory")),
        pull=_policy(values.get("PullPolicy")),
    )


def registry_name(image: str) -> str:
    """The full name under which a registry knows `image`, by docker's rules: `alpine` is docker.io/library/alpine."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        full = image
    elif slash:
        full = f"docker.io/{image}"
    else:
        full = f"docker.io/library/{image}"
    tagged = "@" in full or ":" in full.rpartition("/")[2]
    return full if tagged else f"{full}:latest"


def _bad(message: str, hint: str, code: str = "params") -> ExecutionFailed:
    return ExecutionFailed(Reason(code, message, hint, retryable=False))


def _image(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _bad("the podman engine needs Image", "name an image, for example Image: docker.io/library/alpine:3")
    if len(value) > 512 or not _IMAGE.fullmatch(value):
        raise _bad(
            f"Image {value[:200]!r} is not an image name", "write [registry/]name[:tag] in lower case", "image-name"
        )
    return value


def _strings(name: str, value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _bad(f"{name} is not a list of strings", f'write {name}: ["first", "second"]')
    strings = [item for item in value if isinstance(item, str)]
    if len(strings) != len(value):
        raise _bad(f"{name} holds something that is not a string", f'write {name}: ["first", "second"]')
    if any("\0" in item for item in strings):
        raise _bad(f"{name} holds a NUL character", "no program can be given one; remove it")
    if sum(len(item.encode()) for item in strings) > TEXT_CAP:
        raise _bad(f"{name} is longer than {TEXT_CAP} bytes", "put long data into an input")
    return strings


def _environment(value: object) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in _strings("EnvironmentVariables", value):
        name, equals, text = item.partition("=")
        if not name or not equals:
            raise _bad(f"EnvironmentVariables holds {item[:80]!r}", "write NAME=value")
        found[name] = text
    return found


def _workdir(value: object) -> str:
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise _bad(f"WorkingDirectory {value!r} is not an absolute path", "start it with a slash")
    return value


def _policy(value: object) -> str:
    if value is None or value == "":
        return "missing"
    if isinstance(value, str) and value.lower() in POLICIES:
        return value.lower()
    raise _bad(f"PullPolicy {value!r} is unknown", f"use one of {', '.join(POLICIES)}")

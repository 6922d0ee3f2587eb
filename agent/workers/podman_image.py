"""Sees to it that the image is there: what is cached works without a network."""

from urllib.parse import quote

from agent.executors.podman_params import PodmanParams, registry_name
from agent.workers.podman_api import Api, Refused
from wire.failures import ExecutionFailed, Reason

FINAL = ("manifest unknown", "not found", "unauthorized", "denied", "invalid reference", "name unknown")
"""What a registry says when asking again will not help."""


def ensure(api: Api, params: PodmanParams, pull: float) -> str:
    """The name by which the image can be used now. Raises ExecutionFailed."""
    if params.pull != "always" and _here(api, params.image):
        return params.image
    full = registry_name(params.image)
    if params.pull == "never":
        raise ExecutionFailed(
            Reason("image-missing", f"image {params.image} is not on this node", "load it, or use PullPolicy: missing")
        )
    _pull(api.within(pull), full)
    return full


def _here(api: Api, image: str) -> bool:
    try:
        api.get(f"/images/{quote(image, safe='')}/exists")
    except Refused as refused:
        if refused.status == 404:
            return False
        raise
    return True


def _pull(api: Api, image: str) -> None:
    error = ""
    try:
        # the answer is 200 whatever happens; only its lines tell
        for line in api.lines("/images/pull", {"reference": image, "policy": "always"}):
            error = str(line.get("error", "")) or error
    except Refused as refused:
        error = refused.message
    if error:
        final = any(word in error.lower() for word in FINAL) and "no such host" not in error
        hint = "check the image's name and the node's login" if final else "can the node reach the registry?"
        raise ExecutionFailed(Reason("image-pull", f"cannot pull {image}: {error[:400]}", hint, retryable=not final))

"""What the flags of `wasm run` and `podman run` mean: inputs, outputs, publishers, labels, constraints, variables."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tui.dataurl import plain_url
from wire.failures import InvalidRequest

DEFAULT_TARGET = "/inputs"
_OPERATOR = re.compile(r"\s*(?P<key>[^\s=!()<>,]+)\s*(?P<op>!=|==|=|>|<)\s*(?P<value>[^\s,]+)\s*")
_MEMBER = re.compile(r"\s*(?P<key>[^\s=!()<>,]+)\s+(?P<op>in|notin)\s+\((?P<values>[^()]*)\)\s*", re.IGNORECASE)
_BARE = re.compile(r"\s*(?P<no>!?)\s*(?P<key>[^\s=!()<>,]+)\s*")


def pairs(items: list[str], option: str) -> dict[str, str]:
    """`k=v` items as a mapping; the value may hold further equal signs."""
    found: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise InvalidRequest(f"{option} {item[:100]} is not NAME=VALUE", hint=f"like {option} name=value")
        found[key] = value
    return found


def label_filters(items: list[str]) -> list[str]:
    """`k=v` and `k!=v` of lists. Anything else would find everything, so it is refused."""
    for item in items:
        key, equals, _ = item.partition("=")
        if not equals or not key.rstrip("!"):
            raise InvalidRequest(f"--labels {item[:100]} is not NAME=VALUE", hint="like --labels region=eu")
    return items


def constraints(items: list[str]) -> list[dict[str, Any]]:
    """`key=value`, `key!=value`, `key>5`, `key in (a,b)`, `key`, `!key`; comma separated or repeated."""
    return [_constraint(part) for item in items for part in _split(item) if part.strip()]


def _constraint(text: str) -> dict[str, Any]:
    if match := _MEMBER.fullmatch(text):
        values = [value.strip() for value in match["values"].split(",") if value.strip()]
        return {"Key": match["key"], "Operator": match["op"].lower(), "Values": values}
    if match := _OPERATOR.fullmatch(text):
        operator = {">": "gt", "<": "lt"}.get(match["op"], match["op"])
        return {"Key": match["key"], "Operator": operator, "Values": [match["value"]]}
    if match := _BARE.fullmatch(text):
        return {"Key": match["key"], "Operator": "!" if match["no"] else "exists", "Values": []}
    raise InvalidRequest(
        f"--constraints {text[:100]} is not a condition on labels", hint='like region=eu, disk>100 or "zone in (a, b)"'
    )


def _split(text: str) -> list[str]:
    """At commas outside parentheses."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]


def results(items: list[str]) -> list[dict[str, str]]:
    """`name:path` items of --output."""
    found: list[dict[str, str]] = []
    for item in items:
        name, colon, path = item.partition(":")
        if not colon or not name or not path.startswith("/"):
            raise InvalidRequest(f"--output {item[:100]} is not NAME:/PATH", hint="like -o outputs:/outputs")
        found.append({"Name": name, "Path": path})
    return found


def publisher(text: str) -> dict[str, Any]:
    """`local`, `s3://bucket/key,opt=endpoint=…`, `ipfs` …; empty leaves the choice to the hub."""
    if not text:
        return {"Type": ""}
    uri, options = _options(text)
    if "://" not in uri:
        return {"Type": uri, **({"Params": options} if options else {})}
    parts = urlsplit(uri)
    if parts.scheme != "s3":
        raise InvalidRequest(f"--publisher {text[:100]} is not known", hint="local, hub, ipfs or s3://bucket/key")
    return {"Type": "s3", "Params": {"Bucket": parts.netloc, "Key": parts.path.lstrip("/"), **options}}


def inputs(items: list[str]) -> list[dict[str, Any]]:
    """Input sources in Bacalhau's short form; a path of this machine is packed into the job."""
    return [_input(item) for item in items]


def _input(text: str) -> dict[str, Any]:
    if text.startswith("data:"):  # commas belong to the data
        uri, _, target = text.partition(",dst=")
        return _source("inline", {"URL": uri}, target or DEFAULT_TARGET, "")
    uri, options = _options(text)
    fields = {key: options.pop(key) for key in ("src", "dst", "target", "source") if key in options}
    uri = fields.get("src") or fields.get("source") or uri
    target = fields.get("dst") or fields.get("target")
    if "://" not in uri:
        path, _, after = uri.partition(":")
        target = target or after or f"{DEFAULT_TARGET}/{Path(path).name}"
        return _source("inline", {"URL": plain_url(Path(path))}, target, path)
    kind, params = _remote(uri, options)
    return _source(kind, params, target or DEFAULT_TARGET, uri)


def _remote(uri: str, options: dict[str, str]) -> tuple[str, dict[str, Any]]:
    parts = urlsplit(uri)
    capitals = {key[:1].upper() + key[1:]: value for key, value in options.items()}
    if parts.scheme in {"http", "https"}:
        return "urlDownload", {"URL": uri, **{key.upper(): value for key, value in options.items()}}
    if parts.scheme == "s3":
        return "s3", {"Bucket": parts.netloc, "Key": parts.path.lstrip("/"), **capitals}
    if parts.scheme == "ipfs":
        return "ipfs", {"CID": f"{parts.netloc}{parts.path}"}
    if parts.scheme == "file":
        writes = options.get("ro", "true").lower() == "false" or options.get("rw", "").lower() == "true"
        return "local", {"SourcePath": f"{parts.netloc}{parts.path}", **({"ReadWrite": True} if writes else {})}
    raise InvalidRequest(f"--input {uri[:100]}: unknown scheme", hint="a file, or https:// s3:// ipfs:// file:// data:")


def _source(kind: str, params: dict[str, Any], target: str, alias: str) -> dict[str, Any]:
    return {"Source": {"Type": kind, "Params": params}, "Alias": alias, "Target": target}


def _options(text: str) -> tuple[str, dict[str, str]]:
    """The part before the first comma that starts an option, and the options; `opt=k=v` is `k=v`."""
    uri = ""
    options: dict[str, str] = {}
    for place, part in enumerate(text.split(",")):
        key, equals, value = part.partition("=")
        if key in {"src", "dst", "source", "target"} and equals:
            options[key] = value
        elif key == "opt" and "=" in value:
            name, _, value = value.partition("=")
            options[name] = value
        elif place == 0:
            uri = part
        else:
            uri += f",{part}"
    return uri, options

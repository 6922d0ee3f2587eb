"""Files as `data:` URLs inside a job, packed as Bacalhau's own command line packs them."""

import base64
import gzip
import io
import tarfile
from pathlib import Path

from wire.failures import InvalidRequest, NotFound, TooLarge

PLAIN_MOST = 512
"""Bytes up to which a file travels as it is; larger ones as a gzip tar that holds the file under its own name."""
FILE_MOST = 7 * 1024**2


def read_file(path: Path, most: int = FILE_MOST) -> bytes:
    """The bytes of a file of reasonable size. Raises NotFound or TooLarge."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as failed:
        raise NotFound(f"cannot read {path}: {failed.strerror}") from None
    if len(data) > most:
        raise TooLarge(
            f"{path} has more than {most} bytes and cannot travel inside a job",
            hint="put it where nodes can fetch it: -i https://… or -i s3://…",
        )
    return data


def data_url(name: str, data: bytes) -> str:
    """A file as a `data:` URL: the same bytes give the same URL, so that the hub keeps them once."""
    if len(data) <= PLAIN_MOST:
        return f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}"
    return f"data:application/gzip;base64,{base64.b64encode(_packed(name, data)).decode()}"


def plain_url(path: Path) -> str:
    """A file as a `data:` URL that stays one file at its target, whatever its size."""
    data = read_file(path)
    return f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}"


def check_module(path: Path, data: bytes) -> None:
    """Refuse what is no WASM module before it travels."""
    if data[:4] != b"\0asm":
        raise InvalidRequest(
            f"{path} is not a WASM module", hint="build one: clang --target=wasm32-wasi -O2 -o X.wasm X.c"
        )
    if data[4:8] != b"\x01\0\0\0":
        raise InvalidRequest(f"{path} is a WASM component or of an unknown version; nodes run core modules (WASI 0.1)")


def _packed(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=out, mode="wb", mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        info = tarfile.TarInfo(name[-100:])
        info.size, info.mode = len(data), 0o644
        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()

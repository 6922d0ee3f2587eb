"""Tar archives for tests: ordinary ones by the standard library, and members bent by hand."""

import gzip
import io
import tarfile
from collections.abc import Mapping


def tar_gz(files: Mapping[str, bytes]) -> bytes:
    """A tar.gz as Bacalhau's client makes it, with these files."""
    return members(*[(tarfile.TarInfo(name), data) for name, data in files.items()])


def members(*pairs: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A tar.gz of these members as they are; sizes are set from the data."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in pairs:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(plain.getvalue(), mtime=0)


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """A member's header."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info

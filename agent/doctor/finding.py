"""What one check found: a verdict, a sentence, and what to do about it."""

import msgspec


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """`verdict` is pass, warn or fail."""

    name: str
    verdict: str
    message: str
    remedy: str = ""

"""How a command line tells an error: what is wrong, what to do about it, and the word by which programs know it."""

import errno

from wire.failures import TenderError


def explained(error: TenderError | OSError, *, hint: str = "", outcome: str = "") -> str:
    """Lines `error:`, `hint:` and `code:`. `hint` is for an error that brings none, `outcome` says what it led to."""
    if isinstance(error, TenderError):
        message, code = error.message, error.details.get("Code") or error.code
        hint = error.hint or hint
    else:
        where = f"{error.filename}: " if error.filename is not None else ""
        message, code = f"{where}{error.strerror or error}", errno.errorcode.get(error.errno or 0, "OSError")
    return lines(f"{outcome}: {message}" if outcome else message, hint, code)


def lines(message: str, hint: str, code: str) -> str:
    """The lines of an error that is no exception."""
    return "\n".join([f"error: {message}", *(f"hint: {line}" for line in hint.splitlines() if line), f"code: {code}"])

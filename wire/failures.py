"""The error tree. Every error tells a person what to do next and a program whether to retry.

TenderError
├── InvalidRequest     the caller sent something that can never work (HTTP 400)
├── NotFound           no such job, node, execution or blob (HTTP 404)
├── Conflict           the thing exists but is in another state (HTTP 409)
├── TooLarge           over a documented cap (HTTP 413)
├── Unauthorized       no valid credential (HTTP 401)
├── Forbidden          a valid credential without the right (HTTP 403)
├── Unavailable        a part is away for now; try again (HTTP 503)
│   └── Swapped        the open database was deleted or replaced: the program ends, with exit code 74
├── NoSpace            the disk is full or takes no writes; try again when that is mended (HTTP 507)
├── TooManyRequests    the caller's allowance is used up for now; try again (HTTP 429)
├── Untrusted          a document without a valid signature, or bound to somebody else
└── ExecutionFailed    a step of an execution failed; carries its Reason

HTTP status codes are mapped in `hub/api/errors.py` and nowhere else.
"""

from typing import ClassVar

import msgspec


class Reason(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Why something was declined, refused or failed. Travels on the wire and into history.

    `code` is a short stable word for programs (`memory`, `label`, `hook-said-no`, `oom`);
    `message` is one sentence for a person; `hint` says what to change or type.
    """

    code: str
    message: str
    hint: str = ""
    retryable: bool = True


def at(field: str, value: object) -> dict[str, str]:
    """Details of an error: which field of a request is wrong, and what stood there, cut short."""
    return {"Field": field, "Value": str(value)[:80]}


class TenderError(Exception):
    """Base of all errors that this project raises on purpose."""

    code: ClassVar[str] = "InternalError"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", details: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details or {}


class InvalidRequest(TenderError):
    """The request can never work as it is."""

    code = "BadRequest"


class NotFound(TenderError):
    """The named thing does not exist here."""

    code = "NotFound"


class Conflict(TenderError):
    """The named thing is in a state that does not allow this."""

    code = "Conflict"


class TooLarge(TenderError):
    """Something from outside is over its cap."""

    code = "TooLarge"


class Unauthorized(TenderError):
    """No credential, or not a valid one."""

    code = "Unauthorized"


class Forbidden(TenderError):
    """The credential is valid but lacks the capability."""

    code = "Forbidden"


class Unavailable(TenderError):
    """Something that is needed is away for now."""

    code = "Unavailable"
    retryable = True


class Swapped(Unavailable):
    """The file of an open database was deleted, replaced or written by another program: this one has to end."""


class NoSpace(TenderError):
    """The disk is full, or takes no writes now."""

    code = "NoSpace"
    retryable = True


class TooManyRequests(TenderError):
    """The caller's allowance is used up for now; `wait` is in seconds."""

    code = "TooManyRequests"
    retryable = True

    def __init__(self, message: str, *, hint: str = "", details: dict[str, str] | None = None, wait: int = 1) -> None:
        super().__init__(message, hint=hint, details=details)
        self.wait = wait


class Untrusted(TenderError):
    """A document that is not signed by whom it must be, or not meant for this place."""

    code = "Untrusted"


class ExecutionFailed(TenderError):
    """A step of an execution failed for `reason`."""

    code = "ExecutionFailed"

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.message, hint=reason.hint)
        self.reason = reason

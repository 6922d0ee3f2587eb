"""Exit codes of the `tender` command, one for each thing that a script may want to tell apart."""

from wire.failures import InvalidRequest, NotFound, TenderError, TooLarge, TooManyRequests, Unavailable

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
UNREACHABLE = 4
TIMEOUT = 5
INTERRUPTED = 130

TABLE = """Exit codes: 0 done · 1 the job failed, or another error · 2 wrong arguments or an invalid job ·
3 no such job, node or file · 4 the hub or a node cannot be reached, try again · 5 waited long enough · 130 Ctrl-C"""


class JobFailed(TenderError):
    """The job ended otherwise than completed."""

    code = "JobFailed"


class WaitedLongEnough(TenderError):
    """Something is still going on when the caller no longer wants to wait."""

    code = "Timeout"
    retryable = True


def exit_code(error: TenderError) -> int:
    """The exit code of an error."""
    table: list[tuple[type[TenderError], int]] = [
        (NotFound, NOT_FOUND),
        (Unavailable, UNREACHABLE),
        (TooManyRequests, UNREACHABLE),
        (WaitedLongEnough, TIMEOUT),
        (InvalidRequest, USAGE),
        (TooLarge, USAGE),
    ]
    return next((code for kind, code in table if isinstance(error, kind)), FAILED)

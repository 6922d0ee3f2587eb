"""What the HTTP answer of a hook's URL means: the status first, then the document."""

from typing import NamedTuple

from wire.hooks.answer import Answer, HookError, first_line, read_answer, said_no

_JSON_TYPES = ("application/json", "text/json")


class Reply(NamedTuple):
    """An HTTP answer with its body, which is at most `ANSWER_CAP` bytes long."""

    status: int
    content_type: str
    body: bytes


def understand(hook: str, reply: Reply) -> Answer:
    """The opinion in an HTTP answer. Raises HookError."""
    status, body = reply.status, reply.body
    if 300 <= status < 400:
        raise HookError(hook, "hook-redirect", f"answered {status}; redirects are not followed", "give the final URL")
    if 200 <= status < 300:
        return read_answer(hook, body)
    why = f"answered {status}"
    if is_json(reply.content_type):
        try:
            told = read_answer(hook, body)
        except HookError:
            return said_no(hook, why)
        # A refusal by status stands, whatever else the document says.
        return said_no(hook, why) if told.bid else told
    is_text = reply.content_type.lower().startswith("text/plain")
    return said_no(hook, first_line(body) if is_text and body else why)


def is_json(content_type: str) -> bool:
    """Whether the media type is JSON; parameters such as `charset` and case do not matter."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in _JSON_TYPES or kind.endswith("+json")

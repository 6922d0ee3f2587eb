"""Child process: one POST to the hub's API, verified against the system's CAs and the pinned fleet CA.

stdin `{"url", "ca", "body", "timeout"}`, stdout `{"status", "body"}` or `{"error"}` when there was no answer.
"""

import ssl
import sys

import httpx
import msgspec

from wire.enrolment import REPLY_CAP


class Order(msgspec.Struct, frozen=True):
    """Where to send what. `ca` is a PEM certificate, empty for plain http; `timeout` in seconds."""

    url: str
    ca: str
    body: str
    timeout: float


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The hub's answer, or why there is none. `wrong_ca` tells a refused certificate from a hub that is away."""

    status: int = 0
    body: str = ""
    error: str = ""
    wrong_ca: bool = False


def post(order: Order) -> Answer:
    """Send it once; retries are the core's."""
    context = ssl.create_default_context()
    if order.ca:
        context.load_verify_locations(cadata=order.ca)
    headers = {"content-type": "application/json", "accept": "application/json"}
    try:
        with (
            # No proxies and no redirects: the body carries a secret that is for this one host.
            httpx.Client(verify=context, timeout=order.timeout, trust_env=False, follow_redirects=False) as client,
            client.stream("POST", order.url, content=order.body.encode(), headers=headers) as response,
        ):
            data = b""
            for chunk in response.iter_bytes(4096):
                data += chunk
                if len(data) > REPLY_CAP:
                    return Answer(error=f"the answer is over {REPLY_CAP} bytes")
            return Answer(status=response.status_code, body=data.decode(errors="replace"))
    except (httpx.HTTPError, OSError) as error:
        return Answer(error=str(error) or type(error).__name__, wrong_ca="CERTIFICATE_VERIFY_FAILED" in str(error))


if __name__ == "__main__":
    order = msgspec.json.decode(sys.stdin.buffer.read(131_072), type=Order)
    sys.stdout.buffer.write(msgspec.json.encode(post(order)))

"""Joins a fleet and renews the certificate: children make the request and carry it, this keeps the answer.

Nothing here is lost by a kill: identity and TLS key are made once, and the hub answers a repeated request of the
same node with the same token again.
"""

import asyncio
import logging
import os
import ssl
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from agent.identity import Identity, Joined
from wire import clock
from wire.backoff import Backoff
from wire.enrolment import ENROL_PATH, RENEW_PATH, EnrolmentReply, EnrolmentRequest, RenewalRequest, decode
from wire.failures import Conflict, Forbidden, InvalidRequest, TenderError, Unauthorized, Unavailable, Untrusted
from wire.jointoken import parse
from wire.processes.spawn import run_capped

log = logging.getLogger(__name__)
_CHILD_SECONDS = 60.0
_ROOT = Path(__file__).resolve().parents[1]
_REFUSALS: dict[int, type[TenderError]] = {401: Unauthorized, 403: Forbidden, 409: Conflict}


class _Made(msgspec.Struct, frozen=True):
    """What the CSR child prints."""

    csr: str


class _Answer(msgspec.Struct, frozen=True):
    """What the enrolment child prints."""

    status: int = 0
    body: str = ""
    error: str = ""
    wrong_ca: bool = False


class _Refusal(msgspec.Struct, frozen=True):
    """The part of the hub's error body that a person reads."""

    message: str = ""
    hint: str = ""


async def enrol(
    identity: Identity, token_text: str, name: str, *, say: Callable[[str], None] = log.warning, patience: float = 15.0
) -> Joined:
    """Join with a token, waiting for as long as the hub is away. Raises what the hub refuses it with.

    `patience` is for one try, in seconds; cancel it to give up.
    """
    token = parse(token_text)
    csr = await _make_csr(identity)
    request = EnrolmentRequest(
        token=token.secret,
        node_id=identity.node_id,
        name=name,
        order_key=identity.signer.public.hex(),
        csr=csr,
        proof="",
    )
    proof = identity.signer.sign(request.proven()).hex()
    body = msgspec.json.encode(msgspec.structs.replace(request, proof=proof))
    decode(body, EnrolmentRequest)  # a name that the hub would refuse is refused here
    ca = ssl.DER_cert_to_PEM_cert(token.ca) if token.ca else ""
    reply = await _ask(token.url.rstrip("/") + ENROL_PATH, ca, body, say, patience)
    joined = Joined(url=token.url, ca_sha256=token.ca_sha256, reply=reply)
    identity.keep(joined)
    return joined


async def renew(identity: Identity, *, say: Callable[[str], None] = log.warning, patience: float = 15.0) -> Joined:
    """Get the next certificate for the same key, also after the last one has expired."""
    joined = identity.enrolment()
    if joined is None:
        raise Conflict("this node has not joined a fleet", hint="tender agent join TOKEN")
    request = RenewalRequest(node_id=identity.node_id, csr=await _make_csr(identity), proof="")
    proof = identity.signer.sign(request.proven()).hex()
    body = msgspec.json.encode(msgspec.structs.replace(request, proof=proof))
    ca = joined.reply.ca if joined.url.startswith("https:") else ""
    reply = await _ask(joined.url.rstrip("/") + RENEW_PATH, ca, body, say, patience)
    renewed = msgspec.structs.replace(joined, reply=reply)
    identity.keep(renewed)
    return renewed


def renewal_is_due(joined: Joined) -> bool:
    """Whether two thirds of the certificate's life are over."""
    return clock.unix() >= joined.reply.renew_at


async def _ask(url: str, ca: str, body: bytes, say: Callable[[str], None], patience: float) -> EnrolmentReply:
    backoff = Backoff(first=1.0, most=300.0, least=0.5)
    order = {"url": url, "ca": ca, "body": body.decode(), "timeout": patience}
    while True:
        answer = await _child("agent.workers.enrol", order, _Answer, seconds=patience + _CHILD_SECONDS)
        if answer.status in {200, 201}:
            return decode(answer.body.encode(), EnrolmentReply)
        if answer.wrong_ca:
            raise Untrusted(
                f"whoever answers at {url} does not have a certificate of this fleet: {answer.error}",
                hint="is the address right, and the clock of this box?",
            )
        if 300 <= answer.status < 500 and answer.status not in {408, 425, 429}:
            raise _refusal(url, answer)
        wait = backoff.next()
        why = answer.error or f"it answered {answer.status}"
        say(f"the hub at {url} does not let us in yet ({why}); trying again in {wait:.0f} s")
        await asyncio.sleep(wait)


def _refusal(url: str, answer: _Answer) -> TenderError:
    try:
        said = msgspec.json.decode(answer.body.encode(), type=_Refusal)
    except msgspec.MsgspecError:
        said = _Refusal()
    kind = _REFUSALS.get(answer.status, InvalidRequest)
    if not said.message:
        return kind(f"{url} answered {answer.status}", hint="is this the address of a hub's API?")
    return kind(said.message[:500], hint=said.hint[:500])


async def _make_csr(identity: Identity) -> str:
    order = {"key": str(identity.tls_key.absolute()), "common_name": identity.node_id}
    return (await _child("agent.workers.csr", order, _Made, seconds=_CHILD_SECONDS)).csr


Printed = TypeVar("Printed", _Made, _Answer)


async def _child(module: str, order: Mapping[str, object], kind: type[Printed], *, seconds: float) -> Printed:
    env = {key: os.environ[key] for key in ("SSL_CERT_FILE", "SSL_CERT_DIR") if key in os.environ}
    env |= {"PATH": os.defpath, "PYTHONPATH": str(_ROOT)}
    argv = [sys.executable, "-P", "-m", module]
    # The order goes by stdin: argv and environment are for everybody on the box to read.
    ran = await run_capped(argv, env=env, seconds=seconds, stdin=msgspec.json.encode(order))
    if ran.fault is not None or ran.exit_code != 0:
        words = ran.detail or ran.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise Unavailable(f"{module} failed: {words[:300] or f'exit code {ran.exit_code}'}")
    return msgspec.json.decode(ran.stdout, type=kind)

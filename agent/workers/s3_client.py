"""A boto3 client that behaves: short time-outs, no surprising checksums, and failures with our reasons."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NoReturn

import boto3
from botocore.config import Config
from botocore.credentials import SharedCredentialProvider
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from agent.files.transfer_orders import S3Put
from agent.workers.guard import refusal_in
from wire.failures import ExecutionFailed, Reason

REGION = "us-east-1"
_ACCESS = frozenset(
    {
        "AccessDenied",
        "AllAccessDisabled",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
_LATER = frozenset({"SlowDown", "RequestTimeout", "OperationAborted", "RequestTimeTooSkewed", "Throttling"})
_NOT_THERE = frozenset({"404", "NoSuchKey", "NotFound"})


def make_client(order: S3Put) -> Any:
    """A client for the order's endpoint with keys from its file, else from the environment and `~/.aws`."""
    keys: dict[str, Any] = {}
    if order.credentials_file:
        found = SharedCredentialProvider(order.credentials_file, order.profile).load()
        if found is None:
            _no_keys(f"{order.credentials_file} has no profile {order.profile!r}")
        keys = {"aws_access_key_id": found.access_key, "aws_secret_access_key": found.secret_key}
        if found.token:
            keys["aws_session_token"] = found.token
    return boto3.Session().client(
        "s3",
        endpoint_url=order.endpoint or None,
        region_name=order.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "standard", "total_max_attempts": 3},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
        **keys,
    )


def _no_keys(message: str) -> NoReturn:
    raise ExecutionFailed(
        Reason("s3-access", message, "give the agent keys by a credentials file or its environment", retryable=False)
    )


def missing(fault: ClientError) -> bool:
    """Whether the answer says that there is no such object."""
    return _code(fault) in _NOT_THERE


def upload_gone(fault: ClientError) -> bool:
    """Whether the answer says that the multipart upload is not known (any more)."""
    return _code(fault) == "NoSuchUpload"


def _code(fault: ClientError) -> str:
    return str(fault.response.get("Error", {}).get("Code", ""))


@contextmanager
def our_reasons(order: S3Put) -> Generator[None]:
    """Turn what boto3 raises inside the block into ExecutionFailed."""
    try:
        yield
    except ClientError as fault:
        raise ExecutionFailed(_of_answer(fault, order)) from fault
    except (NoCredentialsError, PartialCredentialsError) as fault:
        _no_keys(f"this node has no keys for S3: {fault}")
    except (ParamValidationError, ValueError) as fault:
        reason = Reason("s3-refused", f"S3 cannot be asked so: {fault}"[:300], retryable=False)
        raise ExecutionFailed(reason) from fault
    except BotoCoreError as fault:
        if found := refusal_in(fault):
            raise found from fault
        raise ExecutionFailed(Reason("s3-unavailable", f"S3 cannot be reached: {fault}"[:300])) from fault


def _of_answer(fault: ClientError, order: S3Put) -> Reason:
    code = _code(fault)
    status = int(fault.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"{code} ({status}) from {order.endpoint or 'AWS'}"
    if code == "NoSuchBucket":
        message = f"there is no bucket {order.bucket!r} at {order.endpoint or 'AWS'}"
        return Reason("s3-no-bucket", message, "make the bucket or correct the publisher", retryable=False)
    if code in _LATER or status >= 500 or status == 429:
        return Reason("s3-unavailable", f"S3 cannot take it now: {said}")
    if code in _ACCESS or status in {401, 403}:
        return Reason("s3-access", f"S3 refuses this node's keys: {said}", "check keys and policy", retryable=False)
    return Reason("s3-refused", f"S3 refuses the request: {said}", retryable=False)

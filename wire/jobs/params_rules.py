"""What the parameters of known engines, sources and publishers must be. Pure; plug-ins of others pass."""

import re
from urllib.parse import urlsplit

from msgspec import Struct

from wire.jobs import limits
from wire.jobs import params as known
from wire.jobs.job import COUNTED_TYPES, Job, Publisher, Source, Task
from wire.jobs.text_rules import check_choice, check_path, reserved_name, too_many
from wire.problems import Problems
from wire.strict_read import read_struct

_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_CID = re.compile(r"[A-Za-z0-9]{10,128}(/.*)?", re.DOTALL)
_BLOB = re.compile(r"blob:sha256:[0-9a-f]{64}(;[a-z]+=[^;]{1,128})*")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}|[A-Za-z0-9+/]{43}=")


def check_engine(field: str, said: str, task: Task, problems: Problems) -> None:
    here, said = f"{field}.Engine", f"{said}engine validation failed: "
    if not _check_type(here, said, task.engine.type, "write Type: wasm or Type: docker", problems):
        return
    struct = known.ENGINES.get(known.engine_kind(task.engine.type))
    read = _read(struct, task.engine.params, f"{here}.Params", problems)
    if isinstance(read, known.ContainerParams):
        _check_container(f"{here}.Params", said, read, problems)
    elif isinstance(read, known.WasmParams):
        _check_wasm(f"{here}.Params", said, read, task, problems)


def check_publisher(field: str, said: str, publisher: Publisher, problems: Problems) -> None:
    here, said = f"{field}.Publisher", f"{said}publisher validation failed: "
    if not publisher.type:
        if publisher.params:
            problems.add(
                f"{here}.Type", "", f"{said}missing spec type", "write Type: local, s3, s3managed, ipfs or hub"
            )
        return
    if not _check_type(here, said, publisher.type, "", problems):
        return
    struct = known.PUBLISHERS.get(known.plugin_kind(publisher.type))
    read = _read(struct, publisher.params, f"{here}.Params", problems)
    if isinstance(read, known.S3PublisherParams):
        _check_bucket(f"{here}.Params", said, read.bucket, read.endpoint, problems)
        if not read.key.strip():
            problems.add(f"{here}.Params.Key", read.key, f"{said}invalid s3 params: key cannot be empty")
        check_choice(f"{here}.Params.Encoding", read.encoding.lower(), known.ENCODINGS, problems)


def check_source(here: str, said: str, source: Source, job: Job, problems: Problems) -> None:
    if not _check_type(f"{here}.Source", said, source.type, "write Type: s3, ipfs, urlDownload or local", problems):
        return
    params = f"{here}.Source.Params"
    read = _read(known.SOURCES.get(known.plugin_kind(source.type)), source.params, params, problems)
    if isinstance(read, known.InlineParams):
        if not (read.url.startswith("data:") and "," in read.url) and not _BLOB.fullmatch(read.url):
            message = f"{said}an inline input needs a URL that starts with data:"
            problems.add(f"{params}.URL", read.url, message, "write data:text/plain,hello or data:;base64,aGVsbG8=")
    elif isinstance(read, known.UrlParams):
        _check_url(f"{params}.URL", said, read.url, problems)
        if read.sha256 and not re.fullmatch(r"[0-9a-fA-F]{64}", read.sha256):
            message = f"{said}SHA256 '{read.sha256[:80]}' is not 64 hex digits"
            problems.add(f"{params}.SHA256", read.sha256, message)
    elif isinstance(read, known.IpfsParams):
        if not _CID.fullmatch(read.cid):
            problems.add(f"{params}.CID", read.cid, f"{said}invalid ipfs params: '{read.cid[:80]}' is not a CID")
    elif isinstance(read, known.LocalParams):
        check_path(f"{params}.SourcePath", read.source_path, f"{said}invalid local params: source path", problems)
        check_choice(f"{params}.CreateAs", read.create_as.lower(), known.CREATE_AS, problems)
    elif isinstance(read, known.S3InputParams):
        _check_s3_input(params, said, read, job, problems)


def _check_type(here: str, said: str, written: str, hint: str, problems: Problems) -> bool:
    if not written.strip():
        problems.add(f"{here}.Type", written, f"{said}missing spec type", hint)
    elif not _TYPE.fullmatch(written):
        problems.add(f"{here}.Type", written, f"{said}'{written[:80]}' cannot be a type", hint)
    else:
        return True
    return False


def _read(struct: type[Struct] | None, params: dict[str, object], path: str, problems: Problems) -> Struct | None:
    """Typed parameters, or None when they are a plug-in's own or could not be read (and that is said)."""
    if struct is None:
        return None
    before = len(problems)
    read = read_struct(struct, params, path, problems)
    return read if len(problems) == before else None


def _check_container(here: str, said: str, read: known.ContainerParams, problems: Problems) -> None:
    if not read.image.strip():
        message = f"{said}invalid docker engine params: image cannot be empty"
        problems.add(f"{here}.Image", read.image, message, "write Image: docker.io/library/alpine:3")
    elif len(read.image) > limits.NAME * 2 or not read.image.isprintable() or " " in read.image or read.image[0] == "-":
        message = f"{said}invalid docker engine params: '{read.image[:80]}' cannot name an image"
        problems.add(f"{here}.Image", read.image, message)
    if read.working_directory:
        what = f"{said}invalid docker engine params: working directory"
        if read.working_directory != "/":
            check_path(f"{here}.WorkingDirectory", read.working_directory, what, problems)
    check_choice(f"{here}.PullPolicy", read.pull_policy, known.PULL_POLICIES, problems)
    too_many(f"{here}.Entrypoint", len(read.entrypoint), limits.ARGUMENTS, problems)
    too_many(f"{here}.Parameters", len(read.parameters), limits.ARGUMENTS, problems)
    too_many(f"{here}.EnvironmentVariables", len(read.environment_variables), limits.ENV, problems)
    for place, pair in enumerate(read.environment_variables):
        if not pair.partition("=")[0].strip() or "=" not in pair:
            message = f"{said}environment variable {place + 1} is not NAME=value"
            problems.add(f"{here}.EnvironmentVariables[{place}]", pair, message)
        elif reserved := reserved_name(pair.partition("=")[0].strip()):
            problems.add(f"{here}.EnvironmentVariables[{place}]", pair, said + reserved, "give it another name")


def _check_wasm(here: str, said: str, read: known.WasmParams, task: Task, problems: Problems) -> None:
    targets = [item.target for item in task.input_sources]
    if not read.entry_module:
        message = f"{said}invalid wasm engine params: entry module cannot be empty"
        problems.add(f"{here}.EntryModule", "", message, "write the Target of the input source that holds the module")
    named = [("EntryModule", read.entry_module)] if read.entry_module else []
    named += [(f"ImportModules[{place}]", module) for place, module in enumerate(read.import_modules)]
    for name, module in named:
        if module not in targets:
            message = f"{said}invalid wasm engine params: no input source has the target '{module[:80]}' of {name}"
            hint = f"targets here: {', '.join(target[:80] for target in targets[:5]) or 'none'}"
            problems.add(f"{here}.{name}", module, message, hint)
    if not read.entry_point.strip():
        problems.add(f"{here}.EntryPoint", read.entry_point, f"{said}invalid wasm engine params: entry point is blank")
    too_many(f"{here}.Parameters", len(read.parameters), limits.ARGUMENTS, problems)
    too_many(f"{here}.ImportModules", len(read.import_modules), limits.INPUTS, problems)


def _check_s3_input(here: str, said: str, read: known.S3InputParams, job: Job, problems: Problems) -> None:
    _check_bucket(here, said, read.bucket, read.endpoint, problems)
    if not read.key.strip():
        problems.add(f"{here}.Key", read.key, f"{said}invalid s3 params: key cannot be empty")
    if read.checksum_sha256 and not _SHA256.fullmatch(read.checksum_sha256):
        message = f"{said}invalid s3 params: the checksum is not a SHA-256"
        problems.add(f"{here}.ChecksumSHA256", read.checksum_sha256, message, "write it in base64 or hex")
    part = read.partition
    kind = part.type.lower()
    check_choice(f"{here}.Partition.Type", kind, known.PARTITIONS, problems)
    if kind not in ("", "none") and job.type not in COUNTED_TYPES:
        message = f"{said}invalid s3 params: {job.type} jobs have no partitions"
        problems.add(f"{here}.Partition.Type", part.type, message, "use batch or service, or leave Partition out")
    if kind == "regex" and not part.pattern:
        problems.add(f"{here}.Partition.Pattern", "", f"{said}invalid s3 params: a regex partition needs a Pattern")
    if kind == "substring" and not 0 <= part.start_index < part.end_index:
        message = f"{said}invalid s3 params: a substring partition needs 0 <= StartIndex < EndIndex"
        problems.add(f"{here}.Partition.EndIndex", part.end_index, message)
    if kind == "date" and not part.date_format:
        problems.add(
            f"{here}.Partition.DateFormat", "", f"{said}invalid s3 params: a date partition needs a DateFormat"
        )


def _check_bucket(here: str, said: str, bucket: str, endpoint: str, problems: Problems) -> None:
    if not bucket.strip():
        problems.add(f"{here}.Bucket", bucket, f"{said}invalid s3 params: bucket cannot be empty")
    elif not _BUCKET.fullmatch(bucket):
        problems.add(f"{here}.Bucket", bucket, f"{said}invalid s3 params: '{bucket[:80]}' cannot name a bucket")
    if endpoint:
        _check_url(f"{here}.Endpoint", said, endpoint, problems)


def _check_url(field: str, said: str, url: str, problems: Problems) -> None:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or not url.isprintable() or " " in url:
        # What stands before an @ may be a password.
        told = "(not shown)" if "@" in url else url
        problems.add(field, told, f"{said}'{told[:80]}' is not a URL of http or https", "write https://host/path")

"""Asks a hook that is a program: argv without a shell, JSON on stdin, exit code and stdout as the answer."""

import os
import stat
from pathlib import Path

from wire.hooks.answer import ANSWER_CAP, Answer, HookError, first_line, read_answer, said_no
from wire.hooks.settings import HookSettings
from wire.processes.spawn import Fault, run_capped

MAX_LINKS = 16


async def ask_program(hook: HookSettings, question: bytes, *, node_id: str, job_id: str) -> Answer:
    """Raises HookError when the program gave no opinion."""
    check_file(hook.name, Path(hook.exec[0]))
    env = {"PATH": os.environ.get("PATH", os.defpath), "TENDER_NODE_ID": node_id, "TENDER_JOB_ID": job_id}
    ran = await run_capped(hook.exec, env=env, seconds=hook.timeout, stdin=question, cap=ANSWER_CAP)
    if ran.fault is Fault.NOT_STARTABLE:
        raise HookError(hook.name, "hook-not-startable", ran.detail, f"try it by hand: {hook.exec[0]}")
    if ran.fault is not None:
        raise HookError(hook.name, f"hook-{ran.fault}", ran.detail)
    if ran.exit_code == 0:
        return read_answer(hook.name, ran.stdout)
    ending = f"ended by signal {-ran.exit_code}" if ran.exit_code < 0 else f"exit code {ran.exit_code}"
    return said_no(hook.name, first_line(ran.stderr) or ending)


def check_file(hook: str, path: Path) -> None:
    """Only a file that nobody but root and the user who asks can change or swap is run.

    Walks the path as the kernel does, so every link and every folder on the way is looked at.
    """
    try:
        real, facts = _walk(hook, path)
    except OSError as error:
        why = f"{path}: {error.strerror or error}"
        raise HookError(hook, "hook-not-startable", why, "install it or mend the path") from None
    if not stat.S_ISREG(facts.st_mode):
        raise HookError(hook, "hook-not-startable", f"{path} is not a file")
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise HookError(hook, "hook-unsafe-file", f"{real} can be changed by others", f"chmod go-w {real}")


def _walk(hook: str, path: Path) -> tuple[Path, os.stat_result]:
    """The real file and what it is. Raises OSError or HookError."""
    here, facts = Path("/"), Path("/").stat()
    ahead = list(path.parts[1:])
    links = 0
    while ahead:
        _check_folder(hook, here, facts)
        part = ahead.pop(0)
        there = here.parent if part == ".." else here / part
        facts = there.lstat()
        if facts.st_uid not in {0, os.geteuid()}:
            why = f"{there} belongs to neither root nor the user who asks it"
            raise HookError(hook, "hook-unsafe-file", why, f"chown root {there}")
        if not stat.S_ISLNK(facts.st_mode):
            here = there
            continue
        links += 1
        if links > MAX_LINKS:
            raise HookError(hook, "hook-not-startable", f"{path} is a loop of links")
        target = there.readlink()
        here = Path("/") if target.is_absolute() else here
        facts = here.stat()
        ahead = [*target.parts[target.is_absolute() :], *ahead]
    return here, facts


def _check_folder(hook: str, folder: Path, facts: os.stat_result) -> None:
    """Whoever can rename in a folder can put another file in its place, unless the folder is sticky."""
    if not stat.S_ISDIR(facts.st_mode):
        raise HookError(hook, "hook-not-startable", f"{folder} is not a folder")
    foreign = stat.S_IWOTH if facts.st_gid in {0, os.getegid()} else stat.S_IWOTH | stat.S_IWGRP
    if facts.st_mode & foreign and not facts.st_mode & stat.S_ISVTX:
        raise HookError(hook, "hook-unsafe-file", f"{folder} can be changed by others", f"chmod go-w {folder}")


def not_runnable(hook: HookSettings) -> str:
    """Why the program of a hook would not be run as things are now; empty when it would, or when it is a URL.

    What is asked at run time too, and what would only be found out by running the program.
    """
    if not hook.exec:
        return ""
    try:
        check_file(hook.name, Path(hook.exec[0]))
    except HookError as error:
        return error.reason.message
    return "" if os.access(hook.exec[0], os.X_OK) else f"hook {hook.name}: {hook.exec[0]} is not executable"

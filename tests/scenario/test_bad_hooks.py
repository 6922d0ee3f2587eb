"""Probe hooks that hang, flood, fail or babble: declined in time with their own reason while the node works on.

Each kind of fault alone, with its process group, descriptors and memory: `tests/integration/test_hooks_exec.py`
and `test_hooks_http.py`. Here they decide on real invitations, and the fleet shows what the owner and the user see.
"""

import pytest
import pytest_asyncio

from tests.support.fleet import Fleet
from tests.support.hub_process import PATIENT
from tests.support.scenario import answers, completes_once, outcomes, settings, traced_job, until, why

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOOK = """#!/bin/sh
question=$(cat)
case $question in
*name-hang*) echo asked > FOLDER/asked; sleep 600 ;;
*name-flood*) yes "a line that never ends" ;;
*name-junk*) echo "well, why not?" ;;
*name-fork*) sleep 600 & sleep 600 & exit 3 ;;
*name-exit*) echo "battery at 12 %" >&2; exit 3 ;;
*name-crash*) kill -SEGV $$ ;;
esac
"""
SLOW = 10
"""Seconds that the hook may take; an auction of nodes with hooks waits for longer."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    script = folder / "hook"
    script.write_text(HOOK.replace("FOLDER", str(folder)))
    script.chmod(0o755)
    hook = f'[[bidding.hooks]]\nname = "judge"\nexec = ["{script}"]\ntimeout = "{SLOW}s"'
    async with Fleet(folder, {"north": settings(folder, "north", hook)}) as running:
        yield running


@pytest.mark.parametrize(
    ("kind", "code", "says"),
    [
        ("flood", "hook-flood", "65536"),
        ("junk", "hook-bad-json", "JSON"),
        ("exit", "hook-said-no", "battery at 12 %"),
        ("fork", "hook-said-no", "exit code 3"),
        ("crash", "hook-said-no", "signal 11"),
    ],
)
async def test_a_hook_that_goes_wrong_declines_with_its_own_reason(fleet, notebook, kind, code, says):
    job_id = await fleet.hub.submit(traced_job(notebook, Name=f"name-{kind}", **PATIENT))
    job = await fleet.hub.finished(job_id)
    assert job["State"]["StateType"] == "Failed"
    (tender,) = await why(fleet.hub, job_id)
    assert outcomes(tender) == {"north": "declined"}
    ((reason,),) = [bid["Reasons"] for bid in tender["Bids"]]
    assert (reason["Code"], says in reason["Message"]) == (code, True), reason
    assert f"1 × {code}: hook judge: " in job["State"]["Message"]
    assert notebook.lines == 0


async def test_a_hook_that_hangs_is_ended_at_its_time_out_and_other_jobs_run_meanwhile(fleet, notebook):
    asked = fleet.hub.folder.parent / "asked"
    hanging = await fleet.hub.submit(traced_job(notebook, Name="name-hang", **PATIENT))
    await until(asked.exists)
    good = await fleet.hub.submit(traced_job(notebook, Name="name-good"))
    await completes_once(fleet, good, notebook)
    await answers(fleet, hanging, {"north": "waiting"})
    job = await fleet.hub.finished(hanging)
    (tender,) = await why(fleet.hub, hanging)
    assert outcomes(tender) == {"north": "declined"}
    ((reason,),) = [bid["Reasons"] for bid in tender["Bids"]]
    assert (reason["Code"], reason["Message"]) == ("hook-timeout", f"hook judge: took longer than {SLOW} s")
    assert "1 × hook-timeout: hook judge: " in job["State"]["Message"]
    assert notebook.lines == 1

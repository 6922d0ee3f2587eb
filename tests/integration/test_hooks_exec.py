"""Probe hooks that are programs: the corpus of well-behaved, broken and hostile ones, all of them real scripts."""

import asyncio
import json
import os
import resource
from pathlib import Path

import pytest

from agent.bidding.hook_child import ask_child
from tests.support.looplag import responsive
from wire.hooks.asking import Hooks
from wire.hooks.settings import HookSettings

QUESTION = json.dumps({"node_id": "n-1", "job_id": "j-1"}).encode()


@pytest.fixture
def script(tmp_path):
    """Writes an executable and gives the settings of a hook that runs it."""

    def write(text, *, name="hook", mode=0o755, interpreter="/bin/sh", args=(), **settings):
        path = tmp_path / name
        path.write_text(f"#!{interpreter}\n{text}\n")
        path.chmod(mode)
        return HookSettings(name=name, exec=[str(path), *args], **{"timeout": 60.0, **settings})

    return write


async def ask(*hooks, question=QUESTION, job_id="j-1"):
    with responsive():
        return await Hooks(hooks, post=ask_child).ask(question, node_id="n-1", job_id=job_id)


def codes(opinion):
    return [reason.code for reason in opinion.reasons]


def alive(pid):
    """Whether the process runs; a zombie that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


# --- yes and no -----------------------------------------------------------------------------------


async def test_exit_zero_without_output_is_a_yes(script):
    opinion = await ask(script("cat > /dev/null"))
    assert opinion.bid
    assert (opinion.score, opinion.cost, opinion.ttl, opinion.notes) == (None, None, None, ())


async def test_a_json_yes_carries_score_cost_ttl_and_reason(script):
    answer = '{"bid": true, "score": 72.5, "cost": 3, "ttl": "30s", "reason": "sunny"}'
    opinion = await ask(script(f"echo '{answer}'"))
    assert (opinion.bid, opinion.score, opinion.cost, opinion.ttl) == (True, 72.5, 3.0, 30.0)
    assert opinion.notes[0].message == "hook hook: sunny"


async def test_a_json_no_declines_with_its_reason(script):
    opinion = await ask(script("""echo '{"bid": false, "reason": "12 % left"}'""", name="battery"))
    assert not opinion.bid
    assert [(r.code, r.message) for r in opinion.reasons] == [("hook-said-no", "hook battery: 12 % left")]


async def test_a_score_of_minus_one_is_a_no_as_in_a_ranking(script):
    opinion = await ask(script("""echo '{"score": -1, "reason": "not here"}'"""))
    assert [(r.code, r.message) for r in opinion.reasons] == [("hook-said-no", "hook hook: not here")]
    assert codes(await ask(script("""echo '{"bid": false, "score": -1}'"""))) == ["hook-said-no"]


async def test_bacalhaus_answer_is_understood(script):
    opinion = await ask(script("""echo '{"ShouldBid": false, "Reason": "not today"}'"""))
    assert opinion.reasons[0].message == "hook hook: not today"
    assert (await ask(script("""echo '{"shouldBid": true, "reason": ""}'"""))).bid


async def test_another_exit_code_declines_with_the_first_line_of_stderr(script):
    opinion = await ask(script("printf '\\n battery\\033[31m at 12 %% \\nsecond line\\n' >&2; exit 3"))
    assert codes(opinion) == ["hook-said-no"]
    assert opinion.reasons[0].message == "hook hook: battery[31m at 12 %"


async def test_the_reason_is_cut_at_500_characters(script):
    opinion = await ask(script("head -c 3000 /dev/zero | tr '\\0' x >&2; exit 1"))
    assert opinion.reasons[0].message == "hook hook: " + "x" * 500


async def test_an_exit_code_without_words_is_named(script):
    assert (await ask(script("exit 137"))).reasons[0].message == "hook hook: exit code 137"
    assert (await ask(script("kill -9 $$"))).reasons[0].message == "hook hook: ended by signal 9"


async def test_a_yes_on_stdout_does_not_undo_a_failing_exit(script):
    assert not (await ask(script("""echo '{"bid": true}'; exit 1"""))).bid


# --- what a hook gets -----------------------------------------------------------------------------


async def test_the_environment_is_only_path_node_and_job(script, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    out = tmp_path / "environment"
    await ask(script(f"tr '\\0' '\\n' < /proc/$$/environ | cut -d= -f1 | sort > {out}"))
    assert out.read_text().split() == ["PATH", "TENDER_JOB_ID", "TENDER_NODE_ID"]


async def test_the_question_comes_on_stdin_byte_for_byte(script, tmp_path):
    out = tmp_path / "stdin"
    nasty = {"name": "$(touch /tmp/x) `id` ' \" \n \x00 ü 😀", "args": ["; rm -rf /", "&&", "x" * 200_000]}
    question = json.dumps(nasty).encode()
    assert (await ask(script(f"cat > {out}"), question=question)).bid
    assert out.read_bytes() == question


async def test_shell_signs_in_a_job_id_and_arguments_stay_what_they_are(script, tmp_path):
    out = tmp_path / "got"
    hook = script(f'printf "%s|%s" "$TENDER_JOB_ID" "$1" > {out}', args=["$(id) * 'a b'"])
    await ask(hook, job_id="j-$(id);`id`")
    assert out.read_text() == "j-$(id);`id`|$(id) * 'a b'"


async def test_a_job_id_that_no_environment_can_hold_is_a_fault(script):
    assert codes(await ask(script("exit 0"), job_id="j\0x")) == ["hook-not-startable"]


async def test_a_hook_that_does_not_read_its_input_is_no_fault(script):
    assert (await ask(script("exit 0"), question=b"x" * 5_000_000)).bid
    assert (await ask(script("exec 0<&-; exit 0"), question=b"x" * 5_000_000)).bid


# --- faults ---------------------------------------------------------------------------------------

FAULTS = {
    "hook-timeout": "sleep 60",
    "hook-flood": "head -c 300000000 /dev/zero",
    "hook-bad-json": "echo yes please",
    "hook-bad-answer": """echo '{"bid": true, "score": 101}'""",
}


@pytest.mark.parametrize("code", FAULTS)
async def test_a_fault_does_what_the_owner_says(script, code):
    seconds = 1.0 if code == "hook-timeout" else 60.0
    declined = await ask(script(FAULTS[code], timeout=seconds))
    assert (declined.bid, codes(declined)) == (False, [code])
    assert declined.reasons[0].message.startswith("hook hook: ")
    accepted = await ask(script(FAULTS[code], timeout=seconds, on_error="accept"))
    assert accepted.bid
    assert [note.code for note in accepted.notes] == [code]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ('{"bid": true, "score": NaN}', "hook-bad-json"),
        ('{"bid": true, "score": Infinity}', "hook-bad-json"),
        ('{"bid": true, "score": 1e999}', "hook-bad-json"),
        ('{"bid": true', "hook-bad-json"),
        ('{"bid": true, "bid": false}', "hook-bad-json"),
        ('["bid"]', "hook-bad-json"),
        ("true", "hook-bad-json"),
        ("[" * 60_000, "hook-bad-json"),
        ("{}", "hook-bad-answer"),
        ('{"bidd": false}', "hook-bad-answer"),
        ('{"bid": "false"}', "hook-bad-answer"),
        ('{"bid": null}', "hook-bad-answer"),
        ('{"bid": true, "shouldBid": false}', "hook-bad-answer"),
        ('{"bid": true, "Bid": false}', "hook-bad-answer"),
        ('{"bid": true, "score": -1}', "hook-bad-answer"),
        ('{"bid": true, "score": "90"}', "hook-bad-answer"),
        ('{"bid": true, "score": true}', "hook-bad-answer"),
        ('{"bid": true, "cost": -3}', "hook-bad-answer"),
        ('{"bid": true, "ttl": "soon"}', "hook-bad-answer"),
        ('{"bid": true, "ttl": 0}', "hook-bad-answer"),
        ('{"bid": true, "reason": 7}', "hook-bad-answer"),
    ],
)
async def test_an_answer_that_is_not_clear_is_a_fault(script, tmp_path, answer, code):
    (tmp_path / "answer").write_text(answer)
    assert codes(await ask(script(f"cat {tmp_path}/answer"))) == [code]


async def test_bytes_that_are_no_text_are_a_fault(script):
    assert codes(await ask(script("printf '\\377\\376'"))) == ["hook-bad-json"]


@pytest.mark.parametrize("stream", ["", ">&2"])
async def test_a_flood_does_not_grow_the_agent(script, stream):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    opinion = await ask(script(f"head -c 300000000 /dev/zero {stream}; exit 1"))
    assert codes(opinion) == ["hook-flood"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024


async def test_a_hang_ends_at_the_deadline(script):
    async with asyncio.timeout(60):
        assert codes(await ask(script("trap '' TERM INT; while :; do sleep 1; done", timeout=0.5))) == ["hook-timeout"]


# --- nobody is left behind ------------------------------------------------------------------------

LEFTOVERS = {
    "a child in the background": "sleep 300 & echo $! > {pid}",
    "a child in its own session": "setsid sh -c 'echo $$ > {pid}; exec sleep 300' & until [ -s {pid} ]; do :; done",
    "a daemon that let go of its pipes": (
        "setsid sh -c 'echo $$ > {pid}; exec sleep 300' < /dev/null > /dev/null 2>&1 & until [ -s {pid} ]; do :; done"
    ),
}


@pytest.mark.parametrize("ending", ["exit 0", "exit 1"])
@pytest.mark.parametrize("kind", LEFTOVERS)
async def test_nothing_of_a_hook_outlives_its_answer(script, tmp_path, kind, ending):
    pid_file = tmp_path / "pid"
    opinion = await ask(script(LEFTOVERS[kind].format(pid=pid_file) + f"\n{ending}"))
    assert opinion.bid == (ending == "exit 0")
    assert not alive(int(pid_file.read_text()))


FORKS_ON = """
import os, sys, time
os.setsid() if os.getpid() != os.getsid(0) else None
for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        open(sys.argv[1], "a").write(f"{os.getpid()}\\n")
        time.sleep(300)
        os._exit(0)
time.sleep(300)
"""


async def test_all_of_a_hook_that_is_over_its_time_is_ended_also_what_forks_on(script, tmp_path):
    """All at once, so that each has the time to begin on a busy machine."""
    files = {kind: tmp_path / f"pid-{place}" for place, kind in enumerate(LEFTOVERS)}
    hooks = [
        script(LEFTOVERS[kind].format(pid=file) + "\nsleep 300", name=file.name, timeout=8.0)
        for kind, file in files.items()
    ]
    pids = tmp_path / "pids"
    hooks.append(script(FORKS_ON, name="forks", interpreter="/usr/bin/env python3", args=[str(pids)], timeout=8.0))
    opinions = await asyncio.gather(*map(ask, hooks))
    assert [codes(opinion) for opinion in opinions] == [["hook-timeout"]] * 4
    started = [int(line) for file in (*files.values(), pids) for line in file.read_text().split()]
    assert len(started) == len(files) + 20
    assert not [pid for pid in started if alive(pid)]


async def test_a_decision_that_is_cancelled_leaves_nobody(script, tmp_path):
    pid_file = tmp_path / "pid"
    hook = script(LEFTOVERS["a daemon that let go of its pipes"].format(pid=pid_file) + "\nsleep 300")
    task = asyncio.ensure_future(ask(hook))
    async with asyncio.timeout(60):
        while not (pid_file.exists() and pid_file.read_text().strip()):
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(60):
        while alive(int(pid_file.read_text())):
            await asyncio.sleep(0.01)


async def test_descriptors_are_given_back(script):
    hook = script("exit 0")
    await ask(hook)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(20):
        await ask(hook)
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


# --- which files are run --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o757, 0o775, 0o777])
async def test_a_file_that_others_may_change_is_not_run(script, tmp_path, mode):
    ran = tmp_path / "ran"
    opinion = await ask(script(f"touch {ran}", mode=mode))
    assert codes(opinion) == ["hook-unsafe-file"]
    assert "chmod go-w" in opinion.reasons[0].hint
    assert not ran.exists()


async def test_a_link_is_followed_and_its_target_checked(script, tmp_path):
    good, bad = script("exit 0", name="good"), script("exit 0", name="bad", mode=0o777)
    for target in (good, bad):
        (tmp_path / f"link-{target.name}").symlink_to(target.exec[0])
    assert (await ask(HookSettings(name="a", exec=[f"{tmp_path}/link-good"]))).bid
    assert codes(await ask(HookSettings(name="b", exec=[f"{tmp_path}/link-bad"]))) == ["hook-unsafe-file"]


async def test_a_file_of_somebody_else_is_not_run(script):
    hook = script("exit 0")
    os.chown(hook.exec[0], 65534, 65534)
    assert codes(await ask(hook)) == ["hook-unsafe-file"]


async def test_a_folder_in_which_others_may_rename_is_not_trusted(script, tmp_path):
    hook = script("exit 0")
    tmp_path.chmod(0o777)
    assert codes(await ask(hook)) == ["hook-unsafe-file"]
    tmp_path.chmod(0o1777)
    assert (await ask(hook)).bid


@pytest.mark.parametrize(("group", "trusted"), [(0, True), (65534, False)])
async def test_a_group_that_may_rename_in_the_folder_must_be_roots_or_ours(script, tmp_path, group, trusted):
    hook = script("exit 0")
    os.chown(tmp_path, 0, group)
    tmp_path.chmod(0o775)
    opinion = await ask(hook)
    assert (opinion.bid, codes(opinion)) == (trusted, [] if trusted else ["hook-unsafe-file"])


async def test_what_cannot_be_started_says_so(script, tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    no_interpreter = script("exit 0", name="odd", interpreter="/nope/sh")
    plain_file = script("exit 0", name="plain", mode=0o644)
    words = tmp_path / "words"
    words.write_text("no interpreter line")
    words.chmod(0o755)
    hooks = [HookSettings(name="x", exec=[str(path)]) for path in (tmp_path / "missing", tmp_path, loop, words)]
    for hook in (*hooks, no_interpreter, plain_file):
        opinion = await ask(hook)
        assert codes(opinion) == ["hook-not-startable"], hook
        assert hook.exec[0] in opinion.reasons[0].message + opinion.reasons[0].hint


# --- several hooks --------------------------------------------------------------------------------


async def test_hooks_run_in_order_and_the_first_no_ends_it(script, tmp_path):
    trace = tmp_path / "trace"
    opinion = await ask(
        script(f"echo a >> {trace}", name="a"),
        script(f"echo b >> {trace}; exit 1", name="b"),
        script(f"echo c >> {trace}", name="c"),
    )
    assert not opinion.bid
    assert trace.read_text().split() == ["a", "b"]


async def test_several_opinions_give_the_careful_numbers(script):
    opinion = await ask(
        script("""echo '{"bid": true, "score": 80, "cost": 1, "ttl": "1m"}'""", name="a"),
        script("""echo '{"score": 20.5, "cost": 2.5, "ttl": 45}'""", name="b"),
    )
    assert (opinion.score, opinion.cost, opinion.ttl) == (20.5, 3.5, 45.0)


async def test_at_most_four_run_at_a_time(script, tmp_path):
    pipe = tmp_path / "gate"
    os.mkfifo(pipe)
    hook = script(f"touch {tmp_path}/at-$$; cat {pipe} > /dev/null", timeout=300.0)
    hooks = Hooks([hook], post=ask_child)
    decisions = [asyncio.ensure_future(hooks.ask(b"{}", node_id="n", job_id=f"j-{n}")) for n in range(6)]
    async with asyncio.timeout(60):
        while len(list(tmp_path.glob("at-*"))) < 4:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)  # room for a fifth to show itself, if there were one
    assert len(list(tmp_path.glob("at-*"))) == 4
    gate = os.open(pipe, os.O_RDWR)
    while not all(decision.done() for decision in decisions):
        # Each hook ends when the last writer closes; open and close until all have been through.
        os.close(gate)
        await asyncio.sleep(0.02)
        gate = os.open(pipe, os.O_RDWR)
    os.close(gate)
    assert all(decision.result().bid for decision in decisions)


async def test_a_queue_behind_hanging_hooks_ends_in_its_own_fault(script):
    hooks = Hooks([script("sleep 60", timeout=1.0)], post=ask_child)
    opinions = await asyncio.gather(*(hooks.ask(b"{}", node_id="n", job_id=f"j-{n}") for n in range(12)))
    found = {reason.code for opinion in opinions for reason in opinion.reasons}
    assert found == {"hook-timeout", "hook-busy"}

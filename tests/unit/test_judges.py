"""The node's checks on a job, as tables: what is refused, by which code, in which words."""

import dataclasses

import pytest

from agent.bidding.facts import Plugins, gather
from agent.bidding.judges import Rules, judge
from agent.bidding.room import room_reasons
from agent.executors.base import EngineFacts
from agent.inputs.base import Estimate
from agent.settings.config import AgentConfig, BiddingSettings, EngineSettings, EnvSettings
from tests.support.bidding import GB, MB, facts, job, local_input, node, room, unknown_input
from wire.failures import Reason
from wire.jobs.job import Constraint, Engine, InputSource, Job, Source, Task
from wire.jobs.job import Publisher as PublisherSpec
from wire.resources import Resources
from wire.states import NodeState

NO = Reason("image-absent", "the image is not here")


def rules(**bidding):
    return Rules(BiddingSettings(**bidding), env_allow=("AWS_*", "SITE"))


def test_a_job_that_fits_gets_no_reason_against_it():
    assert judge(facts(), room(), rules()) == []


PODMAN = {"podman": EngineFacts(available=True, detail={"domains": "enforced"})}
DOCKER = node(engines=PODMAN)
CASES = {
    "a draining node": (facts(the_node=node(state=NodeState.DRAINING)), {}, "draining", "it is draining"),
    "a node under repair": (
        facts(the_node=node(state=NodeState.MAINTENANCE)),
        {},
        "maintenance",
        "it is maintenance",
    ),
    "an engine that nobody has": (facts(job(engine="qemu")), {}, "engine", "needs the engine qemu, this node has wasm"),
    "an engine that is away now": (facts(job(engine="docker")), {}, "engine", "cannot be used now: no socket"),
    "no engine at all": (facts(the_node=node(engines={})), {}, "engine", "this node has none"),
    "what the engine refuses": (facts(engine_refusals=(NO,)), {}, "image-absent", "the image is not here"),
    "a publisher that is not here": (facts(job(publisher="s3")), {}, "publisher", "needs the publisher s3"),
    "what the publisher refuses": (
        facts(job(publisher="Local"), publisher_refusals=(Reason("no-key", "there is no key"),)),
        {},
        "no-key",
        "there is no key",
    ),
    "an input source that is not here": (facts(inputs=(unknown_input(),)), {}, "input", "needs the input source ipfs"),
    "a local path that is not listed": (
        facts(inputs=(local_input(refusals=[Reason("path-not-allowed", "/etc is not in the list")]),)),
        {},
        "path-not-allowed",
        "/etc is not in the list",
    ),
    "a label that differs": (
        facts(job(constraints=[Constraint("region", "=", ["us"])])),
        {},
        "label",
        "needs region = us, has eu",
    ),
    "a label that is missing": (
        facts(job(constraints=[Constraint("gpu", "exists")])),
        {},
        "label",
        "needs gpu, has no label gpu",
    ),
    "a network where none is wanted": (
        facts(job(network="Host")),
        {"reject_networked": True},
        "network",
        "asks for Host",
    ),
    "a filtered network where none is wanted": (
        facts(job(network="HTTP")),
        {"reject_networked": True},
        "network",
        "asks for HTTP",
    ),
    "a list of domains that nobody here can hold a container to": (
        facts(
            job(engine="docker", network="HTTP"),
            node(engines={"podman": EngineFacts(available=True, detail={"domains": "h11 is not installed"})}),
        ),
        {},
        "network-unenforced",
        "this node cannot hold a container to a list of domains: h11 is not installed",
    ),
    "a program that has no sockets": (facts(job(network="Full")), {}, "network", "the engine wasm has no network"),
    "domains for a program that has no sockets": (
        facts(job(network="HTTP")),
        {},
        "network",
        "the engine wasm has no network of type HTTP, a WASI program has no sockets",
    ),
    "ports of a program that has no sockets": (facts(job(ports=[8080])), {}, "network", "ports need a network"),
    "a disk that is full": (facts(the_node=node(health={"disk": "fail"})), {}, "no-disk", "nearly full"),
    "a job without inputs": (facts(), {"reject_stateless": True}, "stateless", "only jobs with inputs"),
    "data that is elsewhere": (
        facts(inputs=(local_input(), local_input(local=False))),
        {"locality": "local"},
        "locality",
        "the input data is not on this node",
    ),
    "a variable that is not given away": (
        facts(job(env={"KEY": "env:MY_AWS"}), node(environment={"MY_AWS": "x"})),
        {},
        "env-not-allowed",
        "does not give its variable MY_AWS",
    ),
    "a variable whose end is not covered": (
        facts(job(env={"KEY": "env:SITE\n"}), node(environment={"SITE2": "x"})),
        {},
        "env-not-allowed",
        "does not give its variable SITE",
    ),
    "a variable that does not exist": (
        facts(job(env={"KEY": "env:AWS_KEY"})),
        {},
        "env-missing",
        "no variable AWS_KEY",
    ),
    "a port in use": (
        facts(job(engine="docker", ports=[8080]), node(engines=PODMAN, ports=frozenset({8080}))),
        {},
        "port",
        "port 8080 is in use",
    ),
}


@pytest.mark.parametrize("network", ["Default", "None", "Bridge", "Full", "HTTP"])
def test_a_container_gets_its_network(network):
    assert judge(facts(job(engine="docker", network=network), DOCKER), room(), rules()) == []


NEW, OLD = (
    EngineFacts(available=True, version=v, detail={"cdi": cdi}) for v, cdi in (("5.2.0", "yes"), ("3.4.4", "no"))
)
GPU_CASES = {
    "wasm": (job(), NEW, ("a/gpu=0",), "the engine wasm has no way to a GPU"),
    "a podman that is too old": (job(engine="docker"), OLD, ("a/gpu=0",), "Podman 3.4.4 of this node cannot hand"),
    "no description": (job(engine="docker"), NEW, (), "needs 1 GPU, 0 of this node's 1 have a CDI description"),
}


@pytest.mark.parametrize(("asks", "podman", "devices", "says"), GPU_CASES.values(), ids=GPU_CASES)
def test_a_gpu_that_cannot_be_handed_out_is_refused_unless_the_owner_allows_it(asks, podman, devices, says):
    engines = {"wasm": EngineFacts(available=True), "podman": podman}
    here = dataclasses.replace(node(engines=engines), devices=devices)
    wanted = facts(asks, here, needed=Resources(cpu=1, gpu=1))
    have = Resources(cpu=4, memory=8 * GB, disk=100 * GB, gpu=1)
    with_one = room(total=have, per_job=have, free=have)
    (reason,) = judge(wanted, with_one, rules())
    assert (reason.code, reason.retryable) == ("gpu", False)
    assert says in reason.message
    assert judge(wanted, with_one, Rules(allow_unenforced=True)) == []


def test_a_container_gets_a_gpu_that_has_a_description():
    here = dataclasses.replace(node(engines={"podman": NEW}), devices=("a/gpu=0",))
    have = Resources(cpu=4, memory=8 * GB, disk=100 * GB, gpu=1)
    wanted = facts(job(engine="podman"), here, needed=Resources(cpu=1, gpu=1))
    assert judge(wanted, room(total=have, per_job=have, free=have), rules()) == []


OWN_WORDS = {"image-absent", "no-key", "path-not-allowed"}
"""Reasons that the test itself has made up for a plug-in."""


@pytest.mark.parametrize("case", CASES)
def test_each_refusal_has_its_code_its_sentence_and_its_hint(case):
    given, bidding, code, says = CASES[case]
    reasons = judge(given, room(), rules(**bidding))
    assert [reason.code for reason in reasons] == [code]
    assert says in reasons[0].message
    assert reasons[0].hint or code in OWN_WORDS


ALLOWED = {
    "a publisher of nothing": (facts(job(publisher="noop")), {}),
    "a wish that is not met": (facts(job(constraints=[Constraint("favour_region", "=", ["us"])])), {}),
    "the default network": (facts(job(network="Default")), {"reject_networked": True}),
    "no network": (facts(job(network="None")), {"reject_networked": True}),
    "a network where nobody minds": (facts(job(engine="docker", network="Host"), DOCKER), {}),
    "a job with inputs": (facts(job(inputs=[InputSource(Source("local"), target="/d")])), {"reject_stateless": True}),
    "data that is here": (facts(inputs=(local_input(),)), {"locality": "local"}),
    "data that is elsewhere, anywhere": (facts(inputs=(local_input(local=False),)), {}),
    "an allowed variable": (facts(job(env={"K": "env:AWS_KEY"}), node(environment={"AWS_KEY": "1"})), {}),
    "a literal that looks like one": (facts(job(env={"K": "environment:x"})), {}),
    "another port": (
        facts(job(engine="docker", ports=[8081]), node(engines=PODMAN, ports=frozenset({8080}))),
        {},
    ),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_these_are_not_refused(case):
    given, bidding = ALLOWED[case]
    assert judge(given, room(), rules(**bidding)) == []


@pytest.mark.parametrize("name", ["MY_AWS", "MY_AWS_KEY", "AWS", "SITE2", "XSITE", "aws_key"])
def test_a_glob_covers_whole_names_only(name):
    given = facts(job(env={"K": f"env:{name}"}), node(environment={name: "secret"}))
    reasons = judge(given, room(), rules())
    assert [reason.code for reason in reasons] == ["env-not-allowed"]
    assert "secret" not in str(reasons)


def test_all_reasons_are_collected_and_none_is_told_twice():
    bad = job(engine="qemu", publisher="s3", network="Host", constraints=[Constraint("a", "exists")], ports=[1])
    given = facts(
        bad,
        node(state=NodeState.DRAINING, ports=frozenset({1})),
        needed=Resources(cpu=3, memory=4 * GB, gpu=1),
        inputs=(unknown_input(), unknown_input()),
    )
    reasons = judge(given, room(slots=0), rules(reject_networked=True, reject_stateless=True))
    about_the_job = ["draining", "engine", "publisher", "network", "stateless", "label", "port", "input"]
    assert [reason.code for reason in reasons] == [*about_the_job, "cpu", "memory", "gpu", "busy"]


def test_an_engine_that_the_owner_switched_off_is_refused_by_any_of_its_names():
    config = AgentConfig(engines=EngineSettings(disabled=["Docker"]), env=EnvSettings(allow=["A"]))
    given = facts(job(engine="podman"), node(engines={"podman": EngineFacts(available=True)}))
    assert "switched off" in judge(given, room(), Rules.of(config))[0].message
    assert Rules.of(config).env_allow == ("A",)


ROOM_CASES = [
    (Resources(memory=4 * GB), {}, "memory", "needs 4.0 GB memory, largest this node gives a job is 1.9 GB", False),
    (Resources(cpu=2.5), {}, "cpu", "needs 2.5 CPU, largest this node gives a job is 2 CPU", False),
    (Resources(gpu=1), {}, "gpu", "needs 1 GPU, this node gives none", False),
    (Resources(disk=200 * GB), {}, "disk", "needs 200 GB disk, largest this node gives a job is 100 GB", False),
    (
        Resources(memory=3 * GB),
        {"per_job": Resources(cpu=9, memory=9 * GB), "total": Resources(cpu=9, memory=2 * GB)},
        "memory",
        "needs 3.0 GB memory, this node has 2.0 GB for jobs",
        False,
    ),
    (
        Resources(memory=500 * MB),
        {"free": Resources(cpu=1, memory=400 * MB)},
        "memory",
        "needs 500 MB memory, 400 MB is free on this node now",
        True,
    ),
    (Resources(), {"slots": 0}, "busy", "this node runs as many executions as it may", True),
]


@pytest.mark.parametrize(("needed", "changes", "code", "message", "retryable"), ROOM_CASES)
def test_what_does_not_fit_says_how_much_would(needed, changes, code, message, retryable):
    (reason,) = room_reasons(needed, room(**changes))
    assert (reason.code, reason.message, reason.retryable) == (code, message, retryable)
    assert reason.hint


# --- what the plug-ins say ------------------------------------------------------------------------


class Part:
    """An executor, source or publisher that answers what it was given, or raises it."""

    def __init__(self, answer):
        self.name, self.answer = "part", answer

    async def refusals(self, *_params):
        return self._say()

    async def estimate(self, _params):
        return self._say()

    def _say(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def wanting(*targets):
    sources = [InputSource(Source("urlDownload"), target=target) for target in targets]
    task = Task(engine=Engine("Docker"), publisher=PublisherSpec("S3"), input_sources=sources)
    return Job(type="batch", tasks=[task])


async def test_plug_ins_are_asked_by_their_canonical_names():
    plugins = Plugins({"podman": Part([NO])}, {"urldownload": Part(Estimate(size=7))}, {"s3": Part([NO])})
    found = await gather(wanting("/a", "/b"), Resources(cpu=1, disk=1), plugins)
    assert (found.engine_refusals, found.publisher_refusals) == ((NO,), (NO,))
    assert found.needed == Resources(cpu=1, memory=100 * 1024 * 1024, disk=15)


async def test_the_size_of_an_input_is_the_hubs_word_only_where_the_node_knows_none():
    plugins = Plugins({}, {"urldownload": Part(Estimate())}, {})
    found = await gather(wanting("/a", "/b"), Resources(cpu=1), plugins, input_sizes={"/a": 50, "/c": 9})
    assert found.needed.disk == 50
    here = Plugins({}, {"urldownload": Part(Estimate(local=True, size=7))}, {})
    assert (await gather(wanting("/a"), Resources(), here, input_sizes={"/a": 50})).needed.disk == 0


async def test_a_plug_in_that_breaks_refuses_instead_of_stopping_the_node():
    broken = Part(RuntimeError("boom"))
    found = await gather(
        wanting("/a"), Resources(), Plugins({"podman": broken}, {"urldownload": broken}, {"s3": broken})
    )
    assert [reason.code for reason in found.engine_refusals] == ["engine-failed"]
    assert [reason.code for reason in found.publisher_refusals] == ["publisher-failed"]
    assert found.inputs[0].estimate.refusals[0].message == "the input urlDownload failed: boom"


async def test_a_type_without_a_plug_in_is_left_to_the_judges():
    found = await gather(wanting("/a"), Resources(), Plugins({}, {}, {}))
    assert (found.engine_refusals, found.inputs[0].estimate) == ((), None)

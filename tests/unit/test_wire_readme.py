"""The protocol reference says what the code does: each row of its tables, each arrow of its diagrams."""

import importlib
import inspect
import re

import msgspec
import pytest

from agent.commands import SEQUENCES
from agent.replay import VERBS as REPLAYED
from agent.settings.config import PROFILES, SLEEPY, LinkSettings
from hub.broker.mosquitto import BrokerSettings, access_list
from tests.support.documents import ROOT, blocks, code, links, moves, section, table, text_of
from wire import messages, states
from wire.link import Options
from wire.topics import HUB_WRITES, ITEMISED, NODE_WRITES, Channel, Topics

TEXT = text_of("wire/README.md")
MESSAGES = {row["struct"].strip("`"): row for row in table(TEXT, "Messages")}


def size(text: str) -> int:
    number, unit = text.split()
    return int(number) * {"B": 1, "KiB": 1024}[unit]


def writer_of(channel: Channel) -> str:
    return "node" if channel in NODE_WRITES else "hub"


def test_the_topic_table_has_a_row_for_each_channel_and_says_its_topic():
    rows = {code(row["channel"])[0]: row for row in table(TEXT, "Topics")}
    assert set(rows) == {str(channel) for channel in Channel}
    for channel in Channel:
        row = rows[channel]
        pattern = Topics().pattern(channel, "{h}" if channel is Channel.HUB else "{n}").replace("tender/", "{r}/", 1)
        assert re.sub(r"\{(x|t|verb)\}", "+", code(row["topic"])[0]) == pattern
        will = ", will" if channel in {Channel.STATE, Channel.HUB} else ""
        assert row["writer"] == writer_of(channel) + will
    assert {Channel.HUB, *NODE_WRITES, *HUB_WRITES} == set(Channel)


def test_the_access_list_on_the_page_is_the_one_that_the_broker_gets(tmp_path):
    shown = [line for line in section(TEXT, "Topics").splitlines() if line.startswith("pattern ")]
    told: set[str] = set()
    for line in shown:
        start, _, rest = line.partition("{")
        told |= {re.sub(" +", " ", start + end) for end in (rest.rstrip("}").split(",") if rest else [""])}
    text = access_list(BrokerSettings(folder=tmp_path, hub_id="hub"))
    assert told == {line for line in text.splitlines() if line.startswith("pattern ")}


def test_the_message_table_has_a_row_for_each_message_and_no_other():
    assert {name: code(row["channel"])[0] for name, row in MESSAGES.items()} == {
        kind.__name__: str(channel) for channel, kind in messages.REGISTRY.items()
    }


@pytest.mark.parametrize("kind", messages.REGISTRY.values(), ids=lambda kind: kind.__name__)
def test_a_row_of_the_message_table_says_how_the_message_travels_and_all_its_fields(kind):
    row, policy = MESSAGES[kind.__name__], kind.policy
    assert row["writer"] == writer_of(policy.channel)
    assert row["QoS"] == str(policy.qos)
    assert row["retained"] == ("yes" if policy.retain else "no")
    assert row["expiry"] == ("–" if policy.expiry is None else f"{policy.expiry} s")
    assert size(row["cap"]) == policy.cap
    known = {name for name, _ in inspect.getmembers(messages, inspect.isclass)}
    assert {word for word in code(row["content"]) if word not in known} - {"want"} | {"ep"} == {
        field for field in kind.__struct_fields__ if field != "want"
    }


def test_the_table_of_parts_has_every_struct_with_its_fields_in_order():
    parts = {
        name: list(kind.__struct_fields__)
        for name, kind in inspect.getmembers(messages, inspect.isclass)
        if issubclass(kind, msgspec.Struct)
        and kind.__module__ == messages.__name__
        and not issubclass(kind, messages.Message)
        and kind is not messages.Policy
    }
    assert {code(row["struct"])[0]: code(row["fields"]) for row in table(TEXT, "Parts")} == parts


def test_the_table_of_verbs_has_what_nodes_and_hub_understand():
    rows = table(TEXT, "Verbs")
    told = {
        channel: {code(r["verb"])[0] for r in rows if code(r["channel"]) == [channel]} for channel in ("cmd", "rsp")
    }
    assert told["cmd"] == {*SEQUENCES, *REPLAYED, "blob", "logs", "purge"}
    from hub.inbox import Inbox

    assert told["rsp"] == set(re.findall(r'case "([a-z]+)"', inspect.getsource(Inbox._response)))


def test_the_envelope_table_adds_up():
    sizes = [row["bytes"] for row in table(TEXT, "Envelope")]
    assert sum(int(word) for word in sizes[:-1]) == importlib.import_module("wire.signing").OVERHEAD
    assert sizes[-1] == "rest"


@pytest.mark.parametrize(
    ("heading", "table_of_moves"),
    [("Execution", states.EXECUTION_MOVES), ("Job", states.JOB_MOVES), ("Tender", states.TENDER_MOVES)],
)
def test_each_state_diagram_has_exactly_the_moves_of_the_code(heading, table_of_moves):
    (diagram,) = blocks(section(TEXT, heading), "mermaid")
    expected = {(str(one), str(other)) for one, targets in table_of_moves.items() for other in targets}
    assert moves(diagram) == expected
    assert f"[*] --> {next(iter(table_of_moves))}" in diagram


def test_every_execution_state_is_explained_and_the_nodes_ones_are_marked():
    rows = {code(row["state"])[0]: row["set by"] for row in table(TEXT, "Execution")}
    assert set(rows) == {str(state) for state in states.ExecutionState}
    on_node = {state for state, by in rows.items() if by == "node"}
    assert {str(state) for state in states.LIVE_ON_NODE} < on_node
    assert on_node == set(importlib.import_module("agent.store.schema").ON_NODE) - {"declined", "lost_bid"}


def test_the_words_of_the_other_enumerations_are_listed():
    for row in table(TEXT, "Words"):
        (kind,) = code(row["kind"])
        assert code(row["words"]) == [str(word) for word in getattr(states, kind)]


def test_in_the_sequence_each_side_says_only_what_it_may_write():
    (diagram,) = blocks(section(TEXT, "The auction of one slot"), "mermaid")
    said = re.findall(r"^ *(\w)->>(\w): (\w+)$", diagram, re.MULTILINE)
    assert len(said) == diagram.count("->>")
    for sender, receiver, word in said:
        assert writer_of(Channel(word)) == ("hub" if sender == "H" else "node")
        assert "H" in {sender, receiver}
    assert {word for _, _, word in said} >= {str(c) for c in ITEMISED - {Channel.COMMAND, Channel.RESPONSE}}


@pytest.mark.parametrize("row", table(TEXT, "Numbers in the code"), ids=lambda row: row["name"])
def test_numbers_on_the_page_are_the_numbers_of_the_code(row):
    module, _, name = code(row["name"])[0].rpartition(".")
    assert getattr(importlib.import_module(module), name) == float(row["value"])


def test_the_session_table_has_the_options_of_the_link():
    rows = {row["item"]: row["node"] for row in table(TEXT, "Session")}
    fields = {field.name: field.default for field in msgspec.structs.fields(Options)}
    assert rows["session expiry"] == f"{fields['session_expiry']} s"
    assert rows["publishes in flight"] == str(fields["in_flight"])
    assert rows["will"].endswith(f"after {fields['will_delay']} s")
    assert [int(number) for number in re.findall(r"\d+", rows["keep alive"])] == [
        alive for alive, _ in PROFILES.values()
    ]
    assert list(PROFILES) == rows["keep alive"].split("(")[1].rstrip(")").split(", ")
    assert f"{LinkSettings(profile=SLEEPY, every=7 * 86_400).session_expiry} s" in rows["session of a sleepy node"]


def test_every_file_that_is_named_exists():
    files = [name for row in table(TEXT, "What lives here") for name in code(row["file"])]
    assert all((ROOT / "wire" / name).is_file() for name in files)
    assert all((ROOT / "wire" / target).exists() for target in links(TEXT))
    for name in re.findall(r"`((?:agent|hub|tui|wire|tests)/[\w/]+\.py)`", TEXT):
        assert (ROOT / name).is_file(), name

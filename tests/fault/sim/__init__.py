"""A deterministic simulation of one hub and its nodes: the real parts, a modelled broker and disk, virtual time.

What must hold, where it is looked for, and how it is known that the look can fail (`planted`: tests/fault/planted.py;
`checks`: tests/fault/test_checks.py):

| id | looked for | when | proof that it can fail |
| --- | --- | --- | --- |
| I1 a job that was accepted is kept and ends; results are not forgotten before the hub has them | watch.py, world.py, settle.py, checker.py | each commit, each ack, end | planted: ack before commit, auto-ack, retry after EIO |
| I2 at most one accepted result of a slot | watch.py, checker.py | each commit, end | checks; a unique index too |
| I3 one start for each attempt | checker.py | end | checks |
| I4 nothing is accepted that no node told | watch.py, settle.py, checker.py | each commit, end | planted: NORMAL sync |
| I5 numbers without gaps, acked is committed | watch.py, checker.py | each commit, end | planted: NORMAL sync |
| I6 accepted results are there, byte by byte | settle.py | end | planted: no folder fsync |
| I7 only allowed moves, ends stay | watch.py, checker.py | each commit, end | planted: no dedupe |
| I8 never more promised than there is, no hold is left | world.py, settle.py | each commit, end | planted: hold leak |
| I9 any order, some twice: the same end | orders.py | three orders of a seed, a hundred in the long run | checks |
| I10 all agree after the last fault; `want` is the whole set | settle.py, world.py | end, each `want` | planted: want delta instead of set |
| I11 what is stopped stays stopped, what is forgotten stays so | watch.py | each commit | planted: no dedupe |
| I12 tasks, tables and databases are bounded, and an idle process is as it was | probes.py | tasks every 20 s, tables every 50 commits, end | checks; memory and files of real processes: tests/bench |
| I13 nothing is taken that was not given to this node | watch.py, checker.py | each commit, end | forged documents: tests/integration/test_agent_trust.py |
| I14 presence is true after two and a half intervals and has an age; no epoch is believed late | probes.py, watch.py | every 20 s, each commit | checks; planted: stale will applied |
| I15 no clock decides | machines.py, chaos of clocks | each end of work | planted: wall-clock deadline |
| I16 no secret in messages, databases, logs | world.py, story.py (logs: one seed in five) | each message, end, each record | checks; the bundle of the doctor: tests/unit/test_bundle.py |
| I17 no file is trusted without its sync or row | files.py, settle.py | each power cut, end | planted: no folder fsync; real file systems: tests/fault/power.py |
| I18 an orderly stop leaves nothing to recover | quiet.py | end of each story | checks |
| I19 nothing waits for what can be lost | settle.py; tests/fault/test_goals.py drops each class of messages whole | end | planted: want delta instead of set |
| I20 without faults nobody warns | quiet.py | hours without faults | checks |
"""  # noqa: E501  a table

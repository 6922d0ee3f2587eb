"""States and their moves, as tables and under random walks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.states import (
    EXECUTION_MOVES,
    JOB_MOVES,
    LIVE_ON_NODE,
    TENDER_MOVES,
    TERMINAL_EXECUTIONS,
    TERMINAL_JOBS,
    ExecutionState,
    JobState,
    TenderState,
    may_move,
)


@pytest.mark.parametrize(
    ("states", "moves"),
    [(ExecutionState, EXECUTION_MOVES), (JobState, JOB_MOVES), (TenderState, TENDER_MOVES)],
)
def test_every_state_has_a_row_and_every_state_can_end(states, moves):
    assert set(moves) == set(states)
    ends = {state for state in moves if not moves[state]}
    for state in moves:
        seen, todo = {state}, [state]
        while todo:
            for target in moves[todo.pop()] - seen:
                seen.add(target)
                todo.append(target)
        assert seen & ends, f"{state} can never end"
        assert state not in moves[state]


@given(st.lists(st.sampled_from(ExecutionState), max_size=30))
def test_no_walk_leaves_a_terminal_state(walk):
    state = ExecutionState.INVITED
    ended = None
    for to in walk:
        if may_move(state, to):
            assert ended in {None, ExecutionState.LOST}
            state = to
            ended = state if state in TERMINAL_EXECUTIONS else None


def test_the_sets_of_states_are_what_the_words_say():
    assert {JobState.COMPLETED, JobState.FAILED, JobState.STOPPED} == TERMINAL_JOBS
    assert not LIVE_ON_NODE & TERMINAL_EXECUTIONS
    for state in LIVE_ON_NODE:
        assert may_move(state, ExecutionState.UNKNOWN)
        assert may_move(ExecutionState.UNKNOWN, state)

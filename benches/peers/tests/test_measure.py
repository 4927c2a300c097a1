import pytest
from fakes import FakeSystem

from peers.measure import measure

A, B, C = "sllm-ort-sllm", "ctranslate2-opt", "pytorch-sllm"


def run(*systems, rounds=2):
    said: list[str] = []
    outcomes = measure(systems, rounds, pause_seconds=0.0, say=said.append)
    return outcomes, said


def test_systems_take_turns():
    journal: list[str] = []
    outcomes, said = run(FakeSystem(A, journal), FakeSystem(B, journal))
    assert journal == [
        f"{A} start",
        f"{B} start",
        f"{A} turn 1",
        f"{B} turn 1",
        f"{A} turn 2",
        f"{B} turn 2",
        f"{A} close",
        f"{B} close",
    ]
    assert [len(outcome.rounds) for outcome in outcomes] == [2, 2]
    assert outcomes[0].summary.output_tokens_per_second.median == 1.5
    assert said[-1] == f"round 2 of 2: {B}: output 2.0, input 20 tokens/s"


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_a_system_that_fails_is_left_out_and_the_others_go_on(moment):
    journal: list[str] = []
    broken = FakeSystem(B, journal, fails=moment)
    outcomes, said = run(FakeSystem(A, journal), broken, FakeSystem(C, journal))
    assert [outcome.failure for outcome in outcomes] == [None, "it broke", None]
    assert [outcome.summary is None for outcome in outcomes] == [False, True, False]
    assert broken.turns == moment
    assert f"{B}: failed: it broke" in said
    assert journal[-3:] == [f"{A} close", f"{B} close", f"{C} close"]


def interrupt():
    raise KeyboardInterrupt


def test_all_are_closed_after_an_interruption(monkeypatch):
    journal: list[str] = []
    system = FakeSystem(A, journal)
    monkeypatch.setattr(system, "turn", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(system, FakeSystem(B, journal))
    assert journal[-2:] == [f"{A} close", f"{B} close"]

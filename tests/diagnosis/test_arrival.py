"""Where a trace first reaches its answer: as a reader would mark it, and never at a chance mention."""

from drp.diagnosis.arrival import arrival
from drp.records import Trace
from drp.text.units import split_units


def reached(question: str, final: str, thinking: str) -> tuple[str | None, str | None]:
    trace = Trace(
        id="t", problem_id="p", question=question, gold=final, thinking=thinking, answer=f"\\boxed{{{final}}}", closed=True
    )  # fmt: skip
    units = split_units(thinking)
    found = arrival(trace, units)
    return (
        None if found.reached is None else units[found.reached].strip(),
        None if found.settled is None else units[found.settled].strip(),
    )


def test_the_first_sentence_that_arrives_counts_though_doubt_follows() -> None:
    thinking = (
        "First layer: 64 inches. 192 + 60 is 252. Wait, that seems a lot. Let me check. So the total is 252."
    )
    assert reached("How tall is it?", "252", thinking) == ("192 + 60 is 252.", "So the total is 252.")


def test_a_small_number_on_the_way_is_no_arrival() -> None:
    """4 apples cost 6 dollars, and the answer is 6 boxes: what follows works out something new."""
    thinking = "The apples cost 4 * 1.5 = 6. Then the rest is 50 - 6 = 44. And 51 / 8.5 = 6. Wait, let me double-check that."
    assert reached("How many boxes did Marie order?", "6", thinking)[0] == "And 51 / 8.5 = 6."


def test_an_operand_and_a_mention_are_no_arrival() -> None:
    assert reached("Compute 9!/8!.", "9", "So 9! is just 9 times 8!. Then 8! cancels.")[0] is None
    names = "There are three students: Evelyn, Briana, and Carla. Therefore, the fastest student is Evelyn."
    who = "Which student is fastest: Evelyn, Briana or Carla?"
    assert reached(who, "Evelyn", names)[0] == "Therefore, the fastest student is Evelyn."


def test_thinking_that_never_closed_is_read_by_the_gold_answer() -> None:
    trace = Trace(
        id="t", problem_id="p", question="What is 40 * 13?", gold="520", thinking="So 40 * 13 = 520. Wait. Wait.",
        answer="", closed=False,
    )  # fmt: skip
    assert arrival(trace, split_units(trace.thinking)).reached == 0
    assert arrival(trace.model_copy(update={"gold": ""}), ["So 40 * 13 = 520."]).reached is None

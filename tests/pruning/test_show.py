from drp.pruning.show import marked, refusals
from drp.records import Check, PrunedTrace
from drp.text.units import split_units
from tests.pruning.scripts import pruned


def test_seams_and_new_text_are_marked() -> None:
    units = split_units("One is here. Two and three go.\n\nFour is said anew.\n\nFive stays.")
    text = marked(units, pruned(units, 1, texts={2: "Four."}))
    assert text == "One is here.⟦−4 words: test⟧\n\n⟦+Four.⟧\n\nFive stays."
    assert marked(units, pruned(units, 0, 3, texts={})) == (
        "⟦−3 words: test⟧Two and three go.\n\nFour is said anew.⟦−2 words: test⟧"
    )


def refused(identity: str, *failed: str, waived: str = "") -> PrunedTrace:
    checks = [Check(name=name, passed=False) for name in failed]
    checks += [Check(name=waived, passed=False, required=False)] if waived else []
    return PrunedTrace(
        id=identity, problem_id="p", question="q", gold="1", teacher="t", original_thinking="One.", original_answer="1",
        thinking="One.", answer="1", script=pruned(["One."]), checks=tuple(checks), accepted=not failed,
        tokens_before=1, tokens_after=1,
    )  # fmt: skip


def test_refusals_are_told_by_the_check_that_failed_first() -> None:
    """The reason on file is one string of names; what refused a trace is derived from its checks."""
    traces = [refused(str(i), "supported", "shorter") for i in range(4)]
    traces += [refused("a", "concluded"), refused("b"), refused("c", waived="shorter")]
    assert traces[0].failed == ("supported", "shorter") and traces[-1].failed == ()
    found = [(r.check, r.count, [t.id for t in r.examples]) for r in refusals(traces)]
    assert found == [("supported", 4, ["0", "1", "2"]), ("concluded", 1, ["a"])]

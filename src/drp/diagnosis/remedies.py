"""Free remedies read off the completions themselves: no model is run, so what each assumes is said beside it."""

from collections.abc import Callable, Sequence

import numpy as np

from drp.diagnosis.completion import Taken
from drp.diagnosis.figures import Figure, change_of
from drp.diagnosis.measure import mean, share
from drp.diagnosis.records import Remedy

QUANTILES = (0.25, 0.5, 0.75)
"""Token budgets that are looked at: so much of the thinking's lengths fits into them."""
NEEDS_MODEL = "not measured: it needs the model; name it with --model"


def read_off(taken: Sequence[Taken]) -> list[Remedy]:
    """Return what cutting after the conclusion and token budgets would save, and what is known of accuracy then."""
    thought = [t for t in taken if t.parts]
    if not thought:
        return []
    found = [_cut(taken, settled=False), _cut(taken, settled=True)]
    lengths = [t.thinking for t in thought]
    return [*found, *(_budget(taken, float(np.quantile(lengths, q)), q) for q in QUANTILES)]


def needing_a_model() -> list[Remedy]:
    """Return the remedies that only a model can measure, unmeasured."""
    names = ("early exit once it is sure", "no thinking")
    return [
        Remedy(name=n, kind="run", saved=None, accuracy=None, change=None, note=NEEDS_MODEL) for n in names
    ]


def _cut(taken: Sequence[Taken], *, settled: bool) -> Remedy:
    def left(t: Taken) -> float:
        unit = t.arrival.settled if settled else t.arrival.reached
        return t.until(unit) + t.answer

    name = "cut once the answer is settled" if settled else "cut once the answer is reached"
    return Remedy(
        name=name,
        kind="assumed",
        saved=share(taken, lambda t: t.tokens - left(t), lambda t: t.tokens),
        accuracy=_right(taken, lambda t: bool(t.trace.correct)),
        change=_change(taken, lambda t: bool(t.trace.correct), certain=True),
        note="assumes that the answer part stays what it is, so accuracy is unchanged by construction; and that "
        "something knows when to stop: an upper bound of early exit",
    )


def _budget(taken: Sequence[Taken], tokens: float, quantile: float) -> Remedy:
    def concluded(t: Taken) -> bool:
        return not t.parts or t.thinking <= tokens or t.until(t.arrival.reached) <= tokens

    def right(t: Taken) -> bool:
        return bool(t.trace.correct) and concluded(t)

    thought = [t for t in taken if t.parts]
    done = mean(thought, concluded)
    said = f"{100 * done.value:.0f} % have reached their answer by then; " if done else ""
    return Remedy(
        name=f"budget of {tokens:,.0f} tokens ({100 * quantile:.0f} % fit)",
        kind="assumed",
        saved=share(taken, lambda t: max(0.0, t.thinking - tokens), lambda t: t.tokens),
        accuracy=_right(taken, right),
        change=_change(taken, right),
        note=said + "assumes that these answer as they did, and that all others would be wrong",
    )


def _right(taken: Sequence[Taken], right: Callable[[Taken], bool]) -> Figure | None:
    return mean([t for t in taken if t.trace.correct is not None], right)


def _change(
    taken: Sequence[Taken], right: Callable[[Taken], bool], *, certain: bool = False
) -> Figure | None:
    graded = [t for t in taken if t.trace.correct is not None]
    changes = [float(right(t)) - float(bool(t.trace.correct)) for t in graded]
    return change_of([t.problem for t in graded], changes, certain=certain)

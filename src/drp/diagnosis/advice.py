"""What to make of a diagnosis, in plain words, and the next command."""

from typing import TypeGuard

from drp.diagnosis.figures import Figure
from drp.diagnosis.records import Conclusion, Remedy, Saving
from drp.reporting.text import bracket

MUCH, LITTLE = 0.2, 0.1
"""Shares from which thinking after the answer, or what pruning deletes, is worth the trouble, and below which it is not."""
OFTEN = 0.02


def percent(figure: Figure) -> str:
    """Return a share with its interval, as in "31 % [28, 34]"."""
    return f"{100 * figure.value:.0f} % {bracket(figure.interval, 100, 0)}"


def advice(
    conclusion: Conclusion,
    saving: Saving | None,
    unclosed: Figure | None,
    looping: Figure | None,
    cut: Figure | None,
    remedies: tuple[Remedy, ...],
) -> tuple[str, ...]:
    """Return the lines that a reader should leave with."""
    found: list[str] = []
    if conclusion.after:
        found.append(_afterwards(conclusion))
    if saving and saving.deleted and saving.accepted and saving.overall:
        found.append(
            f"Pruning by rules deletes {percent(saving.deleted)} of the tokens of the {round(saving.accepted.value * saving.tried)} "
            f"of {saving.tried} completions whose pruned trace passes every check; over all of them that is "
            f"{percent(saving.overall)}. Trained on these, a student learns to write less; how much less, only a run tells."
        )
    elif saving is None:
        found.append(
            "There is no right, closed completion with thinking to prune, so nothing can be said of what that saves."
        )
    if conclusion.lost and conclusion.lost.value >= MUCH and conclusion.lost.n >= 5:
        found.append(
            f"{percent(conclusion.lost)} of the {conclusion.lost.n} wrong completions reach the right answer on the way "
            "and leave it: thinking longer does harm there."
        )
    found += _endings(unclosed, looping, cut)
    best = _best(remedies)
    return (*found, best) if best else tuple(found)


def _afterwards(conclusion: Conclusion) -> str:
    after = conclusion.after
    if after is None:
        return ""
    said = f"{percent(after)} of the thinking comes after the answer is first reached"
    if conclusion.after_settled:
        said += f" ({100 * conclusion.after_settled.value:.0f} % after it is settled)"
    surely = after if conclusion.after_settled is None else conclusion.after_settled
    if surely.value >= MUCH:
        return f"{said}: there is much to save."
    return f"{said}: there is little to save." if after.value < LITTLE else f"{said}."


def _endings(unclosed: Figure | None, looping: Figure | None, cut: Figure | None) -> list[str]:
    found: list[str] = []
    if _often(unclosed):
        why = f"; {percent(cut)} are cut off by the token limit" if _often(cut) else ""
        found.append(
            f"{percent(unclosed)} never close their thinking{why}: raise max_new_tokens, or look at the loops first."
        )
    if _often(looping):
        found.append(
            f"{percent(looping)} end in a loop: sample at temperature 0.6 rather than greedily, and prune, which "
            "trains the model on traces that end."
        )
    return found


def _often(figure: Figure | None) -> TypeGuard[Figure]:
    """Return whether it happens often, and more than once."""
    return figure is not None and figure.value >= OFTEN and figure.value * figure.n >= 2


def _best(remedies: tuple[Remedy, ...]) -> str:
    """Return the remedy that was run with the model and saves most without a loss that shows."""
    ran = [r for r in remedies if r.kind == "run" and r.saved and r.change]
    free = [r for r in ran if r.change and r.change.value >= -0.01 and r.saved and r.saved.value > 0]
    if not ran:
        return ""
    if not free:
        return "None of the free remedies that were run keeps accuracy within a point on these problems."
    best = max(free, key=lambda r: r.saved.value if r.saved else 0.0)
    if best.saved is None or best.change is None:
        return ""
    low = best.change.interval.low
    hidden = f" So few problems could hide a loss of {-100 * low:.0f} points." if low < -0.015 else ""
    return (
        f"Of the free remedies that were run, “{best.name}” saves most without losing a point: {percent(best.saved)} of the "
        f"tokens at {100 * best.change.value:+.1f} points {bracket(best.change.interval, 100)}.{hidden}"
    )

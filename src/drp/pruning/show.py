"""A pruned trace as text for people: what stands there, with the seams marked and what went summed up."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from drp.pruning.apply import pieces
from drp.records import EditScript, PrunedTrace


def marked(units: Sequence[str], script: EditScript) -> str:
    """Return the pruned thinking with a mark where something was deleted, and around what was written anew.

    ``⟦−12 words: verifies again⟧`` stands where units went, before the white space of the seam, and ``⟦+…⟧`` around a rewrite
    or merge.

    Raises:
        EditScriptError: The script is for another number of units.
    """
    made = {piece.edit.first: piece.text for piece in pieces(units, script)}
    parts: list[str] = []
    for edit in script.edits:
        text = made.get(edit.first)
        if edit.action == "delete" or text is None:
            gone = len("".join(units[edit.first : edit.last + 1]).split())
            mark = f"⟦−{gone} word{'s' if gone != 1 else ''}: {edit.reason or 'blank'}⟧"
            space = parts.pop() if parts and parts[-1].isspace() else ""
            parts += [mark, space]
            continue
        body = text.rstrip()
        parts += [f"⟦+{body}⟧" if edit.text is not None else body, text[len(body) :]]
    return "".join(parts).strip()


@dataclass(frozen=True)
class Refusals:
    """What one check refused."""

    check: str
    count: int
    """Traces that failed it before any other."""
    examples: tuple[PrunedTrace, ...]


def refusals(pruned: Iterable[PrunedTrace], most: int = 3) -> list[Refusals]:
    """Return the refused traces by the check that each failed first, the commonest first, with so many examples each."""
    counts, examples = Counter[str](), defaultdict[str, list[PrunedTrace]](list)
    for trace in pruned:  # which may be a stream: only the examples are held
        if trace.failed:
            counts[first := trace.failed[0]] += 1
            if len(examples[first]) < most:
                examples[first].append(trace)
    return [Refusals(check, count, tuple(examples[check])) for check, count in counts.most_common()]

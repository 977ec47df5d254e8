r"""Every reader of foreign text on hostile text: how its time grows with length.

    python perf/hostile_text.py [--chars 50000] [--limit-ms 5000] [--json FILE]

Each input is one piece repeated, `\boxed{`, `\(`, `1+`, spaces, quotes, with and without an end that spoils what stands before
it. Each reader gets it at n and at 4n characters. Its growth is the exponent g in time ~ n^g: 1 is linear, 2 quadratic. The
script fails where a reader takes longer than the limit at 4n, or grows like n^1.6 and takes more than a second. Readers of
single answers read at most 1,000 characters of any text, and get no more.
"""

import argparse
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from rich.console import Console

from drp.grading import forms
from drp.grading.grader import Grader
from drp.grading.units import dimensions
from drp.pruning.alignment import Group, Step, align_steps, fit_text, similarity
from drp.pruning.apply import apply_script
from drp.pruning.checks import Candidate, CheckLimits, run_checks, states
from drp.pruning.skills import CONFIRMATION, classify, is_filler, reflection_count
from drp.records import Edit, EditScript
from drp.reporting.terminal import print_table
from drp.reporting.text import Table
from drp.teachers.json_protocol import parse_json_reply
from drp.teachers.line_protocol import harmless, parse_reply, render_units, unescape
from drp.teachers.two_stage import parse_compression, parse_steps
from drp.text.answers import boxed, normalise, stated_answer
from drp.text.equations import evaluate, find_equations
from drp.text.loops import loop_period
from drp.text.numbers import numbers_in, parse_number
from drp.text.thinking import split_thinking
from drp.text.units import split_units

Reader = Callable[[str], object]


def _right(_answer: str, _gold: str) -> bool:
    return True


def _checks(text: str) -> object:
    units = split_units(text)
    script = EditScript(
        units=len(units),
        edits=(Edit(first=0, last=len(units) - 1, action="rewrite", skills=("other",), text=text[: len(text) // 2].strip() or "."),),
    )  # fmt: skip
    thinking = apply_script(units, script)
    candidate = Candidate(
        question=text,
        gold="5",
        units=units,
        original_answer=text,
        script=script,
        thinking=thinking,
        answer=text,
    )
    return run_checks(candidate, _right, CheckLimits())


def _deleted(text: str) -> object:
    units = ["First.", text, "Last."]
    edits = [Edit(first=i, last=i, action="delete" if i == 1 else "keep", skills=("other",), reason="x" if i == 1 else None) for i in range(3)]  # fmt: skip
    return apply_script(units, EditScript(units=3, edits=tuple(edits)))


def _fit(text: str) -> object:
    units = split_units(text)
    steps = tuple(Step(i, i, "other") for i in range(len(units)))
    align_steps(units, [(text[: len(text) // 2], "other"), (text[len(text) // 2 :], "other")])
    if not text.strip():
        return None
    return fit_text(units, [Group((step,), "keep") for step in steps], text[: len(text) // 2].strip() or "x")


def _fed(reader: Reader) -> Reader:
    """Feed a reader of single answers what it is ever given."""
    return lambda text: reader(text[-forms.LONGEST :])


_GRADER = Grader()
READERS: dict[str, Reader] = {
    "boxed": boxed, "stated_answer": stated_answer, "normalise": normalise, "split_units": split_units,
    "find_equations": find_equations, "evaluate": evaluate, "numbers_in": numbers_in, "parse_number": parse_number,
    "loop_period": loop_period, "split_thinking": lambda t: split_thinking(t, opened=True),
    "compare": lambda t: _GRADER.compare(t + "0" * forms.LONGEST, "5"),
    "number": _fed(forms.number), "unit": _fed(forms.unit), "dimensions": _fed(dimensions), "variable": _fed(forms.variable),
    "interval": _fed(forms.interval), "choice": _fed(lambda t: forms.choice(t, spelt_out=True)), "numeral": _fed(forms.numeral),
    "parts": _fed(forms.parts), "same_spelling": _fed(lambda t: forms.same_spelling(t, "5")),
    "run_checks": _checks, "states": lambda t: states(t, "\\frac{1}{2}"), "classify": classify, "is_filler": is_filler, "confirmation": CONFIRMATION.search,
    "reflection_count": reflection_count, "apply_script": _deleted, "fit_text": _fit, "similarity": lambda t: similarity(t, t[::2]),
    "render_units": lambda t: render_units([t, *split_units(t)]), "harmless": harmless, "unescape": unescape,
    "parse_reply": lambda t: parse_reply(t, 0, 400), "parse_json_reply": lambda t: parse_json_reply(t, 0, 400),
    "parse_steps": parse_steps, "parse_compression": lambda t: parse_compression(t, [Step(i, i, "other") for i in range(160)]),
}  # fmt: skip
"""Every public reader of text that a model, a teacher or a file wrote."""

PIECES = (
    "\\boxed{", "\\boxed{}", "\\boxed{\\boxed{1} ", "\\(", "\\[", "$", "$$", "$x", "$x ", "```", "\\begin{a}", "\\begin{a}\\end{b}",
    "\\end{a}", "1,111,", "1,111", "1+1+", "1 + ", "1=", "(", ")(", "{", "}", "<", "<|", "</think>", "a. ", "A. ", "7", "7 ", " ", "\t", "\n",
    " \n", "\f\n", "=", "= 1 ", "**", "**1 ", "*", "\\frac{", "\\frac 1 ", "\\text{", "\\text{a}", "Step 1:", "Step 1:\n", "Step 1: a\nSkill: b\n", "Skill: b\n",
    "Skill: b\n\n", "Steps 1-9: KEEP\n", "##", "## answer\n", "#### ", "#### a\n", "\"", "'", ".", "!", ". ", ".)", "。", "。”", "…", "? ", "hmm", "so ", "good ", "wait, ",
    "yes", "check ", "per ", "m ", "cm^2 ", "/ ", "~", "\\,", "\\ ", "- ", "1. ", "1 K x\n", "1 ", "A: ", "\\n", "{\"edits\":[", "[", "\"a\":", ",", "1, ", "x=", "x<", "or ", "\\le ",
    "answer is ", "The answer is 5. ", "final ", "the final answer: ", "^", "^ ", "_", "5! ", "word ", "Let me say 3: ", "3?\n", "1:\n",
)  # fmt: skip
ENDS = ("", "\n5 = x!", " 1")


def inputs(chars: int) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every hostile input of about so many characters."""
    for piece in PIECES:
        for end in ENDS:
            yield f"{piece!r} … {end!r}" if end else repr(piece), piece * (chars // len(piece)) + end
    yield "distinct environments", "".join(f"\\begin{{{_letters(i)}}}" for i in range(chars // 12))


def _letters(number: int) -> str:
    return "".join(chr(97 + number // 26**place % 26) for place in range(4))


class _TooLongError(Exception):
    """The limit has passed."""


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise _TooLongError


def seconds(reader: Reader, text: str, limit: float) -> float:
    """Return how many seconds of the processor a reader takes, which other programs do not lengthen; the limit at most."""
    signal.setitimer(signal.ITIMER_VIRTUAL, limit)
    started = time.process_time()
    try:
        reader(text)
    except _TooLongError:
        return limit
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return time.process_time() - started


def main() -> None:
    """Parse arguments, measure, print; end with status 1 where a reader is too slow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--chars", type=int, default=50_000, help="n; the longer inputs have 4n")
    parser.add_argument("--limit-ms", type=float, default=5_000)
    parser.add_argument("--reader", action="append", help="only this one")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    signal.signal(signal.SIGVTALRM, _stop)
    limit = args.limit_ms / 1000
    found: list[dict[str, object]] = []
    rows: list[tuple[str, ...]] = []
    slow = 0
    for name in args.reader or READERS:
        measured: list[tuple[float, float, float, str]] = []
        for (what, short), (_, long) in zip(inputs(args.chars), inputs(4 * args.chars), strict=True):
            one, four = seconds(READERS[name], short, limit), seconds(READERS[name], long, limit)
            growth = math.log(max(four, 1e-3) / max(one, 1e-3), 4)
            measured.append((four, one, growth, what))
            found.append(
                {"reader": name, "input": what, "ms_n": 1000 * one, "ms_4n": 1000 * four, "growth": growth}
            )
        bad = [m for m in measured if m[0] >= limit or (m[2] > 1.6 and m[0] > 1.0)]
        slow += len(bad)
        for four, one, growth, what in sorted(bad or [max(measured)], reverse=True)[:6]:
            rows.append(
                (
                    name,
                    what,
                    f"{1000 * one:,.1f}",
                    f"{1000 * four:,.1f}",
                    f"{growth:.2f}",
                    "slow" if bad else "",
                )
            )
    head = ("reader", "worst input", f"ms at {args.chars:,}", f"at {4 * args.chars:,}", "growth", "")
    note = f"{len(found):,} pairs of reader and input; {slow} slow. Shown is each reader's slowest input, or those that fail."
    print_table(Console(width=130), Table("Hostile text", head, tuple(rows), note))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    sys.exit(slow > 0)


if __name__ == "__main__":
    main()

"""Our grader and plain math-verify on real gold answers: in other notations, and against other problems' answers.

    python perf/grading_agreement.py PRM12K.jsonl [--count 12000] [--negatives 6000] [--json FILE]

Every gold answer is rewritten in each notation that applies to it; an equal answer must be accepted. Then each is held
against the gold answer of another problem, drawn at random among those spelt differently once mark-up is gone; nearly all of
these are different answers, and those that either grader accepts are listed, to be judged by hand. Plain math-verify boxes
both sides, gold first, which it needs to read them alike.
"""

import argparse
import json
import random
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.console import Console

from drp.benchmarks.files import read_problems
from drp.grading.forms import same_spelling
from drp.grading.grader import Grader
from drp.reporting.terminal import print_table
from drp.reporting.text import Table

_FRACTION = re.compile(r"(-?)\\d?frac\{(-?\d+)\}\{(\d+)\}")


def _decimal(text: str) -> str | None:
    match = _FRACTION.fullmatch(text)
    if not match:
        return None
    value = Fraction(int(match[2]), int(match[3])) * (-1 if match[1] else 1)
    below = value.denominator
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return None if below != 1 else f"{float(value):.12g}"


def _slash(text: str) -> str | None:
    match = _FRACTION.fullmatch(text)
    return f"{match[1]}{match[2]}/{match[3]}" if match else None


def _expanded(text: str) -> str | None:
    match = _FRACTION.fullmatch(text)
    return f"{match[1]}\\frac{{{3 * int(match[2])}}}{{{3 * int(match[3])}}}" if match else None


def _as_fraction(text: str) -> str | None:
    match = re.fullmatch(r"(-?)(\d+)\.(\d+)", text)
    if not match:
        return None
    value = Fraction(text)
    return f"{match[1]}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def _only_if(changed: str, text: str) -> str | None:
    return None if changed == text else changed


_WORDS = re.compile(r"[A-Za-z][A-Za-z ]+")
NOTATIONS: dict[str, Callable[[str], str | None]] = {
    "itself": lambda t: t,
    "\\dfrac": lambda t: _only_if(t.replace("\\frac", "\\dfrac"), t),
    "a/b": _slash,
    "fraction as decimal": _decimal,
    "decimal as fraction": _as_fraction,
    "unreduced fraction": _expanded,
    "$…$": lambda t: f"${t}$",
    "spaces round operators": lambda t: _only_if(re.sub(r"(?<=[\w})])([-+=])(?=[\w\\{(])", r" \1 ", t), t),
    "no spaces": lambda t: None if "\\" in t or re.search("[A-Za-z]", t) else _only_if(t.replace(" ", ""), t),
    "\\left( \\right)": lambda t: (
        _only_if(t.replace("(", "\\left(").replace(")", "\\right)"), t) if "\\left" not in t else None
    ),
    "no \\left \\right": lambda t: _only_if(re.sub(r"\\(?:left|right)(?![a-z])", "", t), t),
    "words as \\text": lambda t: f"\\text{{{t}}}" if _WORDS.fullmatch(t) else None,
    "\\text as words": lambda t: m[1] if (m := re.fullmatch(r"\\text\{([^{}\\]*)\}", t)) else None,
    "thousands separator": lambda t: f"{int(t):,}" if re.fullmatch(r"\d{4,}", t) else None,
    "idle .0": lambda t: f"{t}.0" if re.fullmatch(r"-?\d{1,6}", t) else None,
    "with \\$": lambda t: f"\\${t}" if re.fullmatch(r"\d+(?:\.\d\d)?", t) else None,
    "degree sign dropped": lambda t: _only_if(re.sub(r"\^\{?\\circ\}?$", "", t), t),
    "x = …": lambda t: f"x = {t}" if re.fullmatch(r"-?\d+(?:\.\d+)?|\\frac\{\d+\}\{\d+\}", t) else None,
    "full stop": lambda t: f"{t}.",
}


def main() -> None:
    """Parse arguments, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("problems", type=Path)
    parser.add_argument("--count", type=int, default=12_000)
    parser.add_argument("--negatives", type=int, default=6_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    import math_verify  # heavy: sympy

    library: Any = math_verify
    gold = [p.gold for p in read_problems(args.problems)][: args.count]
    distinct = sorted(set(gold))

    def plain(answer: str, wanted: str) -> bool:
        sides = [library.parse(f"\\boxed{{{t}}}", parsing_timeout=3) for t in (wanted, answer)]
        return bool(library.verify(*sides, timeout_seconds=3))

    rows: list[tuple[str, ...]] = []
    figures: dict[str, Any] = {"problems": len(gold), "distinct": len(distinct), "notations": {}}
    with Grader() as grader:
        for name, rewrite in NOTATIONS.items():
            pairs = [(new, g) for g in distinct if (new := rewrite(g)) is not None]
            ours = [grader.compare(a, g).correct for a, g in pairs]
            theirs = [plain(a, g) for a, g in pairs]
            found = {
                "pairs": len(pairs), "drp": sum(ours), "math_verify": sum(theirs),
                "drp_rejects": [p for p, ok in zip(pairs, ours, strict=True) if not ok][:40],
                "math_verify_rejects": [p for p, ok in zip(pairs, theirs, strict=True) if not ok][:40],
            }  # fmt: skip
            figures["notations"][name] = found
            rows.append((name, str(len(pairs)), _missed(ours), _missed(theirs)))
        rng = random.Random(0)
        others: list[tuple[str, str]] = []
        while len(others) < args.negatives:
            one, two = rng.choice(gold), rng.choice(gold)
            if not same_spelling(one, two):
                others.append((one, two))
        ours = [grader.compare(a, g).correct for a, g in others]
        theirs = [plain(a, g) for a, g in others]
    accepted = [
        {"answer": a, "gold": g, "drp": o, "math_verify": t}
        for (a, g), o, t in zip(others, ours, theirs, strict=True)
        if o or t
    ]
    figures["others"] = {
        "pairs": len(others), "drp": sum(ours), "math_verify": sum(theirs), "accepted": accepted,
    }  # fmt: skip
    head = ("notation", "answers", "rejected by drp", "by math-verify")
    note = f"{len(gold):,} problems, {len(distinct):,} distinct gold answers."
    print_table(
        Console(width=110),
        Table("Gold answers against themselves in other notations", head, tuple(rows), note),
    )
    print(
        f"Against {len(others):,} answers of other problems: accepted by drp {sum(ours)}, by math-verify {sum(theirs)}."
    )
    for pair in accepted[:40]:
        print(
            f"  {pair['answer']!r} for {pair['gold']!r}: drp {pair['drp']}, math-verify {pair['math_verify']}"
        )
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")


def _missed(verdicts: list[bool]) -> str:
    wrong = len(verdicts) - sum(verdicts)
    return f"{wrong} ({100 * wrong / max(1, len(verdicts)):.1f} %)"


if __name__ == "__main__":
    main()

"""A run whose models, problems and teacher wrote what would break a careless page."""

from pathlib import Path

from drp.records import Check, Edit, EditScript, Failure, PrunedTrace, Usage
from drp.text.units import split_units
from tests.reporting.folders import command, completions, evaluate

SCRIPT = "</script><script>window.ran = 1</script><img src=x onerror='window.ran = 2'>"
OVERRIDE = "abc \u202egnp.exe\u202c \u2066x\u2069 \u2028 \x00 end"
LINE = "x" * 1_000_000
"""Of the first trace; the others have a short one."""
UNITS = (
    f"So 3 * 24 = 72 {SCRIPT}.\n\n",
    "The area is $\\frac{1}{2} b h$, and it costs $5 or $6.\n\n",
    f"Let me check {OVERRIDE}.\n\n",
    "Hence \\(x^2\\) and $\\href{javascript:window.ran=3}{x}$.\n\n",
    "So the answer is 72.\n\n",
)


def pruned(number: int, *, accepted: bool = True, benchmark: str = "mini-gsm") -> PrunedTrace:
    """Return a trace with an edit of every action."""
    parts = (*UNITS, "x" * 100 if number else LINE)
    units = split_units("".join(parts))
    ends = [sum(len(split_units(u)) for u in parts[: n + 1]) - 1 for n in range(len(parts))]
    spans = list(zip([0, *(end + 1 for end in ends)], ends, strict=False))
    edits = (
        Edit(first=spans[0][0], last=spans[0][1], action="keep", skills=("arithmetic",)),
        Edit(first=spans[1][0], last=spans[1][1], action="rewrite", skills=("recalling a fact",), text="The area is $\\frac{1}{2} b h$."),
        Edit(first=spans[2][0], last=spans[2][1], action="delete", skills=("verification",), reason=f"support 0.00 {SCRIPT}"),
        Edit(first=spans[3][0], last=spans[4][1], action="merge", skills=("algebraic manipulation", "stating the answer"),
             text=f"So \\(x^2\\) is 72 {SCRIPT}.", borders=(spans[4][0],)),
        Edit(first=spans[5][0], last=spans[5][1], action="keep", skills=(f"new skill {number % 2}",)),
    )  # fmt: skip
    checks = (
        Check(name="answer_kept", passed=True, figures={"answer_right": 1.0}),
        Check(name="supported", passed=accepted, figures={"findings": 2.0}, detail=SCRIPT + OVERRIDE),
    )
    return PrunedTrace(
        id=f"trace-{number}", problem_id=f"problem-{number}", question=f"Question {number} {SCRIPT}{OVERRIDE}", gold="72",
        benchmark=benchmark, teacher="rules", original_thinking="".join(parts), original_answer=f"72 {SCRIPT}",
        thinking="So 72.", answer="\\boxed{72}", script=EditScript(units=len(units), edits=edits), checks=checks,
        accepted=accepted, reason=None if accepted else "supported", tokens_before=400 + number, tokens_after=100,
        protocol={"nll_before": 0.5},
    )  # fmt: skip


def hostile_run(path: Path) -> Path:
    """Write the run folder."""
    traces = [pruned(n, accepted=n != 3, benchmark="mini-math" if n == 5 else "mini-gsm") for n in range(12)]
    failed = Failure(id="bad", stage="prune", kind="unreadable", message=SCRIPT, raw=SCRIPT + OVERRIDE)
    command(path, "prune", {"prune": {}}, [*traces, failed])
    text = {"thinking": f"{SCRIPT} {OVERRIDE} \\(a+b\\) Wait.", "question": f"? {SCRIPT}"}
    evaluate(path, "base", completions(20, 12, **text))
    half = [t.model_copy(update={"usage": Usage(completion_tokens=40)}) for t in completions(20, 15, **text)]
    evaluate(
        path,
        "distilled",
        [t.model_copy(update={"correct": False}) if t.id == "trace-2-1" else t for t in half],
        "tuned",
    )
    return path

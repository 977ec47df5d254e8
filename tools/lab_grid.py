"""The laboratory's rows: which method, with which changes to its recipe, starting from which other row."""

from dataclasses import dataclass
from fnmatch import fnmatch

SCALES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Of an adapter, for the curve of length against its scale."""

SMALL = (
    "problems=[{benchmark: mini-gsm, split: train, count: 96}]", "generate.engine.batch_size=48", "train.epochs=2",
    "evaluate.benchmarks=[{benchmark: mini-gsm, count: 32}]", "evaluate.runs=1", "evaluate.engine.batch_size=32",
)  # fmt: skip
"""What the small grid changes, so that a laptop does it in minutes; its figures say nothing but that everything runs."""


@dataclass(frozen=True)
class Row:
    """One method at one seed."""

    name: str
    recipe: str
    changes: tuple[str, ...] = ()
    after: str | None = None
    """A row whose model this one needs, and the field that takes it."""
    takes: str = ""
    table: str = "methods"
    adapter_scale: float | None = None
    """No training: the adapter of the row ``after`` at another scale, evaluated once a problem."""

    @property
    def moves_student(self) -> bool:
        """Whether the row starts from another student than the embedded one, whose traces it cannot share."""
        return self.takes == "student.model"

    @property
    def other_problems(self) -> bool:
        """Whether the row trains on other problems than the rest."""
        return any(change.startswith("problems=") for change in self.changes)


def grid(seeds: int, size: str) -> list[Row]:
    """Return the rows, the more urgent first."""
    if size == "small":
        return [Row(f"{m}-0", m, ("train.seed=0",)) for m in ("drp", "self", "direct")]
    rows: list[Row] = []
    for method, recipe, after, takes in (
        ("self", "self", None, ""),
        ("self_drp", "drp", "self", "student.model"),
        ("self_drp_rl", "drp_rl", "self_drp", "student.model"),
        ("drp", "drp", None, ""),
        ("drp_rl", "drp_rl", "drp", "student.model"),
        ("think_prune", "think_prune", None, ""),
        ("direct", "direct", None, ""),
        ("cot_valve", "cot_valve", "direct", "method.short_model"),
    ):
        rows += [
            Row(f"{method}-{s}", recipe, (f"train.seed={s}",), after and f"{after}-{s}", takes)
            for s in range(seeds)
        ]
    rows += [*_teachers(seeds), *_objectives(seeds)]
    one_tier = "problems=[{benchmark: mini-gsm, split: train, count: 2250}]"
    others: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("segmentation", "sentences", ("prune.teacher.segmentation=default",)),
        ("segmentation", "whole", ("prune.teacher.segmentation=none", "prune.checks.min_length_ratio=0")),
        ("teacher", "mistakes-10", ("prune.teacher.mistakes=0.1",)),
        ("teacher", "mistakes-30", ("prune.teacher.mistakes=0.3",)),
        ("style", "foreign-style", ("prune.teacher.style=foreign",)),
        ("answer", "short-answer", ("prune.answer=short",)),
        ("settings", "checks-kept", ("prune.teacher.keep_checks=9",)),
        ("settings", "preference", ("train.objective=preference", "train.learning_rate=2e-4")),
        ("settings", "one-tier", (one_tier,)),
        ("settings", "rate-1e-4", ("train.learning_rate=1e-4",)),
        ("settings", "one-epoch", ("train.epochs=1",)),
        ("settings", "rank-8", ("train.rank=8", "train.alpha=16")),
    )
    rows += [Row(f"{name}-0", "drp", changes, table=table) for table, name, changes in others]
    moved = {"after": "drp-0", "takes": "student.model"}
    gentle = (
        "method.steps=40",
        "method.length_weight=0.2",
        "method.most_loss=0.1",
        "method.validation=128",
        "method.checkpoints=3",
    )
    rows += [
        Row("drp_drp-0", "drp", table="settings", **moved),
        Row("drp_rl_gentle-0", "drp_rl", gentle, table="rl", **moved),
        Row("drp_rl_kl-0", "drp_rl", ("method.kl=0.05",), table="rl", **moved),
    ]
    return rows + [
        Row(f"curve-{name}-{scale:g}", "drp", ("evaluate.runs=1",), name, adapter_scale=scale, table="curve")
        for name in ("cot_valve-0", "drp-0")
        for scale in SCALES
    ]


def _student(coherence: int) -> tuple[str, ...]:
    return ("prune.teacher=student", f"prune.teacher.coherence={coherence}")


def _teachers(seeds: int) -> list[Row]:
    """Return the rows that differ in who prunes: the student at several coherences, alone and self-trained, and controls."""
    by = {f"student-{c}": _student(c) for c in (8, 20, 4, 12, 40)}
    by |= {name: (f"prune.teacher={name}",) for name in ("first_conclusion", "random_units")}
    rows = [
        Row(f"{name}-{s}", "drp", (*changes, f"train.seed={s}"), table="teachers")
        for name, changes in by.items()
        for s in range(seeds)
    ]
    return rows + [
        Row(
            f"self_student-{c}-{s}", "drp", (*by[f"student-{c}"], f"train.seed={s}"), f"self-{s}", "student.model",
            table="teachers",
        )
        for c in (8, 20)
        for s in range(seeds)
    ]  # fmt: skip


def _objectives(seeds: int) -> list[Row]:
    """Return the rows that differ in what the student is trained for: pairs, rounds of pruning, and how GRPO counts length."""
    gentle = _student(4)
    preferred = (*gentle, "train.objective=preference", "train.learning_rate=2e-4")
    length = {
        "rl": (),
        "rl_pass_rate": ("method.length_by_pass_rate=true",),
        "rl_steps": ("method.length_credit=conclusion",),
        "rl_both": ("method.length_by_pass_rate=true", "method.length_credit=conclusion"),
    }
    rows: list[Row] = []
    for s in range(seeds):
        seed = f"train.seed={s}"
        rows += [
            Row(f"lcpo-{s}", "lcpo", (seed,), table="objectives"),
            Row(f"preference_student-4-{s}", "drp", (*preferred, seed), table="objectives"),
        ]
        for number in (2, 3):
            before = f"student-4-{s}" if number == 2 else f"round_2-{s}"
            rows.append(
                Row(f"round_{number}-{s}", "drp", (*gentle, seed), before, "student.model", "objectives")
            )
        rows += [
            Row(
                f"student-4_{name}-{s}",
                "drp_rl",
                (*how, seed),
                f"student-4-{s}",
                "student.model",
                "objectives",
            )
            for name, how in length.items()
        ]
    return rows


def only(rows: list[Row], patterns: list[str]) -> list[Row]:
    """Return the rows whose names match one of the patterns, and those that they start from."""
    names = {r.name for r in rows if any(fnmatch(r.name, p) for p in patterns)}
    while missing := {r.after for r in rows if r.name in names and r.after} - names:
        names |= missing
    return [r for r in rows if r.name in names]

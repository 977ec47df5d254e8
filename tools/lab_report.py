"""Tables and plots of the laboratory from its figures.

python tools/lab_report.py results/mini-lab
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from drp.diagnosis.remedies import QUANTILES
from drp.reporting.text import Table, markdown

Rows = dict[str, dict[str, Any]]
TITLES = {
    "methods": "Table 1: methods, seed by seed",
    "teachers": "Who prunes: the student by coherence, alone and self-trained, and controls, seed by seed",
    "objectives": "What the student is trained for after `student-4`, its rounds, and pairs, seed by seed",
    "rl": "Table 1b: settings of the reinforcement",
    "segmentation": "Table 2: segmentation (against `drp-0`)",
    "teacher": "Table 3: a teacher that makes mistakes (against `drp-0`)",
    "style": "Table 5: the same steps in a teacher's style instead of the student's (against `drp-0`)",
    "answer": "Table 6: the answer part cut short (against `drp-0`)",
    "settings": "Table 7: settings, other objectives and rounds (against `drp-0`)",
}
CONTROLS = ("self", "first_conclusion", "random_units")
"""Methods that know nothing of steps; they stand in every table, since whatever is not better than they are is nothing."""
COLOURS = {
    "base": "#000000", "self": "#7f7f7f", "think_prune": "#2ca02c", "cot_valve": "#9467bd", "direct": "#8c564b",
    "drp": "#1f77b4", "drp_rl": "#ff7f0e", "self_drp": "#17becf", "self_drp_rl": "#d62728",
}  # fmt: skip


def _benchmarks(rows: Rows) -> list[str]:
    return [t["benchmark"] for t in next(iter(rows.values()))["benchmarks"]]


def _short(m: dict[str, Any]) -> str:
    return f"{100 * m['accuracy']:.1f} / {m['tokens_mean']:.0f}"


def _against_base(result: dict[str, Any]) -> str:
    c = result["comparison"]
    low, high = (100 * c["accuracy_difference_interval"][k] for k in ("low", "high"))
    shown = "" if c["non_inferiority"]["shown"] else " ✗"
    return (
        f"{_short(result['after'])} ({100 * c['accuracy_difference']:+.1f} [{low:+.1f}, {high:+.1f}]{shown}, "
        f"{100 * (c['tokens_ratio'] - 1):+.0f} %)"
    )


def _compared(title: str, rows: Rows) -> Table:
    base = ("base", "–", *(_short(t["base"]) for t in next(iter(rows.values()))["benchmarks"]))
    lines = [(name, _compression(row), *map(_against_base, row["benchmarks"])) for name, row in rows.items()]
    note = "Trained on: tokens of the targets against those of the traces they were made of, a sample of 64; beside it what came of it."
    return Table(title, ("run", "trained on", *_benchmarks(rows)), (base, *lines), note)


def _compression(row: dict[str, Any]) -> str:
    """Return how much shorter the targets are than the traces that they were made of."""
    found = row["learnability"]
    return f"{100 * (found['pruned_tokens'] / found['own_tokens'] - 1):+.0f} %" if found else "–"


def _summary(rows: Rows) -> Table:
    """Return one line a method: means over its seeds, and at how many of them no benchmark lost."""
    benchmarks, lines = _benchmarks(rows), []
    for method in COLOURS:
        found = _seeds(rows, method)
        if not found:
            continue
        cells: list[str] = []
        for k in range(len(benchmarks)):
            gains = [100 * row["benchmarks"][k]["comparison"]["accuracy_difference"] for row in found]
            ratio = sum(row["benchmarks"][k]["comparison"]["tokens_ratio"] for row in found) / len(found)
            spread = f" ({min(gains):+.1f} … {max(gains):+.1f})" if len(gains) > 1 else ""
            cells.append(f"{sum(gains) / len(gains):+.1f}{spread}, {100 * (ratio - 1):+.0f} %")
        safe = sum(
            all(t["comparison"]["non_inferiority"]["shown"] for t in row["benchmarks"]) for row in found
        )
        lines.append((method, str(len(found)), *cells, f"{safe} of {len(found)}"))
    note = "Difference from base in points (least … greatest over seeds), change of tokens."
    head = ("method", "seeds", *benchmarks, "not inferior on any benchmark")
    return Table("Methods, means over training seeds", head, tuple(lines), note)


def _learnability(rows: Rows) -> Table:
    """Return what each training set looks like to the student, next to what came of it."""
    known = [(n, r, r["learnability"]) for n, r in rows.items() if n.endswith("-0") and r["learnability"]]
    lines = [
        (
            name, f"{found['pruned']:.2f}", f"{found['pruned_tokens']:.0f}",
            f"{found['own_trace']:.2f} / {found['own_tokens']:.0f}",
            *(f"{100 * t['after']['accuracy']:.1f}" for t in row["benchmarks"]),
        )
        for name, row, found in sorted(known, key=lambda item: item[2]["pruned"])
    ]  # fmt: skip
    note = (
        "NLL of 64 targets under the student before training, beside the accuracy (%) afterwards; `self_drp` and `drp_drp` "
        "start from students of their own."
    )
    head = ("trained on the targets of", "NLL, nats/token", "tokens a target", "own traces: NLL / tokens")
    return Table("Table 4: learnability", (*head, *_benchmarks(rows)), tuple(lines), note)


def _curve(name: str, points: list[dict[str, Any]]) -> Table:
    lines = [(f"{p['strength']:g}", *map(_short, p["benchmarks"])) for p in points]
    head = ("adapter scale", *(t["benchmark"] for t in points[0]["benchmarks"]))
    title = f"Length against scale: the adapter of `{name}`"
    return Table(title, head, tuple(lines), "One run a problem; accuracy % / mean tokens.")


def _tail(m: dict[str, Any]) -> str:
    shares = (f"{100 * m[share]:.1f}" for share in ("truncated", "unclosed", "looping"))
    return " / ".join([f"{m['tokens_p99']:.0f}", *shares])


def _tails(rows: Rows) -> Table:
    first = next(iter(rows.values()))
    lines = [("base", *(_tail(t["base"]) for t in first["benchmarks"]), "–", "–", "–")]
    for name, row in rows.items():
        # A row that starts from another's model has paid for that one too, in training and in sampling.
        paid: list[dict[str, Any]] = [row]
        while (before := rows.get(paid[-1]["after"])) is not None:
            paid.append(before)
        seconds, sampled = sum(r["train_s"] or 0 for r in paid), sum(r["sampled"] for r in paid)
        nll = f"{row['learnability']['pruned']:.2f}" if row["learnability"] else "–"
        tails = (_tail(t["after"]) for t in row["benchmarks"])
        lines.append((name, *tails, f"{seconds:.0f}", f"{sampled / 1e6:.1f} M", nll))
    note = (
        "Cells: p99 tokens / truncated % / never closed % / looping %. Training and sampling include the rows a row starts "
        "from. NLL: of the targets, under the student before training."
    )
    head = ("run", *_benchmarks(rows), "training, s", "tokens sampled for it", "NLL, nats/token")
    return Table("The long tail, and what each row cost", head, tuple(lines), note)


def _remedies(found: dict[str, dict[str, Any]]) -> Table:
    by_name = {b: _by_kind(one["remedies"]) for b, one in found.items()}
    names = list(dict.fromkeys(name for remedies in by_name.values() for name in remedies))
    as_is = (f"{100 * one['accuracy']['value']:.1f} / {one['tokens']['value']:.0f}" for one in found.values())
    lines = [(name, *(_remedy(by_name[b].get(name)) for b in found)) for name in names]
    note = (
        "The student as it is, one completion a problem: change of accuracy in points, paired [95 % interval], and of tokens. *Assumed*: read "
        "off the completions, no model was run; cutting at the answer is an upper bound, since something must know when."
    )
    sizes = (f"{b} (n = {one['completions']})" for b, one in found.items())
    return Table("Without training", ("remedy", *sizes), (("none", *as_is), *lines), note)


def _by_kind(remedies: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return remedies by name, without the tokens of a budget, which differ from benchmark to benchmark."""
    shares = iter(QUANTILES)
    found: dict[str, dict[str, Any]] = {}
    for remedy in remedies:
        name = re.sub(
            r"budget of [\d,]+ tokens \((\d+) % fit\)", r"stopped where \1 % of thinkings fit", remedy["name"]
        )
        if re.fullmatch(r"answer after [\d,]+ tokens", name):
            name = f"made to answer where {100 * next(shares):.0f} % of thinkings fit"
        found[name] = remedy
    return found


def _remedy(found: dict[str, Any] | None) -> str:
    if found is None or found["saved"] is None:
        return "–"
    saved, change = found["saved"], found["change"]
    between = change and ", ".join(f"{100 * change['interval'][edge]:+.1f}" for edge in ("low", "high"))
    moved = f"{100 * change['value']:+.1f} [{between}], " if change else ""
    return f"{moved}{-100 * saved['value']:+.0f} %" + (" *assumed*" if found["kind"] == "assumed" else "")


def tables(found: dict[str, Any]) -> str:
    """Return every table in Markdown."""
    rows: Rows = found["rows"]
    shown: list[Table] = []
    if rows:
        if any(_method(name) in COLOURS for name in rows):
            shown.append(_summary(rows))
        for key, title in TITLES.items():
            if chosen := {name: row for name, row in rows.items() if row["table"] == key}:
                controls = {
                    f"*{n}*": r for n, r in rows.items() if n not in chosen and _method(n) in CONTROLS
                }
                shown.append(_compared(title, chosen | controls))
        shown += [_learnability(rows), _tails(rows)]
    if found.get("remedies"):
        shown.append(_remedies(found["remedies"]))
    shown += [_curve(name, points) for name, points in found["curves"].items()]
    cells = (
        "Cells: accuracy % / mean tokens (difference in points, paired by problem [95 % interval], change "
        "of tokens). ✗: not shown to be non-inferior by one point. *In italics*: controls."
    )
    return "\n\n".join([cells, *map(markdown, shown)]) + "\n"


def _seeds(rows: Rows, method: str) -> list[dict[str, Any]]:
    return [row for name, row in rows.items() if _method(name) == method]


def _method(name: str) -> str:
    return name.rpartition("-")[0]


def plots(out: Path) -> None:
    """Write accuracy against tokens, token histograms, and length against scale, from ``lab.json``."""
    try:
        import matplotlib
    except ImportError:
        print("no plots: pip install 'drp-reasoning[lab]'")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found = json.loads((out / "lab.json").read_text())
    _plot_accuracy(plt, found["rows"], out / "accuracy_tokens.png")
    _plot_histograms(plt, found["rows"], out / "histograms.png")
    if found["curves"]:
        _plot_curves(plt, found["curves"], _benchmarks(found["rows"]), out / "strength.png")


def _plot_accuracy(plt: Any, rows: Rows, path: Path) -> None:
    first, benchmarks = next(iter(rows.values())), _benchmarks(rows)
    figure, axes = plt.subplots(1, len(benchmarks), figsize=(4 * len(benchmarks), 4.2), squeeze=False)
    for k, (axis, benchmark) in enumerate(zip(axes[0], benchmarks, strict=True)):
        points = [("base", first["benchmarks"][k]["base"])]
        points += [(m, row["benchmarks"][k]["after"]) for m in COLOURS for row in _seeds(rows, m)]
        labelled: set[str] = set()
        for method, m in points:
            low, high = (100 * m["accuracy_interval"][e] for e in ("low", "high"))
            left, right = (m["tokens_interval"][e] for e in ("low", "high"))
            x, y = m["tokens_mean"], 100 * m["accuracy"]
            axis.errorbar(
                x, y, [[max(0, y - low)], [max(0, high - y)]],
                [[max(0, x - left)], [max(0, right - x)]], "o", ms=5, lw=1, color=COLOURS[method],
                label=None if method in labelled else method,
            )  # fmt: skip
            labelled.add(method)
        # A method that destroys the student would squeeze all others together; it is named at the edge instead.
        alive = [m for _, m in points if m["accuracy"] > 0.25 * points[0][1]["accuracy"]]
        shown = [100 * m["accuracy_interval"][e] for m in alive for e in ("low", "high")]
        axis.set_ylim(min(shown) - 2, max(shown) + 2)
        lost = {method for method, m in points if m not in alive}
        for place, method in enumerate(sorted(lost)):
            worst = max((m for name, m in points if name == method), key=lambda m: m["accuracy"])
            note = f"↓ {method}: {100 * worst['accuracy']:.0f} % / {worst['tokens_mean']:.0f}"
            axis.text(
                0.02, 0.03 + 0.06 * place, note, transform=axis.transAxes, fontsize=8, color=COLOURS[method]
            )
        axis.set(title=benchmark, xlabel="mean tokens", ylabel="Pass@1, %" if k == 0 else "")
        axis.grid(alpha=0.25)
    _legend(figure, axes[0][0])
    _save(figure, path)


def _plot_histograms(plt: Any, rows: Rows, path: Path) -> None:
    shown = next((n for n in ("self_drp_rl-0", "drp_rl-0", "drp-0") if n in rows), None)
    if shown is None:
        return
    benchmarks = _benchmarks(rows)
    figure, axes = plt.subplots(1, len(benchmarks), figsize=(4 * len(benchmarks), 3.4), squeeze=False)
    for axis, benchmark in zip(axes[0], benchmarks, strict=True):
        for counts, label in zip(rows[shown]["histograms"][benchmark], ("base", shown), strict=True):
            width = 1200 / len(counts)
            left = [i * width for i in range(len(counts))]
            axis.bar(left, counts, width, align="edge", alpha=0.55, label=label)
        axis.set(title=benchmark, xlabel="tokens (last bar: the cut-off)", yscale="log")
    axes[0][0].set_ylabel("completions")
    axes[0][0].legend(fontsize=8)
    _save(figure, path)


def _plot_curves(plt: Any, curves: dict[str, Any], benchmarks: list[str], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    for name, points in curves.items():
        for k, benchmark in enumerate(benchmarks):
            style = {
                "label": f"{name.rpartition('-')[0]}, {benchmark}",
                "ls": "-" if name.startswith("drp") else "--",
            }
            alphas = [p["strength"] for p in points]
            tokens = [p["benchmarks"][k]["tokens_mean"] for p in points]
            accuracy = [100 * p["benchmarks"][k]["accuracy"] for p in points]
            for axis, values in zip(axes, (tokens, accuracy), strict=True):
                axis.plot(alphas, values, marker="o", ms=3, color=f"C{k}", **style)
    axes[0].set(xlabel="scale of the adapter", ylabel="mean tokens")
    axes[1].set(xlabel="scale of the adapter", ylabel="Pass@1, %")
    for axis in axes:
        axis.grid(alpha=0.25)
    _legend(figure, axes[0])
    _save(figure, path)


def _legend(figure: Any, axis: Any) -> None:
    """Put the legend of one axis below the whole figure."""
    handles, labels = axis.get_legend_handles_labels()
    columns = min(len(labels), 9 if len(figure.axes) > 2 else 4)
    figure.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncol=columns, fontsize=8)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "tables.md").write_text(tables(json.loads((folder / "lab.json").read_text())))
    plots(folder)

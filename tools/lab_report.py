"""Tables and plots of the laboratory from its figures.

python tools/lab_report.py results/mini-lab
"""

import json
import sys
from pathlib import Path
from typing import Any

Rows = dict[str, dict[str, Any]]
TITLES = {
    "methods": "Table 1: methods, seed by seed",
    "rl": "Table 1b: settings of the reinforcement",
    "segmentation": "Table 2: segmentation (against `drp-0`)",
    "teacher": "Table 3: a teacher that makes mistakes (against `drp-0`)",
    "style": "Table 5: the same steps in a teacher's style instead of the student's (against `drp-0`)",
    "answer": "Table 6: the answer part cut short (against `drp-0`)",
    "settings": "Table 7: settings, other objectives and rounds (against `drp-0`)",
}
COLOURS = {
    "base": "#000000", "self": "#7f7f7f", "think_prune": "#2ca02c", "cot_valve": "#9467bd", "direct": "#8c564b",
    "drp": "#1f77b4", "drp_rl": "#ff7f0e", "self_drp": "#17becf", "self_drp_rl": "#d62728",
}  # fmt: skip


def _table(rows: Rows, names: list[str]) -> str:
    tiers = [t["benchmark"] for t in rows[names[0]]["tiers"]]
    lines = [f"| run | {' | '.join(tiers)} |", "|---" * (len(tiers) + 1) + "|"]
    bases = [
        f"{100 * t['base']['accuracy']:.1f} / {t['base']['tokens_mean']:.0f}" for t in rows[names[0]]["tiers"]
    ]
    lines.append(f"| base | {' | '.join(bases)} |")
    for name in names:
        cells: list[str] = []
        for tier in rows[name]["tiers"]:
            m, c = tier["distilled"], tier["comparison"]
            low, high = (100 * c["accuracy_difference_interval"][k] for k in ("low", "high"))
            shown = "" if c["non_inferiority"]["shown"] else " ✗"
            cells.append(
                f"{100 * m['accuracy']:.1f} / {m['tokens_mean']:.0f} ({100 * c['accuracy_difference']:+.1f} "
                f"[{low:+.1f}, {high:+.1f}]{shown}, {100 * (c['tokens_ratio'] - 1):+.0f} %)"
            )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _summary(rows: Rows) -> str:
    """Return one line a method: means over its seeds, and at how many of them no tier lost."""
    methods = [m for m in COLOURS if _seeds(rows, m)]
    tiers = [t["benchmark"] for t in rows[f"{methods[0]}-0"]["tiers"]]
    lines = [
        f"| method | seeds | {' | '.join(tiers)} | not inferior on any tier |",
        "|---" * (len(tiers) + 3) + "|",
    ]
    for method in methods:
        found = _seeds(rows, method)
        cells: list[str] = []
        for k in range(len(tiers)):
            gains = [100 * row["tiers"][k]["comparison"]["accuracy_difference"] for row in found]
            ratio = sum(row["tiers"][k]["comparison"]["tokens_ratio"] for row in found) / len(found)
            spread = f" ({min(gains):+.1f} … {max(gains):+.1f})" if len(gains) > 1 else ""
            cells.append(f"{sum(gains) / len(gains):+.1f}{spread}, {100 * (ratio - 1):+.0f} %")
        safe = sum(all(t["comparison"]["non_inferiority"]["shown"] for t in row["tiers"]) for row in found)
        lines.append(f"| {method} | {len(found)} | {' | '.join(cells)} | {safe} of {len(found)} |")
    return "\n".join(lines)


def _learnability(rows: Rows) -> str:
    """Return what each training set looks like to the student, next to what came of it."""
    tiers = [t["benchmark"] for t in next(iter(rows.values()))["tiers"]]
    lines = [
        f"| trained on the targets of | NLL, nats/token | tokens a target | own traces: NLL / tokens | {' | '.join(tiers)} |",
        "|---" * (len(tiers) + 4) + "|",
    ]
    known = [(n, r) for n, r in rows.items() if n.endswith("-0") and r["learnability"]]
    for name, row in sorted(known, key=lambda pair: pair[1]["learnability"]["pruned"]):
        found = row["learnability"]
        results = [f"{100 * t['distilled']['accuracy']:.1f}" for t in row["tiers"]]
        lines.append(
            f"| {name} | {found['pruned']:.2f} | {found['pruned_tokens']:.0f} | "
            f"{found['own_trace']:.2f} / {found['own_tokens']:.0f} | {' | '.join(results)} |"
        )
    return "\n".join(lines)


def _curve(points: list[dict[str, Any]]) -> str:
    tiers = [t["benchmark"] for t in points[0]["tiers"]]
    lines = [f"| strength | {' | '.join(tiers)} |", "|---" * (len(tiers) + 1) + "|"]
    for point in points:
        cells = [f"{100 * t['accuracy']:.1f} / {t['tokens_mean']:.0f}" for t in point["tiers"]]
        lines.append(f"| {point['strength']:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _tails(rows: Rows) -> str:
    tiers = [t["benchmark"] for t in next(iter(rows.values()))["tiers"]]
    lines = [
        f"| run | {' | '.join(tiers)} | training, s | tokens sampled for it | NLL, nats/token |",
        "|---" * (len(tiers) + 4) + "|",
    ]

    def cell(m: dict[str, Any]) -> str:
        return (
            f"{m['tokens_p99']:.0f} / {100 * m['truncated']:.1f} / "
            f"{100 * m['unclosed']:.1f} / {100 * m['looping']:.1f}"
        )

    first = next(iter(rows.values()))
    lines.append("| base | " + " | ".join(cell(t["base"]) for t in first["tiers"]) + " | – | – | – |")
    for name, row in rows.items():
        # A row that starts from another's model has paid for that one too, in training and in sampling.
        seconds, sampled, at = 0.0, 0, row
        while True:
            seconds += at["train_s"] or 0
            sampled += at["sampled"]
            if not at.get("after") or at["after"] not in rows:
                break
            at = rows[at["after"]]
        nll = f"{row['learnability']['pruned']:.2f}" if row["learnability"] else "–"
        lines.append(
            f"| {name} | {' | '.join(cell(t['distilled']) for t in row['tiers'])} | "
            f"{seconds:.0f} | {sampled / 1e6:.1f} M | {nll} |"
        )
    return "\n".join(lines)


def tables(found: dict[str, Any]) -> str:
    """Return every table in Markdown."""
    rows: Rows = found["rows"]
    parts = [
        "Cells: accuracy % / mean tokens (difference in points, paired by problem [95 % bootstrap interval], change "
        "of tokens). ✗: not shown to be non-inferior by one point."
    ]
    if any(_seeds(rows, method) for method in COLOURS):
        parts.append(
            "## Methods, means over training seeds\n\nDifference from base in points (least … greatest over seeds), change "
            f"of tokens.\n\n{_summary(rows)}"
        )
    for key, title in TITLES.items():
        names = [name for name, row in rows.items() if row["table"] == key]
        if names:
            parts.append(f"## {title}\n\n{_table(rows, names)}")
    if any(row["learnability"] for row in rows.values()):
        parts.append(
            "## Table 4: learnability\n\nNLL of 64 targets under the student before training, beside the accuracy (%) "
            f"afterwards; `self_drp` and `drp_drp` start from students of their own.\n\n{_learnability(rows)}"
        )
    for name, points in found["curves"].items():
        parts.append(
            f"## Length against strength: the adapter of `{name}`\n\nOne run a problem; accuracy % / mean tokens.\n\n"
            f"{_curve(points)}"
        )
    parts.append(
        "## The long tail, and what each row cost\n\nCells: p99 tokens / truncated % / never closed % / looping %. "
        "Training and sampling include the rows a row starts from. NLL: of the targets, under the student before "
        f"training.\n\n{_tails(rows)}"
    )
    return "\n\n".join(parts) + "\n"


def _seeds(rows: Rows, method: str) -> list[dict[str, Any]]:
    return [row for name, row in rows.items() if name.rpartition("-")[0] == method]


def plots(out: Path) -> None:
    """Write accuracy against tokens, token histograms, and length against strength, from ``lab.json``."""
    try:
        import matplotlib
    except ImportError:
        print("no plots: pip install 'drp-reasoning[lab]'")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found = json.loads((out / "lab.json").read_text())
    rows: Rows = found["rows"]
    first = next(iter(rows.values()))
    tiers = [t["benchmark"] for t in first["tiers"]]

    figure, axes = plt.subplots(1, len(tiers), figsize=(4 * len(tiers), 4.2), squeeze=False)
    for k, (axis, tier) in enumerate(zip(axes[0], tiers, strict=True)):
        points = [("base", first["tiers"][k]["base"])]
        points += [(m, row["tiers"][k]["distilled"]) for m in COLOURS for row in _seeds(rows, m)]
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
        axis.set(title=tier, xlabel="mean tokens", ylabel="Pass@1, %" if k == 0 else "")
        axis.grid(alpha=0.25)
    _legend(figure, axes[0][0])
    _save(figure, out / "accuracy_tokens.png")

    shown = next((n for n in ("self_drp_rl-0", "drp_rl-0", "drp-0") if n in rows), None)
    if shown:
        figure, axes = plt.subplots(1, len(tiers), figsize=(4 * len(tiers), 3.4), squeeze=False)
        for axis, tier in zip(axes[0], tiers, strict=True):
            for counts, label in zip(rows[shown]["histograms"][tier], ("base", shown), strict=True):
                width = 1200 / len(counts)
                left = [i * width for i in range(len(counts))]
                axis.bar(left, counts, width, align="edge", alpha=0.55, label=label)
            axis.set(title=tier, xlabel="tokens (last bar: the cut-off)", yscale="log")
        axes[0][0].set_ylabel("completions")
        axes[0][0].legend(fontsize=8)
        _save(figure, out / "histograms.png")

    if found["curves"]:
        figure, axes = plt.subplots(1, 2, figsize=(10, 4))
        for name, points in found["curves"].items():
            for k, tier in enumerate(tiers):
                style = {
                    "label": f"{name.rpartition('-')[0]}, {tier}",
                    "ls": "-" if name.startswith("drp") else "--",
                }
                alphas = [p["strength"] for p in points]
                axes[0].plot(
                    alphas,
                    [p["tiers"][k]["tokens_mean"] for p in points],
                    marker="o",
                    ms=3,
                    color=f"C{k}",
                    **style,
                )
                axes[1].plot(
                    alphas,
                    [100 * p["tiers"][k]["accuracy"] for p in points],
                    marker="o",
                    ms=3,
                    color=f"C{k}",
                    **style,
                )
        axes[0].set(xlabel="strength of the adapter", ylabel="mean tokens")
        axes[1].set(xlabel="strength of the adapter", ylabel="Pass@1, %")
        for axis in axes:
            axis.grid(alpha=0.25)
        _legend(figure, axes[0])
        _save(figure, out / "strength.png")


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

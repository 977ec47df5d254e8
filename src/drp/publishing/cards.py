"""Model cards: what was made of which student and how, what it measured, how to load it, and what it does not show."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false

import json
from collections.abc import Mapping, Sequence
from typing import Any

from drp.benchmarks.public import PUBLIC
from drp.publishing.private import public_name
from drp.publishing.subject import Subject
from drp.reporting import text
from drp.reporting.summary import BenchmarkSummary
from drp.reporting.text import Table
from drp.reporting.write import protocol_line
from drp.runs import layout
from drp.runs.fingerprints import defining

PAPER = "https://arxiv.org/abs/2505.13975"
PLACEHOLDER = "ORG/NAME"
"""Stands for a repository that was not named."""
QUESTION = "Mia has 24 shells. Tom has 3 times as many shells as Mia. How many shells does Tom have?"
VLLM_RANK = 16
"""Adapters of a higher rank are refused by vLLM unless it is told to expect them."""
MINIATURE = (
    "> **This is a miniature.** It belongs to the embedded world of DRP: a student of 4 M parameters that answers generated word "
    "problems and knows nothing else. It exists to study the method in minutes; its figures say nothing about models of a useful size."
)
_SETTINGS = (
    "objective", "rank", "alpha", "learning_rate", "schedule", "epochs", "effective_batch", "max_length", "seed",
)  # fmt: skip
"""Of the settings that define a trained model, those a reader asks for first."""


def model_card(subject: Subject, part: str) -> str:
    """Return the card of a run's ``adapter`` or ``model``, with front matter as the hub reads it."""
    adapter = part == layout.ADAPTER
    what = "LoRA adapter for" if adapter else "model made of"
    intro = (
        f"A {what} **{subject.student.name}** that thinks shorter, trained with DRP (Distilled Reasoning Pruning, "
        f"[arXiv 2505.13975]({PAPER})): {_how(subject)}."
    )
    parts = [f"# {subject.title}" + (", adapter" if adapter else "")]
    parts += [MINIATURE] if subject.miniature else []
    parts += [intro, "## Load it", _loading(subject, part), *_figures(subject, adapter)]
    parts += [
        text.markdown(_origin(subject)),
        "## Limits",
        _bullets(_limits(subject)),
        "## Licence",
        licence(subject, part),
    ]
    return front_matter(subject, part) + "\n" + "\n\n".join(parts) + "\n"


def front_matter(subject: Subject, part: str) -> str:
    """Return the front matter of the card of an ``adapter`` or a ``model``."""
    from huggingface_hub import ModelCardData

    adapter, student = part == layout.ADAPTER, subject.student
    data_set = subject.repos.get(layout.DATASET)
    extra: dict[str, Any] = (
        {"base_model_relation": "adapter" if adapter else "finetune"} if student.hub else {}
    )
    results = _results(subject)
    data = ModelCardData(
        base_model=student.hub,
        datasets=[data_set] if data_set else None,
        library_name="peft" if adapter else "transformers",
        license=subject.licence_of(part),
        pipeline_tag="text-generation",
        tags=[
            "reasoning",
            "chain-of-thought",
            "drp",
            "arxiv:2505.13975",
            *(["lora"] if adapter else []),
            *_marks(subject),
        ],
        model_name=subject.title if results else None,
        eval_results=results or None,
        **extra,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _marks(subject: Subject) -> list[str]:
    return ["miniature"] if subject.miniature else []


def _results(subject: Subject) -> list[Any]:
    """Return the figures of the trained model as the hub's index of results takes them: public benchmarks only."""
    from huggingface_hub import EvalResult

    found: list[Any] = []
    for result in subject.summary.benchmarks:
        public, after = PUBLIC.get(result.benchmark), result.after
        if public is None or after is None or subject.summary.outcome != layout.DISTILLED:
            continue
        said = f"Pass@1, {after.problems} problems × {after.runs}"
        for metric, name, value in (
            ("accuracy", said, 100 * after.accuracy),
            ("tokens", "Mean generated tokens", after.tokens_mean),
        ):
            found.append(
                EvalResult(
                    task_type="text-generation",
                    dataset_type=public.hub,
                    dataset_name=result.benchmark,
                    dataset_config=public.config,
                    metric_type=metric,
                    metric_name=name,
                    metric_value=round(value, 1),
                )
            )
    return found


def _how(subject: Subject) -> str:
    method = subject.recipe.method.summary if subject.recipe else "fine-tune on pruned traces"
    teacher = f"; teacher: `{subject.teacher}`" if subject.teacher else ""
    return f"{method}{teacher}"


def _figures(subject: Subject, adapter: bool) -> list[str]:
    """Return what was measured, with its protocol; or that nothing was."""
    summary = subject.summary
    if not any(result.after for result in summary.benchmarks) or summary.outcome != layout.DISTILLED:
        return [
            "## Before and after\n\nThis model has not been evaluated: nothing is known of its accuracy or its length."
        ]
    scaled = (
        f" The figures are those of the adapter merged at {subject.adapter_scale:g} times its scale."
        if adapter
        else ""
    )
    found = [
        text.markdown(text.before_after(summary)),
        protocol_line(summary) + scaled,
        _changes(summary.benchmarks),
    ]
    found += [text.markdown(text.details(summary))]
    if any(result.comparison for result in summary.benchmarks):
        found.append(text.markdown(text.not_inferior(summary)))
    return found


def _changes(benchmarks: Sequence[BenchmarkSummary]) -> str:
    """Return the change in tokens with its interval, which the table of before and after has no room for."""
    said = [
        f"{r.benchmark} {100 * (c.tokens_ratio - 1):+.0f} % [{100 * (i.low - 1):+.0f}, {100 * (i.high - 1):+.0f}]"
        for r in benchmarks
        if (c := r.comparison) and c.tokens_ratio is not None and (i := c.tokens_ratio_interval)
    ]
    return f"Change in mean tokens with a 95 % interval over problems: {'; '.join(said)}." if said else ""


def _loading(subject: Subject, part: str) -> str:
    """Return how to load an adapter or a model, for transformers (and PEFT) and for vLLM."""
    repo = subject.repos.get(part, PLACEHOLDER)
    base = subject.student.hub
    if part == layout.MODEL:
        load = f'model = AutoModelForCausalLM.from_pretrained("{repo}", dtype="auto")'
        serve = f"vllm serve {repo}"
        return _snippets(
            subject, repo, "from transformers import AutoModelForCausalLM, AutoTokenizer", load, serve
        )
    imports = "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer"
    pinned = f', revision="{subject.student.revision}"' if subject.student.revision else ""
    origin, before = (f'"{base}"{pinned}', "") if base else _not_on_the_hub(subject)
    imports += "\nfrom drp.engines.identity import resolve_model" if subject.student.embedded else ""
    load = f'base = AutoModelForCausalLM.from_pretrained({origin}, dtype="auto")\nmodel = PeftModel.from_pretrained(base, "{repo}")'
    rank = int(subject.trained.get("train", {}).get("rank", 0))
    room = f" --max-lora-rank {rank}" if rank > VLLM_RANK else ""
    serve = f"vllm serve {base or 'FOLDER_OF_THE_STUDENT'} --enable-lora{room} --lora-modules shorter={repo}"
    return before + _snippets(subject, repo, imports, load, serve)


def _not_on_the_hub(subject: Subject) -> tuple[str, str]:
    if subject.student.embedded:
        return 'resolve_model("mini")', "The student travels in the package `drp-reasoning`.\n\n"
    said = f"Its student, {subject.student.name}, was a folder and not a model on the hub: give that folder below.\n\n"
    return '"FOLDER_OF_THE_STUDENT"', said


def _snippets(subject: Subject, repo: str, imports: str, load: str, serve: str) -> str:
    asked = str(subject.prompt.get("template", "{question}")).replace("{question}", QUESTION)
    asked = asked.replace("{directive}", "").strip()
    system = subject.prompt.get("system")
    first = [f'{{"role": "system", "content": {json.dumps(system)}}}'] if system else []
    messages = ", ".join([*first, f'{{"role": "user", "content": {json.dumps(asked, ensure_ascii=False)}}}'])
    arguments: Mapping[str, Any] = subject.prompt.get("template_arguments") or {}
    given = "".join(f", {name}={value!r}" for name, value in arguments.items())
    sampling = _sampling(subject)
    return f"""```python
{imports}

tokenizer = AutoTokenizer.from_pretrained("{repo}")
{load}
messages = [{messages}]
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"{given})
completion = model.generate(**prompt.to(model.device), {sampling})
print(tokenizer.decode(completion[0]))
```

```
{serve}
```"""


def _sampling(subject: Subject) -> str:
    drawn = subject.recipe.evaluate.sampling if subject.recipe else None
    if drawn is None:
        return "max_new_tokens=4096"
    if drawn.temperature == 0:
        return f"max_new_tokens={drawn.max_new_tokens}, do_sample=False"
    return f"max_new_tokens={drawn.max_new_tokens}, do_sample=True, temperature={drawn.temperature}, top_p={drawn.top_p}"


def _origin(subject: Subject) -> Table:
    """Return what a model was made of and how, one line each."""
    student, summary, train = subject.student, subject.summary, subject.trained.get("train", {})
    adapter = subject.run / layout.TRAIN / layout.ADAPTER
    reinforced = subject.recipe.method.reinforcement if subject.recipe else None
    sets = subject.recipe.problems if subject.recipe else ()
    learnt = summary.learnability
    rows = [
        ("student", student.name),
        (
            "its revision",
            student.revision or (f"content {student.content}" if student.content else "not known"),
        ),
        (
            "method",
            f"{subject.recipe.method.name}: {subject.recipe.method.summary}" if subject.recipe else "drp",
        ),
        ("teacher", subject.teacher),
        ("trained on", ", ".join(f"{public_name(s.hub or s.benchmark)} ({s.split})" for s in sets)),
        ("training", _counted(summary.train_counts)),
        ("settings", "" if reinforced else ", ".join(f"{n} {train[n]}" for n in _SETTINGS if n in train)),
        (
            "reinforcement",
            ", ".join(f"{n} {v}" for n, v in defining(reinforced).items() if n != "kind")
            if reinforced
            else "",
        ),
        ("scale of the adapter when merged", f"{subject.adapter_scale:g}" if adapter.is_dir() else ""),
    ]
    if prune := summary.prune:
        rows.append(("pruned traces", f"{prune.accepted} of {prune.traces} accepted by every check"))
        rows.append(("their tokens, mean", f"{prune.tokens_before:.0f} → {prune.tokens_after:.0f}"))
    if learnt:
        figures = f"{learnt['own_trace']:.3f} → {learnt['pruned']:.3f} nats (n = {learnt['examples']:.0f})"
        rows.append(("learnability: NLL per token under the untrained student, own trace → target", figures))
    rows.append(("made with", ", ".join(f"{name} {version}" for name, version in summary.versions.items())))
    return Table("How it was made", ("what", "value"), tuple((name, value) for name, value in rows if value))


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in counts.items() if n)


def _limits(subject: Subject) -> list[str]:
    summary = subject.summary
    told = [
        f"{r.benchmark} {100 * r.comparison.smallest_difference:.0f}"
        for r in summary.benchmarks
        if r.comparison
    ]
    found = ["One training with one seed. Another seed gives other figures."]
    if told:
        found.append(
            "The figures hold for the protocol above. With other sampling, prompts or graders, both models may measure otherwise; "
            "compare them side by side."
        )
    found.append(
        "Problems unlike those trained on may suffer: what makes a thinking shorter, such as less checking, can carry accuracy there."
    )
    if told:
        found.append(
            f"So many problems tell a difference in accuracy of this many points or more from none: {', '.join(told)}. Smaller "
            "losses cannot be excluded."
        )
    if summary.notes:
        found.append(
            f"When this was written, the run was not whole: its report had {len(summary.notes)} note(s)."
        )
    return found


def licence(subject: Subject, part: str) -> str:
    """Return what is known of a part's licence, and who has to fill it in where nothing is."""
    if known := subject.licence_of(part):
        return f"`{known}`" + ("." if subject.licence else ", as the student's.")
    whose = "it" if part == layout.DATASET else "the student's"
    return (
        f"**To be filled in by the publisher**: {whose} was not known when this card was written. Put it into `license:` at the "
        "head of this card."
    )


def _bullets(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)

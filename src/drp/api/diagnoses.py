"""The verb that looks at completions before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drp.runs.stage import NoProgress, Progress, Say, silent

if TYPE_CHECKING:
    from drp.diagnosis.records import Diagnosis


def diagnose(  # noqa: PLR0913  options of one command, by name
    source: str | Path,
    *,
    model: str | None = None,
    benchmark: str = "mini-gsm",
    limit: int = 40,
    overrides: Sequence[str] = (),
    question: str | None = None,
    gold: str | None = None,
    completion: str | None = None,
    prefilled: bool | None = None,
    tokenizer: str | None = None,
    pruned: int = 100,
    out: str | Path | None = None,
    progress: Progress | None = None,
    say: Say = silent,
) -> Diagnosis:
    r"""Say where the tokens of completions go, what comes after the answer, and what might be saved; trains nothing.

    Args:
        source: A file of completions (JSONL, Parquet, lm-eval samples, chats), a run folder, or a model, which answers some
            problems first.
        model: The model that wrote them, to be run for the remedies that need it; a ``source`` that is a model is run anyway.
        benchmark: Whose problems a ``source`` that is a model answers.
        limit: How many of them; and at most so many completions are tried with the model.
        overrides: Changes to the recipe by which the model is run, ``section.field=value``.
        question: Field of the question, if not under a usual name.
        gold: Field of the gold answer, likewise; without one, nothing is said of accuracy.
        completion: Field of the completion, likewise.
        prefilled: Whether the prompts ended in <think>; left out, it is told from the file.
        tokenizer: Folder or hub id that counts tokens; left out: the model's, else characters are counted.
        pruned: At most so many completions are pruned by rules to see what that saves; 0: none.
        out: Write ``diagnosis.json`` and ``diagnosis.html`` into this folder; of a model, also its completions.
        progress: Where the stage that runs a model reports how far it is.
        say: Told what takes its time, one line at a time.

    Raises:
        DataError: What was named does not exist, or is in no documented format.

    Examples:
        >>> import json
        >>> thinking = "So 3 * 24 = 72. Let me verify that. 24 + 24 + 24 = 72. Yes. So the answer is 72."
        >>> row = {"question": "What is 3 * 24?", "gold": "72", "thinking": thinking, "answer": "It is 72."}
        >>> _ = Path("three.jsonl").write_text(json.dumps(row))
        >>> found = drp.diagnose("three.jsonl")
        >>> found.completions, found.accuracy.value, round(found.conclusion.after.value, 2)
        (1, 1.0, 0.82)
    """
    from drp.benchmarks.completions import Fields
    from drp.diagnosis.commands import next_command
    from drp.diagnosis.diagnose import Depth, diagnose
    from drp.diagnosis.page import write_diagnosis
    from drp.diagnosis.sources import Source, asked_of, from_file, from_run, is_model
    from drp.jobs import running

    path, folder = Path(source), Path(out) if out else None
    is_one = is_model(str(source))
    named = str(source) if is_one else model
    recipe = asked_of(named or "mini", benchmark, limit, overrides)
    if is_one:
        folder = folder or Path("runs") / f"diagnose-{path.name}"
        with running(recipe, (), folder, None, False, progress or NoProgress(), say, "generate") as pipeline:
            found = Source(recipe.name, pipeline.generate(), {})
    elif path.is_dir():
        found = from_run(path)
    else:
        found = from_file(path, Fields(question=question, gold=gold, completion=completion), prefilled)
    diagnosis = diagnose(
        found,
        tokenizer=tokenizer,
        student=recipe.student if named else None,
        prompt=recipe.prompt,
        depth=Depth(pruned, limit),
        next_command=next_command(str(source), is_one, path.is_dir()),
        say=say,
    )
    if folder:
        write_diagnosis(diagnosis, folder)
    return diagnosis

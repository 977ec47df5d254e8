"""Before the first token is drawn: is there what every stage that is still to run needs?

A missing key or a full disk is cheap to notice now, and dear after hours of generation. Nothing here
costs money, loads weights or writes anything.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from drp.benchmarks.registry import ProblemSet, load_problems
from drp.engines.encoding import render_prompt
from drp.engines.identity import resolve_model
from drp.engines.prompting import prompt_messages
from drp.engines.registry import EngineSettings
from drp.engines.settings import EndpointSettings
from drp.errors import DataError, DrpError, MissingExtraError, PreflightError, RunFolderError
from drp.findings import Finding, ok, problem, unknown, warning
from drp.on_file import OnFile, wanted_traces
from drp.recipe import Recipe
from drp.records import Problem
from drp.runs import layout
from drp.text.tokens import FileTokenCounter
from drp.training.tracking import lacking

BYTES_A_TRACE = 40_000
"""About what one trace of 10,000 tokens takes on disk."""
COPIES = 2.5
"""A training leaves a merged model beside its adapter, and checkpoints on the way."""


def due(work: OnFile) -> tuple[str, ...]:
    """Return the stages of a recipe that have something left to do in its run folder."""
    recipe, folder = work.recipe, work.run_folder
    found: list[str] = []
    stages = (*recipe.method.stages, layout.EVALUATE)
    settings = {layout.GENERATE: work.generate_settings, layout.PRUNE: work.prune_settings}
    for stage in stages:
        if stage == layout.EVALUATE:
            wanted = wanted_traces(work.evaluation_problems(), recipe.evaluate.runs)
            after = layout.PROMPTED if recipe.method.trains_on == "nothing" else layout.DISTILLED
            complete = not any(work.owed(layout.evaluation(which), wanted) for which in (layout.BASE, after))
        else:
            manifest = folder.stage(stage).manifest()
            complete = manifest is not None and manifest.complete
        if stage == layout.GENERATE:
            wanted = wanted_traces(work.training_problems(), recipe.generate.samples)
            complete = complete and not work.owed(stage, wanted)
        changed = complete and stage in settings and folder.changes(stage, settings[stage]())
        if found or not complete or changed:  # whatever follows a stage that runs may run too
            found.append(stage)
    return tuple(found)


def preflight(
    recipe: Recipe,
    run: Path,
    stages: Sequence[str],
    limit: int | None = None,
    *,
    hub: bool = True,
    problems: bool = True,
    light: bool = False,
) -> list[Finding]:
    """Look at everything that the given stages need.

    Args:
        recipe: The recipe.
        run: The run folder; it need not exist.
        stages: Which stages are to run.
        limit: At most this many problems per problem set.
        hub: Whether the Hugging Face hub may be asked; if not, what only it knows stays unknown.
        problems: Whether the stages read the recipe's problems at all.
        light: Whether to leave out what takes seconds: generated problems, and what needs torch, which are the device
            and the student's tokenizer.
    """
    engines: dict[str, EngineSettings] = {
        name: part.engine
        for name, part in ((layout.GENERATE, recipe.generate), (layout.EVALUATE, recipe.evaluate))
        if name in stages
    }
    teacher = recipe.prune.teacher
    scores = layout.PRUNE in stages and (recipe.prune.learnability or teacher.loads_student)
    local = any(e.in_process for e in engines.values()) or layout.TRAIN in stages or scores
    server = recipe.prune.student_server if scores else None
    weighs = local and (not server or layout.TRAIN in stages or any(e.in_process for e in engines.values()))
    findings = [*_problems(recipe, stages, limit, hub=hub, light=light)] if problems else []
    missing = _packages("torch", "transformers") if local else []
    if layout.TRAIN in stages:
        missing += _packages("trl", "peft", "datasets", "accelerate")
        if said := lacking(recipe.train.tracker):
            findings.append(problem("train.tracker", said))
    if missing:
        findings.append(problem("packages", str(MissingExtraError(", ".join(missing), "train"))))
    elif local and not light:
        findings.append(ok("packages", "torch and what training needs are installed"))
        findings += _student(recipe, hub=hub, weighs=weighs)
    for name, engine in engines.items():
        if (absent := _packages(*engine.packages)) and not missing:
            findings.append(
                problem("packages", str(MissingExtraError(", ".join(absent), engine.installed_by)))
            )
        if served := engine.endpoint(recipe.student):
            part = recipe.generate if name == layout.GENERATE else recipe.evaluate
            findings.append(_endpoint(f"{name}.engine", *served, part.sampling.max_new_tokens))
    if layout.PRUNE in stages and (asked := teacher.asked()):
        findings.append(_endpoint("teacher's endpoint", *asked))
    if server:
        findings.append(_endpoint("prune.student_server", server.name(recipe.student), server))
    if layout.PRUNE in stages and recipe.prune.tokenizer:
        try:
            FileTokenCounter(resolve_model(recipe.prune.tokenizer))
        except DataError as error:
            findings.append(problem("prune.tokenizer", str(error)))
    findings.append(_disk(recipe, run, stages))
    return findings


def refuse(findings: Sequence[Finding]) -> None:
    """Stop where something is missing.

    Raises:
        PreflightError: It names everything that would stop the run, at once.
    """
    problems = [f"{finding.what}: {finding.detail}" for finding in findings if finding.state == "problem"]
    if problems:
        raise PreflightError(
            "nothing was started, since the run could not end well:\n  " + "\n  ".join(problems)
        )


def _packages(*names: str) -> list[str]:
    """Return which packages are not installed."""
    return [name for name in names if find_spec(name) is None]


def _problems(
    recipe: Recipe, stages: Sequence[str], limit: int | None, *, hub: bool, light: bool
) -> Iterator[Finding]:
    """Look whether the problem sets can be read, and whether any problem is trained on and evaluated on."""
    wanted: dict[str, Sequence[ProblemSet]] = {}
    if set(stages) - {layout.EVALUATE}:
        wanted["training problems"] = recipe.problems
    if layout.EVALUATE in stages:
        wanted["evaluation problems"] = recipe.evaluate.benchmarks
    found: dict[str, dict[str, Problem]] = {}
    for what, sets in wanted.items():
        made = [s for s in sets if light and s.generated]
        here = [s for s in sets if s not in made and (hub or not s.from_hub)]
        notes: list[str] = []
        try:
            found[what] = {p.id: p for s in here for p in load_problems(s, limit, notes.append)}
        except (DataError, MissingExtraError) as error:
            yield problem(what, str(error))
            continue
        left = [s.benchmark for s in sets if s not in here and s not in made]
        count = len(found[what]) + sum(min(s.count or 100, limit or 10**9) for s in made)
        said = "; ".join([f"{count:,} {'there' if made else 'read'}", *notes])
        if left:
            yield unknown(what, f"{said}; {', '.join(left)}: on the hub, not looked up")
        elif not count:
            named = ", ".join(str(s.path or s.hub or s.benchmark) for s in here) or "the recipe"
            yield problem(what, f"there are none in {named}; look at count and path")
        else:
            yield ok(what, said)
    if len(found) == 2:
        trained, evaluated = found["training problems"], found["evaluation problems"]
        if both := set(trained) & set(evaluated):
            example = trained[min(both)].question[:80]
            yield warning(
                "overlap",
                f"{len(both):,} problems are trained on and evaluated on too, such as {example!r}: "
                "accuracy on them says nothing about new problems",
            )


def _student(recipe: Recipe, *, hub: bool, weighs: bool) -> Iterator[Finding]:
    """Look whether the student is there, with weights if it ``weighs``, its device exists and its template takes the messages."""
    from drp.engines.transformers_engine import load_tokenizer, pick_device

    try:
        yield ok("device", str(pick_device(recipe.student.device)))
    except DrpError as error:
        yield problem("device", str(error))
    path = resolve_model(recipe.student.source)
    if Path(path).is_dir():
        if weighs and not [*Path(path).glob("*.safetensors"), *Path(path).glob("pytorch_model*.bin")]:
            yield problem("student", f"{path} holds no weights (*.safetensors)")
            return
    elif not hub:
        yield unknown("student", f"{path} is no folder here, and the hub was not asked")
        return
    try:
        render_prompt(
            load_tokenizer(path),
            [
                m.model_dump()
                for m in prompt_messages(recipe.prompt, "1 + 1 = ?", Problem(question="", gold="").task)
            ],
            recipe.prompt.template_arguments,
            recipe.student.thinking_tags,
        )
    except DrpError as error:
        yield problem("student", str(error))
    else:
        yield ok("student", f"{path}; its template takes the prompt's messages")


def _endpoint(what: str, model: str, settings: EndpointSettings, needed: int = 0) -> Finding:
    from drp.engines.endpoint_check import look_at_endpoint  # a second of imports, where no endpoint is asked

    return look_at_endpoint(what, model, settings, needed)


def _disk(recipe: Recipe, run: Path, stages: Sequence[str]) -> Finding:
    """Look whether the run folder can be written to and has room."""
    there = run.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return problem("disk", f"{there} cannot be written to; choose another folder with --out")
    student = Path(resolve_model(recipe.student.source))
    weights = sum(p.stat().st_size for p in student.glob("*.safetensors")) if student.is_dir() else 0
    needed = COPIES * weights if layout.TRAIN in stages else 0.0
    needed += BYTES_A_TRACE * recipe.generate.samples * sum(s.count or 0 for s in recipe.problems)
    free = shutil.disk_usage(there).free
    said = f"{free / 1e9:,.1f} GB free at {there}, about {needed / 1e9:,.1f} GB needed"
    return problem("disk", said) if free < needed else ok("disk", said)


def check_before(work: OnFile, *stages: str) -> None:
    """Look at what the stages that are due need, say what is doubtful, and stop where something is missing.

    Args:
        work: The recipe and its run folder.
        stages: Only these; all of the recipe's method if left out.

    Raises:
        PreflightError: Something is missing.
    """
    try:
        owed = due(work)
    except (DataError, MissingExtraError, RunFolderError):
        owed = (*work.method.stages, layout.EVALUATE)  # whatever it is, it is among the findings
    todo = [stage for stage in owed if not stages or stage in stages]
    if not todo:
        return
    findings = preflight(work.recipe, work.run_folder.path, todo, work.limit)
    refuse(findings)
    for finding in findings:
        if finding.state == "warning":
            work.say(f"warning: {finding.what}: {finding.detail}")

"""Before the first token is drawn: is there what every stage that is still to run needs?

A missing key or a full disk is cheap to notice now, and dear after hours of generation. Nothing here
costs money, loads weights or writes anything.
"""

import asyncio
import os
import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import openai

from drp.benchmarks.registry import ProblemSet, load_problems
from drp.engines.encoding import render_prompt
from drp.engines.identity import resolve_model
from drp.engines.prompting import prompt_messages
from drp.engines.registry import EngineSettings
from drp.engines.served import open_endpoint
from drp.engines.settings import EndpointSettings
from drp.errors import DataError, DrpError, MissingExtraError, PreflightError, RunFolderError
from drp.on_file import OnFile, wanted_traces
from drp.recipe import Recipe
from drp.records import Problem, Record
from drp.runs import layout
from drp.runs.concurrency import run_until_done
from drp.text.tokens import FileTokenCounter
from drp.training.tracking import lacking

ANSWER_S = 10.0
"""Seconds an endpoint has to say which models it serves."""
BYTES_A_TRACE = 40_000
"""About what one trace of 10,000 tokens takes on disk."""
COPIES = 2.5
"""A training leaves a merged model beside its adapter, and checkpoints on the way."""

State = Literal["ok", "problem", "warning", "unknown"]
_SIGNS: dict[State, str] = {"ok": "ok", "problem": "PROBLEM", "warning": "warning", "unknown": "not known"}


class Finding(Record):
    """What one look found."""

    what: str
    state: State
    detail: str

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{_SIGNS[self.state]:<9}  {self.what}: {self.detail}"


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
) -> list[Finding]:
    """Look at everything that the given stages need.

    Args:
        recipe: The recipe.
        run: The run folder; it need not exist.
        stages: Which stages are to run.
        limit: At most this many problems per problem set.
        hub: Whether the Hugging Face hub may be asked; if not, what only it knows stays unknown.
        problems: Whether the stages read the recipe's problems at all.
    """
    engines: dict[str, EngineSettings] = {
        name: part.engine
        for name, part in ((layout.GENERATE, recipe.generate), (layout.EVALUATE, recipe.evaluate))
        if name in stages
    }
    teacher = recipe.prune.teacher
    scores = layout.PRUNE in stages and (recipe.prune.learnability or teacher.loads_student)
    local = any(e.in_process for e in engines.values()) or layout.TRAIN in stages or scores
    findings = [*_problems(recipe, stages, limit, hub=hub)] if problems else []
    missing = _packages("torch", "transformers") if local else []
    if layout.TRAIN in stages:
        missing += _packages("trl", "peft", "datasets", "accelerate")
        if said := lacking(recipe.train.tracker):
            findings.append(_problem("train.tracker", said))
    if missing:
        findings.append(_problem("packages", str(MissingExtraError(", ".join(missing), "train"))))
    elif local:
        findings.append(
            Finding(what="packages", state="ok", detail="torch and what training needs are installed")
        )
        findings += _student(recipe, hub=hub)
    for name, engine in engines.items():
        if (absent := _packages(*engine.packages)) and not missing:
            findings.append(
                _problem("packages", str(MissingExtraError(", ".join(absent), engine.installed_by)))
            )
        if served := engine.endpoint(recipe.student):
            findings.append(_endpoint(f"{name}.engine", *served))
    if layout.PRUNE in stages and (asked := teacher.asked()):
        findings.append(_endpoint("teacher's endpoint", *asked))
    if layout.PRUNE in stages and recipe.prune.tokenizer:
        try:
            FileTokenCounter(resolve_model(recipe.prune.tokenizer))
        except DataError as error:
            findings.append(_problem("prune.tokenizer", str(error)))
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


def _problem(what: str, detail: str) -> Finding:
    return Finding(what=what, state="problem", detail=detail)


def _packages(*names: str) -> list[str]:
    """Return which packages are not installed."""
    return [name for name in names if find_spec(name) is None]


def _problems(recipe: Recipe, stages: Sequence[str], limit: int | None, *, hub: bool) -> Iterator[Finding]:
    """Look whether the problem sets can be read, and whether any problem is trained on and evaluated on."""
    wanted: dict[str, Sequence[ProblemSet]] = {}
    if set(stages) - {layout.EVALUATE}:
        wanted["training problems"] = recipe.problems
    if layout.EVALUATE in stages:
        wanted["evaluation problems"] = recipe.evaluate.benchmarks
    found: dict[str, dict[str, Problem]] = {}
    for what, sets in wanted.items():
        here = [s for s in sets if hub or not s.from_hub]
        notes: list[str] = []
        try:
            found[what] = {p.id: p for s in here for p in load_problems(s, limit, notes.append)}
        except (DataError, MissingExtraError) as error:
            yield _problem(what, str(error))
            continue
        left = [s.benchmark for s in sets if s not in here]
        said = "; ".join([f"{len(found[what]):,} read", *notes])
        if left:
            yield Finding(
                what=what, state="unknown", detail=f"{said}; {', '.join(left)}: on the hub, not looked up"
            )
        elif not found[what]:
            named = ", ".join(str(s.path or s.hub or s.benchmark) for s in here) or "the recipe"
            yield _problem(what, f"there are none in {named}; look at count and path")
        else:
            yield Finding(what=what, state="ok", detail=said)
    if len(found) == 2:
        trained, evaluated = found["training problems"], found["evaluation problems"]
        if both := set(trained) & set(evaluated):
            example = trained[min(both)].question[:80]
            yield Finding(
                what="overlap",
                state="warning",
                detail=f"{len(both):,} problems are trained on and evaluated on too, such as {example!r}: "
                "accuracy on them says nothing about new problems",
            )


def _student(recipe: Recipe, *, hub: bool) -> Iterator[Finding]:
    """Look whether the student is there, its device exists and its template takes the messages."""
    from drp.engines.transformers_engine import load_tokenizer, pick_device

    try:
        yield Finding(what="device", state="ok", detail=str(pick_device(recipe.student.device)))
    except DrpError as error:
        yield _problem("device", str(error))
    path = resolve_model(recipe.student.source)
    if Path(path).is_dir():
        if not [*Path(path).glob("*.safetensors"), *Path(path).glob("pytorch_model*.bin")]:
            yield _problem("student", f"{path} holds no weights (*.safetensors)")
            return
    elif not hub:
        yield Finding(
            what="student", state="unknown", detail=f"{path} is no folder here, and the hub was not asked"
        )
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
        yield _problem("student", str(error))
    else:
        yield Finding(what="student", state="ok", detail=f"{path}; its template takes the prompt's messages")


def _endpoint(what: str, model: str, settings: EndpointSettings) -> Finding:
    """Look whether an endpoint has a key, answers, and serves the model; asking which models it serves is free."""
    where = settings.base_url or "the provider"

    async def models() -> list[str]:
        engine = open_endpoint(model, settings)
        try:
            async with asyncio.timeout(ANSWER_S):
                found = await engine.client.with_options(max_retries=0).models.list()
            return [served.id for served in found.data]
        finally:
            await engine.close()

    try:
        served = run_until_done(models())
    except DrpError as error:
        return _problem(what, str(error))
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        return _problem(what, f"{where} refuses the key: {error.message}")
    except openai.APIStatusError as error:
        hint = (
            ""
            if (settings.base_url or "/v1").rstrip("/").endswith("/v1")
            else "; is /v1 missing in base_url?"
        )
        said = f"{where} answers {error.status_code} when asked for its models{hint}"
        return Finding(what=what, state="unknown", detail=said)
    except (openai.APIConnectionError, TimeoutError) as error:
        url = urlsplit(settings.base_url or "https://")
        mend = "is it running? Is its name spelt right?"
        if url.scheme not in ("http", "https"):
            mend = "write the URL with http:// or https:// in front"
        elif "SSL" in str(error.__cause__) or "WRONG_VERSION" in str(error.__cause__):
            mend = "does it speak https? Write http:// if not"
        reason = str(error.__cause__ or error).replace(" ssl:default", "")
        return _problem(what, f"nobody answers at {where} ({reason}); {mend}")
    except Exception as error:  # noqa: BLE001 – a list of models of any shape proves no more than that somebody answers
        return Finding(
            what=what, state="unknown", detail=f"{where} answers, but not with its models: {error}"
        )
    if served and model not in served and settings.base_url:
        names = ", ".join(served[:5])
        return Finding(
            what=what, state="unknown", detail=f"{where} answers, but names {names} and not {model}"
        )
    return Finding(what=what, state="ok", detail=f"{where} answers")


def _disk(recipe: Recipe, run: Path, stages: Sequence[str]) -> Finding:
    """Look whether the run folder can be written to and has room."""
    there = run.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return _problem("disk", f"{there} cannot be written to; choose another folder with --out")
    student = Path(resolve_model(recipe.student.source))
    weights = sum(p.stat().st_size for p in student.glob("*.safetensors")) if student.is_dir() else 0
    needed = COPIES * weights if layout.TRAIN in stages else 0.0
    needed += BYTES_A_TRACE * recipe.generate.samples * sum(s.count or 0 for s in recipe.problems)
    free = shutil.disk_usage(there).free
    said = f"{free / 1e9:,.1f} GB free at {there}, about {needed / 1e9:,.1f} GB needed"
    return Finding(what="disk", state="problem" if free < needed else "ok", detail=said)


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

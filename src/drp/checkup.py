"""What `drp doctor` looks at: the machine, its packages and keys, and what a recipe will meet there. Loads no torch."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from jinja2 import TemplateError

from drp import machine
from drp.engines.identity import resolve_model
from drp.engines.providers import PROVIDERS
from drp.engines.student_files import StudentFiles, student_files
from drp.findings import Finding, ok, problem, unknown, warning
from drp.recipe import Recipe
from drp.records import PrunedTrace, Trace
from drp.runs import layout
from drp.runs.reader import RunReader
from drp.text.thinking import THINK

HUB_S = 3.0
PROMPT_TOKENS = 300
"""About what a question takes; those of the public benchmarks stay below."""
MOST_TRACES = 2_000
"""So many traces on file tell how long they are."""
TRAIN_HINT = "pip install 'drp-reasoning[train]'"


def checkup(recipe: Recipe | None = None, run: Path | None = None, limit: int | None = None) -> list[Finding]:
    """Return what was found, one finding a look; costs nothing, and writes nothing.

    Args:
        recipe: What is to be run; left out, only the machine is looked at.
        run: Its run folder; it need not exist.
        limit: At most this many problems per problem set.
    """
    found = machine.gpus()
    findings = [_python(), *_packages(), *_memory(), *_keys()]
    if recipe is None or run is None:
        return [*findings, *_gpu(found, None), _room(Path.cwd())]
    from drp.preflight import preflight

    stages = (*recipe.method.stages, layout.EVALUATE)
    needs = preflight(recipe, run, stages, limit, hub=False, light=True)
    local = recipe.method.trains_on != "nothing" or recipe.generate.engine.in_process
    known = student_files(recipe.student.source, hub=False)
    student = [*_gpu(found, recipe, known), *_student(recipe, known)] if local else []
    return [*findings, *student, *_hub(recipe), *needs, *_lengths(recipe, run)]


def _python() -> Finding:
    if sys.version_info < machine.OLDEST_PYTHON:
        return problem("python", machine.python(), "Python 3.11 or newer is needed")
    return ok("python", machine.python())


def _packages() -> Iterator[Finding]:
    """Compare what is installed with what the package's own metadata asks for."""
    core = machine.packages()
    if core is None:
        yield unknown(
            "packages", "drp runs from sources that are not installed: pip install -e . in its folder"
        )
        return
    if lacking := [f"{p.name}{p.wanted}" for p in core if p.found is None]:
        yield problem(
            "packages", f"{', '.join(lacking)} missing", "pip install --force-reinstall drp-reasoning"
        )
    training = machine.packages("train") or []
    here = [p for p in training if p.found]
    if len(here) < len(training):
        absent = ", ".join(p.name for p in training if not p.found)
        detail = (
            f"{absent} not installed: drp can prune, grade and compare, not run or train a student in process"
        )
        yield warning("packages", detail, TRAIN_HINT)
    if other := [
        f"{p.name} {p.found} (tested with {p.wanted})" for p in (*core, *here) if p.found and not p.fits
    ]:
        yield warning(
            "versions", "; ".join(other), f"pip install --upgrade 'drp-reasoning{'[train]' * bool(here)}'"
        )
    if not lacking:
        others = {name: machine.version_of(name) for name in ("vllm", "ray")}
        named = ", ".join(
            f"{p.name} {p.found}" for p in here if p.name in ("torch", "transformers", "trl", "peft")
        )
        served = "".join(f"; {name} {version}" for name, version in others.items() if version)
        yield ok("packages", f"the {len(core)} that drp needs" + (f"; {named}" if named else "") + served)


def _memory() -> Iterator[Finding]:
    found = machine.memory_gb()
    if found is not None and found < 4:
        yield warning("memory", f"{found:.1f} GB", "training the embedded student takes about 3 GB")
    elif found is not None:
        yield ok("memory", f"{found:.0f} GB")


def _keys() -> Iterator[Finding]:
    """Say which keys are in the environment; the keys themselves are never shown."""
    state = machine.keys([*(p.key_variable for p in PROVIDERS.values()), "HF_TOKEN"])
    if odd := [name for name, how in state.items() if how == "odd"]:
        mend = "export it again without quotes or white space around it"
        yield warning("keys", f"{', '.join(odd)}: there are quotes or white space around the key", mend)
    there = [name for name, how in state.items() if how == "set"]
    if there or not odd:
        absent = "no key is set; teachers `student` and `rules` need none"
        yield ok("keys", f"{', '.join(there)} set" if there else absent)


def _gpu(
    found: list[machine.Gpu], recipe: Recipe | None, known: StudentFiles | None = None
) -> Iterator[Finding]:
    """Look whether there is a GPU, torch sees it, and a student fits."""
    large = known is None or (known.parameters or 1e9) > 1e8
    device = re.fullmatch(r"cuda(?::(\d+))?", recipe.student.device if recipe else "auto")
    if device and int(device[1] or 0) >= len(found):
        detail = f"student.device={device[0]}, and nvidia-smi lists {len(found)} GPU(s)"
        yield problem("gpu", detail, "student.device=auto")
        return
    if not found:
        none = "none that nvidia-smi lists; the embedded student needs none"
        if recipe is None or not large or recipe.student.device != "auto":
            yield ok("gpu", none)
        else:
            detail = f"none that nvidia-smi lists, and {recipe.student.model} would take days on a CPU"
            yield warning("gpu", detail, "take a machine with a GPU, or an endpoint: generate.engine=openai")
        return
    names = ", ".join(f"{gpu.name} ({gpu.free_gb:.0f} of {gpu.total_gb:.0f} GB free)" for gpu in found)
    torch = machine.version_of("torch")
    if torch is None:
        yield ok("gpu", f"{names}; driver {found[0].driver}")
    elif torch.endswith("+cpu"):
        yield problem(
            "gpu",
            f"{names}, but torch {torch} is built for the CPU",
            f"pip uninstall torch, then {TRAIN_HINT}",
        )
    elif seen := machine.torch_sees():
        yield ok("gpu", f"{names}; driver {found[0].driver}, torch {torch} with CUDA {seen.split()[0]}")
    else:
        detail = f"{names}, but torch {torch} sees no CUDA device under driver {found[0].driver}"
        yield problem(
            "gpu", detail, "update the driver, or install a torch built for it (pytorch.org has the table)"
        )
    if known and known.parameters and recipe:
        needed, free = known.parameters * 2 / 1e9, max(gpu.free_gb for gpu in found)
        if needed * 1.3 > free:
            detail = f"the student's weights take {needed:.0f} GB in bfloat16, and {free:.0f} GB are free"
            yield warning(
                "gpu memory", detail, "take a smaller student or a larger GPU, or end what else runs there"
            )


def _student(recipe: Recipe, known: StudentFiles | None) -> Iterator[Finding]:
    """Look whether the student is there, keeps thinking under its template, and has room for what is asked."""
    source = recipe.student.source
    folder = Path(resolve_model(source))
    if folder.is_dir() and not [*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]:
        yield problem("student", f"{folder} holds no weights (*.safetensors)")
    if known is None:
        yield unknown("student", f"{source} is no folder here, and nothing of it is on this machine yet")
        return
    by_name = known.source == "family"
    where = f"{source}: not on this machine, what follows is known of its family" if by_name else source
    yield ok("student", where) if folder.is_dir() or not by_name else unknown("student", where)
    yield _template(recipe, known)
    new = max(recipe.generate.sampling.max_new_tokens, recipe.evaluate.sampling.max_new_tokens)
    if known.context and new + PROMPT_TOKENS > known.context:
        detail = f"{known.context:,} tokens, and {new:,} new ones may be asked beside the question: completions end there"
        yield warning(
            "context", detail, f"generate.sampling.max_new_tokens={max(1, known.context - PROMPT_TOKENS)}"
        )
    elif known.context:
        yield ok("context", f"{known.context:,} tokens; at most {new:,} new ones are asked")


def _template(recipe: Recipe, known: StudentFiles) -> Finding:
    """Look whether the student will think, and between which tags."""
    tags, arguments = recipe.student.thinking_tags, recipe.prompt.template_arguments
    switched = known.switch and f"prompt.template_arguments={{{known.switch}: true}}"
    if known.tags and known.tags != tags:
        own = f'student.thinking_tags=["{known.tags.open}", "{known.tags.close}"]'
        return problem(
            "template",
            f"the student thinks between {' and '.join(known.tags)}, not {' and '.join(tags)}",
            own,
        )
    if known.source == "family":
        how = "opens the thinking itself" if known.prefilled else "leaves opening the thinking to the student"
        return ok("template", f"{how}" + (f"; {known.switch} turns it on and off" if known.switch else ""))
    if known.template is None:
        return problem("template", "there is none", "put a chat_template.jinja beside its tokenizer.json")
    try:
        prompt = known.prompt(arguments).rstrip()
    except TemplateError as error:
        return unknown("template", f"cannot be rendered here: {error}")
    if prompt.endswith(tags.close) or arguments.get(known.switch or "") is False:
        return problem(
            "template", "it closes the thinking before the student begins", switched or "set its argument"
        )
    opens = "opens the thinking itself" if tags.end(prompt) else "leaves opening the thinking to the student"
    if known.tags is None and tags == THINK:
        return warning(
            "template", f"neither it nor the tokenizer knows {tags.close}: is this a model that thinks?",
            "name its tags with student.thinking_tags, or take a reasoning model",
        )  # fmt: skip
    drops = (
        "; it would drop the thinking of training texts, so they are built by hand"
        if tags.close in known.template
        else ""
    )
    return ok("template", f"keeps thinking: {opens}{drops}")


def _hub(recipe: Recipe) -> Iterator[Finding]:
    """Look whether the hub answers, where something has to come from it."""
    wanted = [s.benchmark for s in (*recipe.problems, *recipe.evaluate.benchmarks) if s.from_hub]
    if not Path(resolve_model(recipe.student.source)).is_dir():
        wanted.insert(0, recipe.student.source)
    if not wanted:
        return
    mend = "give folders and files instead: student.model=FOLDER, {benchmark: NAME, path: FILE.jsonl}"
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("0", ""):
        yield warning(
            "hub", f"HF_HUB_OFFLINE is set: only what was fetched before is there ({', '.join(wanted)})", mend
        )
        return
    url = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        with urlopen(url, timeout=HUB_S):
            pass
    except HTTPError:
        pass  # whoever refuses is there
    except (OSError, ValueError) as error:
        yield warning(
            "hub",
            f"{url} cannot be reached ({getattr(error, 'reason', error)}), and {', '.join(dict.fromkeys(wanted))} would come from it",
            mend,
        )
        return
    yield ok("hub", f"{url} answers")


def _lengths(recipe: Recipe, run: Path) -> Iterator[Finding]:
    """Compare the longest example that training takes with the traces on file."""
    if layout.TRAIN not in recipe.method.stages or recipe.method.reinforcement:
        return
    reader, most = RunReader(run), recipe.train.max_length
    pruned = [
        p.tokens_after for p in islice(reader.records(layout.PRUNE, PrunedTrace), MOST_TRACES) if p.accepted
    ]
    lengths = pruned or [
        t.usage.completion_tokens
        for t in islice(reader.records(layout.GENERATE, Trace), MOST_TRACES)
        if t.usage and t.closed and t.correct
    ]
    becomes = "left out" if recipe.train.over_length == "drop" else "refused"
    if not lengths:
        yield ok(
            "max_length",
            f"training takes examples of up to {most:,} tokens; longer ones are {becomes}, and counted",
        )
        return
    longer = [n for n in lengths if n + PROMPT_TOKENS > most]
    said = f"{len(longer):,} of {len(lengths):,} {'pruned ' * bool(pruned)}traces on file"
    if len(longer) * 50 > len(lengths):
        ample = sorted(lengths)[int(0.98 * (len(lengths) - 1))] + PROMPT_TOKENS
        yield warning(
            "max_length",
            f"{said} may exceed train.max_length={most:,} and be {becomes}",
            f"train.max_length={ample}",
        )
    else:
        yield ok("max_length", f"{said} may exceed train.max_length={most:,}")


def _room(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / 1e9
    if not os.access(folder, os.W_OK | os.X_OK):
        return problem("disk", f"{folder} cannot be written to", "go to a folder of yours")
    mend = "a run with a 1.5B student takes about 10 GB"
    return (
        warning("disk", f"{free:.1f} GB free at {folder}", mend)
        if free < 2
        else ok("disk", f"{free:,.0f} GB free at {folder}")
    )

"""The first recipe of one's own: what is asked, what this machine and the student's files answer, and the text."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from drp import machine
from drp.benchmarks import mini_world
from drp.benchmarks.public import PUBLIC
from drp.benchmarks.registry import BENCHMARKS, ProblemSet, load_problems
from drp.engines.identity import HUB_ID, resolve_model
from drp.engines.pricing import price_of
from drp.engines.providers import PRESETS, PROVIDERS, ProviderName, provider_of
from drp.engines.student_files import StudentFiles, size_in_name, student_files
from drp.errors import RecipeError
from drp.recipe import load_recipe
from drp.recipe.parsing import parse_yaml
from drp.records import Record
from drp.runs.journal import write_atomically
from drp.teachers.registry import TEACHERS
from drp.text.thinking import THINK

SMALL = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
OF_PROVIDERS: tuple[tuple[ProviderName, str], ...] = (
    ("openai", "gpt-4o"), ("deepseek", "deepseek-v4-flash"), ("openrouter", "deepseek-v3"),
)  # fmt: skip
"""Which model is asked where a key is set; Gemini has none here, since the paper's was shut down."""
MOST_LINES = 40
BOXED = "{question}\\nPlease reason step by step, and put your final answer within \\\\boxed{}."
KV_BYTES = {1.5: 28_672, 7.0: 57_344, 8.0: 147_456}
"""Keys and values of a token, by billions of parameters: Qwen2.5 1.5B and 7B, Qwen3; where no configuration says it."""


class Wishes(Record):
    """What a recipe is to be for; what is left out is told from the machine."""

    student: str | None = None
    """`mini`, a folder, or a hub id."""
    problems: str | None = None
    """A benchmark's name, a file of problems, or a data set on the hub."""
    benchmarks: tuple[str, ...] = ()
    """The same, to evaluate on."""
    teacher: str | None = None
    """A teacher's kind, or ``KIND:MODEL``."""
    teacher_url: str | None = None
    """Where that model is served."""
    gpu_memory: float | None = None
    """GB of the GPU that it will run on; 0 for none."""

    def filled(self) -> "Wishes":
        """Return the wishes with what this machine suggests for those left out."""
        memory = self.gpu_memory
        if memory is None:
            memory = max((gpu.total_gb for gpu in machine.gpus()), default=0.0)
        student = self.student or (SMALL if memory >= 6 else "mini")
        tiny = student == "mini"
        problems = self.problems or ("mini-gsm" if tiny else "gsm8k")
        usual = tuple(mini_world.TIERS) if problems in mini_world.TIERS else ("gsm8k", "math500")
        return self.model_copy(
            update={
                "gpu_memory": round(memory, 1), "student": student, "problems": problems,
                "benchmarks": self.benchmarks or usual, "teacher": self.teacher or suggested_teacher(),
            }
        )  # fmt: skip


Ask = Callable[[str, str], str]
"""Asks a person a question and returns the answer; the second text is what is suggested."""
QUESTIONS = {
    "student": "Student (mini, a checkpoint folder, or a hub id)",
    "problems": "Problems to train on (a benchmark, a JSONL file, or a hub id)",
    "teacher": "Teacher (student needs no key; edit_script:MODEL asks a language model)",
}


def answered(wishes: Wishes, ask: Ask) -> Wishes:
    """Return the wishes with a person's answers to what they leave open, each suggestion resting on those before."""
    for field, question in QUESTIONS.items():
        if getattr(wishes, field) is None:
            suggested = str(getattr(wishes.filled(), field))
            wishes = wishes.model_copy(update={field: ask(question, suggested).strip() or suggested})
    return wishes


class Begun(Record):
    """A recipe that was written."""

    path: Path
    text: str
    notes: tuple[str, ...] = ()
    """What was found out, assumed or left open on the way."""


def suggested_teacher() -> str:
    """Return the teacher for whom a key is set, else the student itself."""
    state = machine.keys([PROVIDERS[name].key_variable for name, _ in OF_PROVIDERS])
    for name, model in OF_PROVIDERS:
        if state[PROVIDERS[name].key_variable] == "set":
            return f"edit_script:{model}"
    return "student"


def begin(path: Path, wishes: Wishes, ask: Ask | None = None, *, hub: bool = True) -> Begun:
    """Write a recipe; it loads, or nothing is written.

    Args:
        path: The file; it must not exist.
        wishes: What it is for.
        ask: Asks for what the wishes leave open; left out, this machine's suggestions are taken.
        hub: Whether the hub may be asked about the student.

    Raises:
        RecipeError: The file exists, or a wish names what there is not.
    """
    if path.exists():
        raise RecipeError(f"{path} exists already and stays as it is; name another file with --out")
    if not path.absolute().parent.is_dir():
        raise RecipeError(f"{path.parent} is no folder; create it, or name another file with --out")
    notes: list[str] = []
    full = (answered(wishes, ask) if ask else wishes).filled()
    known = _known(full.student or "mini", notes, hub=hub)
    text = _text(path, full, known, notes)
    load_recipe(_mapping(text))
    write_atomically(path, text)
    return Begun(path=path, text=text, notes=tuple(notes))


def _mapping(text: str) -> dict[str, object]:
    found = parse_yaml(text)
    assert isinstance(found, dict)
    return found  # type: ignore[reportUnknownVariableType]


def _known(student: str, notes: list[str], *, hub: bool) -> StudentFiles:
    """Return what is known of the student; what had to be assumed is noted."""
    folder = Path(resolve_model(student))
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise RecipeError(f"{student} is a folder without a config.json: name the folder of a checkpoint")
    elif not HUB_ID.fullmatch(student.partition("@")[0]):
        raise RecipeError(f"{student} is no folder here, and no id of the hub, which looks like {SMALL}")
    known = student_files(student, hub=hub)
    if known is None:
        notes.append(
            f"{student} cannot be looked at from here, and nothing is known of its family: assumed that it thinks between "
            f"{THINK.open} and {THINK.close}; `drp doctor` checks that once its files are here"
        )
        return StudentFiles(source="family", tags=THINK, parameters=size_in_name(student))
    if known.source == "family":
        notes.append(f"{student} cannot be looked at from here; used what is known of its family")
    elif known.tags is None:
        notes.append(
            f"neither the template nor the tokenizer of {student} has thinking tags that are known: does it think?"
        )
    else:
        opens = "opened by its template" if known.prefilled else "opened by the student itself"
        notes.append(f"{student} thinks between {known.tags.open} and {known.tags.close}, {opens}")
    return known


def _text(path: Path, full: Wishes, known: StudentFiles, notes: list[str]) -> str:
    tiny = (known.parameters or 1e9) < 1e8
    context = known.context or 32_768
    new = 12_000 if context >= 13_000 else int(context * 0.6) // 100 * 100
    length = min(4_096, int(context * 0.75))
    name = re.sub(r"[^\w.-]+", "-", path.stem if path.stem != "recipe" else Path(full.student or "run").name)
    decoded, trained = (80, 8) if tiny else _batches(full.gpu_memory or 0.0, known, new, notes)
    opens = "its template opens the thinking" if known.prefilled else "it opens its thinking itself"
    tags = known.tags or THINK
    room = (
        f"for {full.gpu_memory:g} GB; lower it if memory runs out"
        if full.gpu_memory
        else "lower it if memory runs out"
    )
    train, evaluated = _problems(full.problems or "", "train", 2_000), full.benchmarks
    lines = [
        f"# Written by `drp init`. Check it: drp doctor {path.name}    Try it: drp run {path.name} --limit 20",
        "# Any field can be changed on the command line as well: train.epochs=2; the same command again continues.",
        f"name: {_quoted(name)}",
        "student:",
        f"  model: {_quoted(full.student or 'mini')}   # {opens}",
        *([f"  thinking_tags: [{_quoted(tags.open)}, {_quoted(tags.close)}]"] if tags != THINK else []),
        "prompt:                      # no system prompt, as R1's makers recommend",
        '  template: "{question}"' if tiny else f'  template: "{BOXED}"',
        *(
            [f"  template_arguments: {{{known.switch}: true}}   # without it the student may not think"]
            if known.switch
            else []
        ),
        "problems:                    # to train on; a larger count extends the run later",
        f"  - {train}",
        "generate:                    # the student's own traces of them",
        f"  sampling: {{temperature: 0.6, top_p: 0.95, max_new_tokens: {new}}}",
        f"  engine: {{batch_size: {decoded}}}   # {room}",
        "prune:",
        *_teacher(full, notes),
        "train:                       # LoRA on all linear layers"
        + ("" if tiny else "; rank, rate and epochs are the paper's"),
        f"  rank: {32 if tiny else 8}",
        f"  alpha: {64 if tiny else 16}",
        f"  learning_rate: {'5e-4' if tiny else '3e-5'}",
        "  epochs: 3",
        "  effective_batch: 8",
        f"  device_batch: {trained}            # examples per forward pass; the result is the same",
        f"  max_length: {length}           # longer examples are left out, and counted",
        "evaluate:                    # before and after, on problems that were not trained on",
        "  benchmarks:",
        *(f"    - {_problems(one, 'test', 100)}" for one in evaluated),
        "  runs: 1                    # 5 for figures to report; more of them extend the run later",
        f"  sampling: {{temperature: 0.6, top_p: 0.95, max_new_tokens: {new}}}",
        f"  engine: {{batch_size: {decoded}}}",
    ]
    if len(lines) > MOST_LINES:
        raise RecipeError(
            f"{len(evaluated)} benchmarks are too many to begin with: name fewer, and add others to the file"
        )
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return a text as YAML: plain where nothing in it could mean anything else."""
    plain = re.fullmatch(r"[A-Za-z][\w./-]*", text) and text.lower() not in (
        "null",
        "true",
        "false",
        "yes",
        "no",
        "on",
        "off",
    )
    return text if plain else json.dumps(text, ensure_ascii=False)


def _problems(wanted: str, split: str, count: int) -> str:
    """Return the line of a problem set; a file is looked into, so that the recipe can be run.

    Raises:
        RecipeError: There is no such benchmark or file.
        DataError: The file does not hold problems.
    """
    path = Path(wanted).expanduser()
    if path.is_file():
        load_problems(ProblemSet(benchmark=path.stem, path=path), 1)
        return f"{{benchmark: {_quoted(path.stem)}, path: {_quoted(str(path))}, split: {split}}}"
    if wanted in mini_world.TIERS:
        return f"{{benchmark: {wanted}, split: {split}, count: {min(count, 400)}}}"
    if wanted in PUBLIC:
        splits = PUBLIC[wanted].sizes
        if split not in splits and split == "train":
            raise RecipeError(
                f"{wanted} is to evaluate on; to train on take gsm8k, prm12k, or a file of problems"
            )
        of = split if split in splits else next(iter(splits))
        return f"{{benchmark: {wanted}, split: {of}, count: {min(count, splits[of])}}}   # of {splits[of]:,}"
    if wanted in BENCHMARKS.names():
        return f"{{benchmark: {_quoted(wanted)}, split: {split}, count: {count}}}"
    if "/" in wanted and HUB_ID.fullmatch(wanted) and path.suffix not in (".jsonl", ".json", ".parquet"):
        return f"{{benchmark: {_quoted(Path(wanted).name)}, hub: {_quoted(wanted)}, split: {split}, count: {count}}}"
    known = ", ".join([*mini_world.TIERS, *PUBLIC, *BENCHMARKS.names()])
    raise RecipeError(
        f"{wanted} is no file here and no benchmark: name a JSONL file, a hub id, or one of {known}"
    )


def _teacher(full: Wishes, notes: list[str]) -> list[str]:
    """Return the lines of section prune."""
    kind, _, model = (full.teacher or "student").partition(":")
    if kind not in TEACHERS.names():
        raise RecipeError(f"there is no teacher {kind!r}; there is {', '.join(TEACHERS.names())}")
    if not TEACHERS.settings(kind).model_fields.keys() >= {"model", "endpoint"}:
        if model or full.teacher_url:
            raise RecipeError(f"teacher {kind} asks no model: leave the model's name and --teacher-url out")
        why = {
            "student": "judges its own steps by its likelihood: no key, no other model",
            "rules": "no model, no key",
        }
        return [f"  teacher: {kind}           # {why.get(kind, 'asks no endpoint')}"]
    model = model or "gpt-4o"
    where = _endpoint(model, full.teacher_url)
    answer = ["  answer: short"] if TEACHERS.settings(kind).writes == "always" else []
    line = f"  teacher: {{kind: {kind}, model: {_quoted(model)}{where}}}"
    if full.teacher_url:
        return [f"{line}   # a key, if it wants one: DRP_ENDPOINT_KEY", *answer]
    asked: dict[str, ProviderName] = {m: p for p, m in OF_PROVIDERS}
    provider = asked.get(model) or provider_of(model, None, None)
    variable = PROVIDERS[provider].key_variable
    notes.append(
        f"{model} is paid for with {variable}: `drp estimate RECIPE` says what it will cost, teacher student costs nothing"
    )
    if model in PRESETS and PRESETS[model].retired:
        notes.append(str(PRESETS[model].retired))
    budget = ["  budget_usd: 20             # stops there; the same command with a larger budget goes on"]
    return [f"{line}   # needs {variable}", *(budget if price_of(model) else []), *answer]


def _endpoint(model: str, url: str | None) -> str:
    """Return the endpoint of a teacher, where its model does not say it."""
    if url:
        return f", endpoint: {{base_url: {_quoted(url)}}}"
    provider = next((p for p, m in OF_PROVIDERS if m == model and m not in PRESETS), None)
    return f", endpoint: {{provider: {provider}}}" if provider else ""


def _batches(memory: float, known: StudentFiles, new: int, notes: list[str]) -> tuple[int, int]:
    """Return how many requests are decoded together, and examples trained on, in so many GB.

    The two lines below were fitted to what the 1.5B and 7B shapes took on an H100 (peak of training at batches of 2
    and 8, examples of up to 4,000 tokens); decoding fits itself to the memory, so a few too many are no harm.
    """
    billions = (known.parameters or 1.5e9) / 1e9
    weights = 2 * billions
    if memory <= 0:
        notes.append(
            "no GPU was found, and a student of this size takes days on a CPU; --gpu-memory says what it will run on"
        )
        return 16, 1
    row = known.row_bytes or KV_BYTES[min(KV_BYTES, key=lambda size: abs(size - billions))]
    fits = int((0.9 * memory - weights) * 0.7e9 / (row * (new + 300)))
    decoded = max(1, min(128, fits // 8 * 8 or fits))
    example = 0.85 + 0.2 * billions
    sizes: Sequence[int] = [b for b in (8, 4, 2, 1) if weights + example * b <= 0.85 * memory]
    if not sizes:
        notes.append(
            f"{memory:g} GB are little for a student of {billions:.1f} billion parameters: it may not fit"
        )
    return decoded, sizes[0] if sizes else 1

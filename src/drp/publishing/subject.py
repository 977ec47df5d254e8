"""What the cards of a run are about: its student, method, teacher, training and figures, read from its files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from drp.benchmarks.mini_world import TIERS
from drp.engines.identity import HUB_ID, resolve_model, split_revision
from drp.errors import DataError
from drp.publishing.private import public_name
from drp.recipe import Recipe, load_recipe
from drp.reporting.summary import RunSummary, summarise
from drp.reporting.write import name_of
from drp.runs import layout
from drp.runs.reader import RunReader

LICENCES = {
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-": "mit",
    "Qwen/Qwen3-": "apache-2.0",
    "Qwen/QwQ-32B": "apache-2.0",
}
"""Licences of common students, by how their hub ids begin, as their model cards give them."""
MINI = "mini"
UNNAMED = "an unnamed student"
"""What is pruned from a file says of no student."""
MINI_LICENCE = "apache-2.0"


@dataclass(frozen=True)
class Student:
    """The model that was shortened."""

    name: str
    """For people; never a path."""
    hub: str | None
    """Its id on the hub, where it has one."""
    revision: str | None
    """The commit that was trained, where it is known."""
    content: str | None
    """What identifies the files of a student in a folder."""
    licence: str | None

    @property
    def embedded(self) -> bool:
        """Whether it is the one that the project ships."""
        return self.hub is None and self.name == MINI


@dataclass(frozen=True)
class Subject:
    """A run, as its cards describe it."""

    run: Path
    name: str
    student: Student
    summary: RunSummary
    recipe: Recipe | None
    teacher: str
    """Empty where nothing was pruned."""
    trained: Mapping[str, Any]
    """The settings that define the trained model."""
    prompt: Mapping[str, Any]
    adapter_scale: float
    licence: str | None = None
    """What the publisher said it is, for everything that is published."""
    repos: Mapping[str, str] = field(default_factory=dict[str, str])
    """By part, the repository it goes to; parts that stay here are missing."""

    @property
    def miniature(self) -> bool:
        """Whether it belongs to the embedded world, and says nothing about models of a useful size."""
        sets = (*self.recipe.problems, *self.recipe.evaluate.benchmarks) if self.recipe else ()
        return self.student.embedded or any(s.benchmark in TIERS for s in sets)

    @property
    def title(self) -> str:
        """What the trained model is called."""
        return f"A shorter-thinking {self.student.name}"

    def licence_of(self, part: str) -> str | None:
        """Return the licence of a part, as far as it is known: a model has its student's, a data set has none of itself."""
        own = part != layout.DATASET or self.student.embedded
        return self.licence or (self.student.licence if own else None)


def read_subject(run: Path, base: str | None, licence: str | None, repos: Mapping[str, str]) -> Subject:
    """Read what the cards of a run say.

    Args:
        run: The run folder.
        base: Hub id of the student, where the run had it in a folder.
        licence: Identifier of the licence, where it is not the student's or that is not known.
        repos: By part, where it goes.

    Raises:
        RunFolderError: It is no run folder, or damaged.
        DataError: ``base`` is no hub id.
    """
    name = public_name(name_of(run))
    reader = RunReader(run)
    recipe = load_recipe(run) if (run / layout.RECIPE).exists() else None
    manifests = reader.manifests()
    trained = manifests.get(layout.TRAIN)
    settings: Mapping[str, Any] = trained.settings if trained else {}
    pruned = manifests.get(layout.PRUNE)
    any_settings: Mapping[str, Any] = next(iter(manifests.values())).settings if manifests else {}
    identity = _mapping(settings.get("student") or _mapping(any_settings.get("generate")).get("student"))
    merged = reader.stage(layout.TRAIN).path / layout.MERGED
    scale = _mapping(json.loads(merged.read_bytes()) if merged.exists() else None).get("strength", 1.0)
    return Subject(
        run=run,
        name=name,
        student=_student(run, recipe, identity, base),
        summary=summarise(run, name),
        recipe=recipe,
        teacher=_teacher(_mapping(pruned.settings.get("prune") if pruned else None)),
        trained=settings,
        prompt=_mapping(settings.get("prompt") or any_settings.get("prompt")),
        adapter_scale=float(scale),
        licence=licence,
        repos=repos,
    )


def _student(run: Path, recipe: Recipe | None, identity: Mapping[str, Any], base: str | None) -> Student:
    """Return the student; the adapter knows it best, since the recipe on file may have been changed since."""
    config = run / layout.TRAIN / layout.ADAPTER / "adapter_config.json"
    adapter = _mapping(json.loads(config.read_bytes()) if config.exists() else None)
    source = str(adapter.get("base_model_name_or_path") or (recipe.student.model if recipe else ""))
    id_, revision = split_revision(source)
    revision = identity.get("revision") or adapter.get("revision") or revision
    embedded = source == MINI or source == resolve_model(MINI) or source.endswith("/drp/mini/student")
    is_hub = bool(source) and not embedded and bool(HUB_ID.fullmatch(id_)) and not Path(id_).exists()
    if base is not None:
        given, revision = split_revision(base)
        if not HUB_ID.fullmatch(given) or "/" not in given:
            raise DataError(f"{base!r} is no model on the hub: give --base as ORG/NAME or ORG/NAME@REVISION")
        id_, is_hub, embedded = given, True, False
    name = MINI if embedded else id_ if is_hub else public_name(source) or UNNAMED
    known = MINI_LICENCE if embedded else next((v for k, v in LICENCES.items() if id_.startswith(k)), None)
    return Student(
        name=name,
        hub=id_ if is_hub else None,
        revision=str(revision) if revision and is_hub else None,
        content=str(identity["content"]) if "content" in identity else None,
        licence=known or (None if is_hub else _licence_of(Path(source))),
    )


def _licence_of(folder: Path) -> str | None:
    """Return the licence in the model card that lies beside a student's weights, if one does."""
    from huggingface_hub import ModelCard

    if not (folder / "README.md").is_file():
        return None
    try:
        found: object = (
            ModelCard.load(folder / "README.md", ignore_metadata_errors=True).data.to_dict().get("license")
        )
    except (OSError, ValueError):  # no front matter, or none that is YAML
        return None
    return found if isinstance(found, str) else None


def _teacher(prune: Mapping[str, Any]) -> str:
    """Return what a teacher is called: its kind and, of a language model, which one."""
    said: object = prune.get("teacher")
    teacher = _mapping(said)
    kind = str(teacher.get("kind", "")) if teacher else str(said or "")
    return f"{kind} ({public_name(str(teacher['model']))})" if teacher.get("model") else kind


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}

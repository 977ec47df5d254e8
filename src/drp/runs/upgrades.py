"""Settings as version 0.1 wrote them, in today's spelling: recipes load, and run folders go on.

Version 0.1 had an engine's, a teacher's and a method's settings beside its name; they stand with it now, under ``kind``.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from copy import deepcopy
from typing import Any, cast

Section = MutableMapping[str, Any]

_ENDPOINT = (
    "provider", "base_url", "key_variable", "concurrency", "requests_per_minute", "tokens_per_minute", "timeout_s",
    "max_retries", "restart_s", "omit", "extra",
)  # fmt: skip
_LLM = (
    "model", "temperature", "candidate_temperature", "segmentation", "skills", "window_units", "window_chars", "max_calls",
    "reasoning_tokens", "polish", "polish_similarity",
)  # fmt: skip
_FIELDS: dict[str, dict[str, tuple[str, ...]]] = {
    "engine": {
        "transformers": ("batch_size",),
        "openai": (*_ENDPOINT, "model", "prefilled", "trained_model"),
    },
    "teacher": {
        "edit_script": (*_LLM, "endpoint", "format"),
        "two_stage": (*_LLM, "endpoint", "max_omitted"),
        "direct": (*_LLM, "endpoint"),
        "rules": (
            "keep_checks", "check_words", "keep_opening", "reflection_share", "segmentation", "style", "mistakes",
            "duplicate_overlap",
        ),
    },
}  # fmt: skip
"""Which settings went to which kind; others of the old sections concerned a kind that the recipe does not use."""
_SECTIONS = {"cot_valve": "valve", "tale": "tale", "tale_ep": "tale", "think_prune": "rl"}
_RENAMED_TRAINING = {"strength": "adapter_scale"}
_RENAMED_REINFORCEMENT = {"looks": "checkpoints"}


def upgraded_recipe(recipe: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a recipe in today's spelling, and of each setting that moved ``old → new``."""
    found: dict[str, Any] = deepcopy(dict(recipe))
    moved: list[str] = []
    for stage in ("generate", "evaluate"):
        moved += (f"{stage}.{old} → {stage}.{new}" for old, new in _engine(found.get(stage)))
    moved += (f"prune.{old} → prune.{new}" for old, new in _teacher(found.get("prune")))
    moved += (f"train.{old} → train.{new}" for old, new in _rename(found.get("train"), _RENAMED_TRAINING))
    moved += _method(found)
    return found, moved


def upgraded_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a manifest in today's spelling."""
    found: dict[str, Any] = deepcopy(dict(settings))
    drawn = cast("dict[str, object]", found.get("generate") or {})
    list(
        _engine(drawn.get("generate", drawn), whole=True)
    )  # a stage that builds on the traces has them one deeper
    list(_engine(found.get("evaluate"), whole=True))
    list(_teacher(found.get("prune"), whole=True))
    list(_rename(found.get("think_prune"), _RENAMED_REINFORCEMENT))
    return found


def _moves(
    section: Section, field: str, default: str, places: tuple[str, ...], *, whole: bool
) -> Iterator[tuple[str, str]]:
    """Move settings to the kind that they are of: ``endpoint.model`` to ``engine.model``."""
    named = section.get(field, default)
    old = {name: section.pop(name) for name in places if name in section}
    if isinstance(named, str) and (old or (whole and field in section)):
        section[field] = named = {"kind": named}
    if not old or not isinstance(named, dict):
        return
    kind = cast("dict[str, Any]", named)
    known = _FIELDS[field].get(str(kind.get("kind", default)), ())
    for place, value in old.items():
        # A section of settings, or a setting that stood at the root of its stage.
        inside = isinstance(value, dict) and place not in known
        for name, one in cast("dict[str, Any]", value if inside else {place: value}).items():
            if name in known:
                kind.setdefault(name, one)
                yield (f"{place}.{name}" if inside else place), f"{field}.{name}"


def _engine(section: object, *, whole: bool = False) -> Iterator[tuple[str, str]]:
    if isinstance(section, dict):
        places = ("endpoint", "batch_size", "trained_model")
        yield from _moves(cast(Section, section), "engine", "transformers", places, whole=whole)


def _teacher(section: object, *, whole: bool = False) -> Iterator[tuple[str, str]]:
    if isinstance(section, dict):
        yield from _moves(
            cast(Section, section), "teacher", "rules", ("llm", "rules", "endpoint"), whole=whole
        )


def _rename(section: object, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if isinstance(section, dict):
        fields = cast(Section, section)
        for old, new in names.items():
            if old in fields:
                fields[new] = fields.pop(old)
                yield old, new


def _method(recipe: Section) -> Iterator[str]:
    """Move the sections of methods, at the root of old recipes, under ``method``."""
    old: dict[str, Any] = {
        name: recipe.pop(name) for name in ("valve", "tale", "rl") if isinstance(recipe.get(name), dict)
    }
    named = recipe.get("method", "drp")
    if not isinstance(named, str | dict):
        return
    kind = cast("dict[str, Any]", {"kind": named} if isinstance(named, str) else named)
    tale = cast("dict[str, Any]", old.get("tale", {}))
    if kind.get("kind") == "tale" and tale.pop("tuned", True) is False:
        recipe["method"] = kind = {**kind, "kind": "tale_ep"}
        yield "method: tale with tale.tuned=false → method: tale_ep"
    name = str(kind.get("kind"))
    of = _SECTIONS.get(name, "")
    others = {"tale": ("estimate",), "tale_ep": ("halvings",)}.get(name, ())
    moved = {field: value for field, value in old.get(of, {}).items() if field not in others}
    if moved:
        today = {field: _RENAMED_REINFORCEMENT.get(field, field) for field in moved}
        recipe["method"] = {**{today[field]: value for field, value in moved.items()}, **kind}
        yield from (f"{of}.{old} → method.{new}" for old, new in today.items())

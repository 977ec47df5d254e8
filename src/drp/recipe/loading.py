"""Reading a recipe: YAML, overrides from the command line, and errors that name the near field."""

import difflib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError

from drp.engines.registry import ENGINES
from drp.errors import OldSpellingWarning, RecipeError
from drp.kinds import Kind, KindError, Registry
from drp.methods.registry import METHODS
from drp.recipe.parsing import DEEPEST, MOST_BYTES, parse_yaml
from drp.recipe.settings import Recipe
from drp.recipe.shipped import instead_of, located
from drp.runs import layout
from drp.runs.reading import reading
from drp.runs.upgrades import upgraded_recipe
from drp.teachers.registry import TEACHERS

KINDS: tuple[Registry[Any], ...] = (ENGINES, TEACHERS, METHODS)
"""What a recipe names by kind."""
MOST_ERRORS = 12
"""Most mistakes named at once."""


RecipeSource = Recipe | Mapping[str, Any] | str | Path
"""A recipe, or what one is made of: a mapping of sections, a YAML file, a run folder, which has its own, or the name of
a recipe of the package."""


def load_recipe(source: RecipeSource | None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply ``key.sub=value`` overrides, whose values are YAML.

    Args:
        source: What to read; ``None``: nothing but the defaults.
        overrides: Changes to it.

    Raises:
        RecipeError: The recipe or an override is malformed, or names an unknown field.
    """
    if isinstance(source, Recipe):
        if not overrides:
            return source
        source = source.model_dump(mode="json")
    if source is None or isinstance(source, Mapping):
        data, where = deepcopy(dict(source or {})), "the recipe given" if source else "the overrides"
    else:
        data, where = _mapping(located(source)), str(source)
    for override in overrides:
        _override(data, override)
    data, moved = upgraded_recipe(data)
    if moved:
        said = "; ".join(moved)
        warnings.warn(
            f"{where} is spelt as for version 0.1; write now: {said}", OldSpellingWarning, stacklevel=2
        )
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        raise _mistakes(where, [_explain(*found) for found in _found(error.errors(), Recipe)]) from error
    if misread := list(_misread(data, recipe.model_dump())):
        raise _mistakes(where, misread)
    return recipe


def _mapping(path: Path) -> dict[str, Any]:
    """Return what a recipe file, or that of a run folder, holds."""
    found = path / layout.RECIPE if _is_folder(path) else path
    if found is not path and not found.exists():
        raise RecipeError(f"{path} is a folder without a {layout.RECIPE}: name a recipe, or a run folder")
    try:
        with reading(found, RecipeError, "recipe") as file:
            content = file.read(MOST_BYTES + 1)
    except RecipeError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise RecipeError(f"{error}; {instead_of(path)}") from error
        raise
    try:
        loaded = parse_yaml(content.decode("utf-8-sig"))
    except ValueError as error:
        raise RecipeError(f"{found} is not YAML that makes a recipe, in UTF-8: {error}") from error
    if loaded is not None and not isinstance(loaded, dict):
        raise RecipeError(f"{found}: a recipe is a mapping of sections, not a {type(loaded).__name__}")
    return cast("dict[str, Any]", loaded or {})


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # such as a name too long, which opening it will say
        return False


def _override(data: dict[str, Any], override: str) -> None:
    key, sign, value = override.partition("=")
    if not sign or not key:
        raise RecipeError(f"cannot read the override {override!r}; write it as section.field=value")
    *parents, last = key.split(".")
    if len(parents) > DEEPEST:
        raise RecipeError(f"cannot set {key[:60]}…: no field lies that deep")
    place: Any = data
    for depth, part in enumerate(parents, 1):
        following = [*parents, last][depth]
        if following.isdecimal() and isinstance(place, dict) and part not in place:
            place[part] = _default_list(parents[:depth], key)
        if isinstance(place, list):
            items = cast("list[Any]", place)
            place = items[_position(part, key, len(items))]
        else:
            section = cast("dict[str, Any]", place)
            if isinstance(name := section.setdefault(part, {}), str) and _is_kind(parents[:depth]):
                section[part] = {"kind": name}
            place = section[part]
        if not isinstance(place, dict | list):
            raise RecipeError(f"cannot set {key}: {part} is a plain value, not a section")
    try:
        parsed = parse_yaml(value)
    except ValueError as error:
        raise RecipeError(f"cannot read the value of {_short(override)}: {error}") from error
    if isinstance(parsed, str):  # YAML 1.1 reads 1e-4 as text
        parsed = float(parsed) if _is_float(parsed) else parsed
    if isinstance(place, list):
        items = cast("list[Any]", place)
        items[_position(last, key, len(items))] = parsed
    else:
        section = cast("dict[str, Any]", place)
        section[last] = _of_kind(section.get(last), parsed, [*parents, last])


def _of_kind(before: object, after: object, location: Sequence[str]) -> object:
    """Return what an override puts in a place: the name of another kind leaves the settings that it has too."""
    registry = next((known for known in KINDS if known.base is _model_at(location, Recipe)), None)
    if registry is None or not isinstance(after, str) or not isinstance(before, dict):
        return after
    try:
        fields = registry.settings(after).model_fields
    except ValueError:
        return after  # no such kind, which validation will say
    kept = {name: value for name, value in cast("dict[str, Any]", before).items() if name in fields}
    return {**kept, "kind": after}


def _default_list(parents: Sequence[str], key: str) -> list[Any]:
    """Return the items that a list has where the recipe does not give it."""
    current: Any = Recipe().model_dump(mode="json")
    for part in parents:
        current = cast("dict[str, Any]", current).get(part) if isinstance(current, dict) else None
    if not isinstance(current, list):
        raise RecipeError(f"cannot set {key}: {'.'.join(parents)} is no list")
    return cast("list[Any]", current)


def _position(part: str, key: str, size: int) -> int:
    if not part.isdecimal() or int(part) >= size:
        raise RecipeError(f"cannot set {key}: {part!r} should be a position from 0 to {size - 1}")
    return int(part)


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _misread(raw: object, read: object, name: str = "") -> Iterator[str]:
    """Yield where a value was taken for a number that it is not, or not one to run with.

    Args:
        raw: A part of the recipe as it is written.
        read: The same part as its type has read it: True became 1, "nan" became NaN.
        name: Its place.
    """
    if isinstance(raw, dict) and isinstance(read, dict):
        fields = cast("dict[str, object]", read)
        for key, value in cast("dict[str, object]", raw).items():
            if key in fields:
                yield from _misread(value, fields[key], f"{name}.{key}" if name else key)
    elif isinstance(raw, list) and isinstance(read, list | tuple):
        pairs = zip(cast("list[object]", raw), cast("Sequence[object]", read), strict=False)
        for number, (value, seen) in enumerate(pairs):
            yield from _misread(value, seen, f"{name}.{number}")
    elif isinstance(raw, bool) and not isinstance(read, bool):
        yield f"{name}: write a number, not {str(raw).lower()}"
    elif isinstance(read, float) and not math.isfinite(read):
        yield f"{name}: write a finite number (got {read})"
    elif isinstance(read, int) and not -(2**63) <= read < 2**63:
        yield f"{name}: write a number of at most 18 digits (got {_short(read)})"


def _mistakes(where: str, lines: Sequence[str]) -> RecipeError:
    more = [f"… and {len(lines) - MOST_ERRORS} more"] if len(lines) > MOST_ERRORS else []
    return RecipeError(f"{where}:\n  " + "\n  ".join([*lines[:MOST_ERRORS], *more]))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _model_at(location: Sequence[int | str], root: type[BaseModel]) -> type[BaseModel] | None:
    """Return the settings class that a place in ``root`` lies in."""
    current: Any = root
    for part in location:
        if isinstance(part, int):
            continue
        if not (isinstance(current, type) and issubclass(current, BaseModel)):
            return None
        info = current.model_fields.get(part)
        if info is None:
            return current
        current = info.annotation
        inner = [a for a in get_args(current) if isinstance(a, type) and issubclass(a, BaseModel)]
        current = inner[0] if inner else current
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _is_kind(location: Sequence[str]) -> bool:
    """Return whether one of several kinds stands at a place: its name there is short for ``{kind: NAME}``."""
    model = _model_at(location, Recipe)
    return model is not None and issubclass(model, Kind)


Mistake = tuple[Sequence[int | str], Mapping[str, Any], type[BaseModel]]
"""The place of a mistake, pydantic's word on it, and the settings class that its place counts from, at its end."""


def _found(
    errors: Sequence[Mapping[str, Any]], root: type[BaseModel], at: tuple[int | str, ...] = ()
) -> Iterator[Mistake]:
    """Yield mistakes, those in the settings of a kind by their own places."""
    for error in errors:
        place = (*at, *error["loc"])
        cause = error.get("ctx", {}).get("error")
        if isinstance(cause, KindError):
            yield from _found(cause.errors, cause.settings, place)
        else:
            model = _model_at(error["loc"][:-1], root) or root
            yield place, error, model


def _explain(location: Sequence[int | str], detail: Mapping[str, Any], model: type[BaseModel]) -> str:
    name = ".".join(map(str, location))
    if detail["type"] == "value_error":
        said = detail["msg"].removeprefix("Value error, ")
        return f"{name}: {said}" if name else said
    if detail["type"] != "extra_forbidden":
        return f"{name}: {detail['msg']} (got {_short(detail['input'])})"
    known = list(model.model_fields)
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    of = f" of {model.model_fields['kind'].default}" if issubclass(model, Kind) else ""
    return f"{name}: unknown field{of}; {hint}"

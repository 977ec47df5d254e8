"""Reading a recipe: YAML, overrides from the command line, and errors that name the near field."""

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError

from drp.errors import RecipeError
from drp.recipe.parsing import DEEPEST, MOST_BYTES, parse_yaml
from drp.recipe.settings import Recipe
from drp.runs import layout
from drp.runs.reading import reading

MOST_ERRORS = 12
"""Most mistakes named at once."""


RecipeSource = Recipe | Mapping[str, Any] | str | Path
"""A recipe, or what one is made of: a mapping of sections, a YAML file, or a run folder, which has its own."""


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
        data, where = _mapping(Path(source)), str(source)
    for override in overrides:
        _override(data, override)
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        raise _mistakes(where, [_explain(detail) for detail in error.errors()]) from error
    if misread := list(_misread(data, recipe.model_dump())):
        raise _mistakes(where, misread)
    return recipe


def _mapping(path: Path) -> dict[str, Any]:
    """Return what a recipe file, or that of a run folder, holds."""
    found = path / layout.RECIPE if _is_folder(path) else path
    if found is not path and not found.exists():
        raise RecipeError(f"{path} is a folder without a {layout.RECIPE}: name a recipe, or a run folder")
    with reading(found, RecipeError, "recipe") as file:
        content = file.read(MOST_BYTES + 1)
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
            place = cast("dict[str, Any]", place).setdefault(part, {})
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
        place[last] = parsed


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


def _model_at(location: Sequence[int | str]) -> type[BaseModel] | None:
    """Return the settings class that a validation error's location lies in."""
    current: Any = Recipe
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


def _explain(detail: Mapping[str, Any]) -> str:
    location = detail["loc"]
    name = ".".join(map(str, location))
    if detail["type"] == "value_error":
        said = detail["msg"].removeprefix("Value error, ")
        return f"{name}: {said}" if name else said
    if detail["type"] != "extra_forbidden":
        return f"{name}: {detail['msg']} (got {_short(detail['input'])})"
    model = _model_at(location[:-1])
    known = list(model.model_fields) if model else []
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    return f"{name}: unknown field; {hint}"

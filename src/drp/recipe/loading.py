"""Reading a recipe: YAML, overrides from the command line, and errors that name the near field."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import yaml
from pydantic import BaseModel, ValidationError

from drp.errors import RecipeError
from drp.recipe.settings import Recipe


def load_recipe(path: Path | None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, or that of a run folder, and apply ``key.sub=value`` overrides, whose values are YAML.

    Raises:
        RecipeError: The file or an override is malformed, or names an unknown field.
    """
    data: dict[str, Any] = {}
    if path is not None and path.is_dir():
        path = path / "recipe.json"
        if not path.exists():
            raise RecipeError(
                f"{path.parent} is a folder without a recipe.json: name a recipe, or a run folder"
            )
    if path is not None:
        if not path.exists():
            raise RecipeError(f"no such recipe: {path}")
        try:
            loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise RecipeError(f"{path} is not YAML in UTF-8: {str(error)[:500]}") from error
        except OSError as error:
            raise RecipeError(f"cannot read {path}: {error.strerror}") from error
        if loaded is not None and not isinstance(loaded, dict):
            raise RecipeError(f"{path}: a recipe is a mapping of sections, not a {type(loaded).__name__}")
        data = cast("dict[str, Any]", loaded or {})
    for override in overrides:
        _override(data, override)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        where = str(path) if path else "the overrides"
        lines = [_explain(detail) for detail in error.errors()]
        raise RecipeError(f"{where}:\n  " + "\n  ".join(lines)) from error


def _override(data: dict[str, Any], override: str) -> None:
    key, sign, value = override.partition("=")
    if not sign or not key:
        raise RecipeError(f"cannot read the override {override!r}; write it as section.field=value")
    *parents, last = key.split(".")
    place: Any = data
    for part in parents:
        if isinstance(place, list):
            items = cast("list[Any]", place)
            place = items[_position(part, key, len(items))]
        else:
            place = cast("dict[str, Any]", place).setdefault(part, {})
        if not isinstance(place, dict | list):
            raise RecipeError(f"cannot set {key}: {part} is a plain value, not a section")
    try:
        parsed = yaml.safe_load(value)
        if isinstance(parsed, str):  # YAML 1.1 reads 1e-4 as text
            parsed = float(parsed) if _is_float(parsed) else parsed
    except yaml.YAMLError as error:
        raise RecipeError(f"cannot read the value of {override!r}: {error}") from error
    if isinstance(place, list):
        items = cast("list[Any]", place)
        items[_position(last, key, len(items))] = parsed
    else:
        place[last] = parsed


def _position(part: str, key: str, size: int) -> int:
    if not part.isdigit() or int(part) >= size:
        raise RecipeError(f"cannot set {key}: {part!r} should be a position from 0 to {size - 1}")
    return int(part)


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
        return f"{name}: {detail['msg']} (got {detail['input']!r})"
    model = _model_at(location[:-1])
    known = list(model.model_fields) if model else []
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    return f"{name}: unknown field; {hint}"

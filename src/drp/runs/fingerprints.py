"""What defines a stage's records: which settings count, and whether they changed."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

EXECUTION: dict[str, Any] = {"execution": True}
"""Marks a setting that changes how a stage runs but not what it produces: no part of fingerprints."""
UNLESS_SET: dict[str, Any] = {"unless_set": True}
"""Marks a setting whose default is how things were before there was one: at its default it defines nothing."""


DEFINES: dict[str, Any] = {"defines": True}
"""Marks settings that define all that their holder does, which only says where: the holder itself defines nothing."""


def defining(settings: BaseModel) -> dict[str, Any]:
    """Return the fields that define results, as JSON values: execution-only fields are left out.

    Settings that hold others marked ``DEFINES`` are what those are, so results are the same with and without the holder.
    """
    found: dict[str, Any] = {}
    for name, info in type(settings).model_fields.items():
        value, mark = getattr(settings, name), info.json_schema_extra
        if mark == DEFINES:
            return defining(value)
        if mark == EXECUTION or (mark == UNLESS_SET and value == info.get_default(call_default_factory=True)):
            continue
        found[name] = defining(value) if isinstance(value, BaseModel) else _plain(value)
    return found


def _plain(value: object) -> object:
    if isinstance(value, tuple | list):
        return [defining(v) if isinstance(v, BaseModel) else _plain(v) for v in value]  # type: ignore[misc]
    return str(value) if isinstance(value, Path) else value

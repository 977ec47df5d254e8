"""What a stage folder says about itself, and how settings are compared with it."""

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from pydantic import Field

from drp.records import content_id
from drp.runs.schema import SPELT_BY_KIND, Schema, Versioned
from drp.runs.upgrades import upgraded_settings

_PACKAGES = ("drp-reasoning", "torch", "transformers", "trl", "peft", "openai", "math-verify")

Settings = Mapping[str, object]
"""Everything that defines a stage's records, as plain JSON values."""


class Manifest(Versioned):
    """What a stage folder says about itself; its schema is that of every record beside it."""

    stage: str
    fingerprint: str
    """Content hash of ``settings``: same fingerprint, same records."""
    settings: dict[str, object]
    versions: dict[str, str]
    complete: bool = False
    counts: dict[str, int] = Field(default_factory=dict)
    seconds: float = 0.0
    """Time spent in this stage, over all its processes."""
    graded_by: int | None = None
    """Version of the grader that all graded records are of."""

    def in_todays_spelling(self) -> "Manifest":
        """Return it with its settings as this version spells them, and their fingerprint."""
        if self.schema_written >= SPELT_BY_KIND:
            return self
        settings = upgraded_settings(self.settings)
        return self.model_copy(update={"settings": settings, "fingerprint": fingerprint_of(settings)})

    @property
    def schema_written(self) -> Schema:
        """What it and the records beside it were written in."""
        return Schema.parse(self.written_in)


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages that shape results, as far as installed."""
    found: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def changed_keys(old: Settings, new: Settings, prefix: str = "") -> list[str]:
    """Return the dotted names of settings that differ, with both values where they are short."""
    found: list[str] = []
    for key in sorted({*old, *new}):
        one, two = old.get(key), new.get(key)
        if one == two:
            continue
        if isinstance(one, dict) and isinstance(two, dict):
            found += changed_keys(cast(Settings, one), cast(Settings, two), f"{prefix}{key}.")
        elif len(f"{one}{two}") <= 60:
            found.append(f"{prefix}{key}: {one} → {two}")
        else:
            found.append(f"{prefix}{key}")
    return found


def plain(settings: Settings) -> dict[str, object]:
    """Return settings as they come back from JSON, so that comparing with a manifest is exact."""
    return json.loads(json.dumps(settings))


def fingerprint_of(settings: Settings) -> str:
    """Return the identity of settings, by which a stage's records are known."""
    return content_id("fp", plain(settings))


def differences(manifest: Manifest, settings: Settings) -> list[str]:
    """Return which settings are not those that a manifest was made with."""
    return changed_keys(manifest.settings, plain(settings)) or ["settings"]

"""Write docs/reference/settings.md and cli.md from the settings and the commands themselves.

    python tools/reference.py [--check]

A test holds both files against what this writes, so that no setting or option is missing there or said differently.
"""

import argparse
import ast
import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from drp.cli.app import app
from drp.engines.base import Sampling
from drp.engines.registry import ENGINES
from drp.engines.settings import PromptSettings, StudentSettings
from drp.kinds import Registry
from drp.methods.registry import METHODS
from drp.pruning.checks import CheckLimits
from drp.recipe.settings import EvaluateSettings, GenerateSettings, ProblemSet, PruneSettings, Recipe
from drp.runs.fingerprints import EXECUTION
from drp.teachers.llm import TeacherEndpointSettings
from drp.teachers.registry import TEACHERS
from drp.text.thinking import Tags
from drp.training.settings import TrainSettings

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
LONGEST = 60
"""Characters of a type or default beyond which it is cut: the closed list of skills would fill a page."""
_NOTE = "<!-- Written by tools/reference.py; change the settings or commands, then run it again. -->\n"


def field_docs(settings: type[BaseModel]) -> dict[str, str]:
    """Return the line below each field of a class and of those it derives from."""
    found: dict[str, str] = {}
    for cls in reversed(settings.__mro__):
        if not (issubclass(cls, BaseModel) and cls.__module__.startswith("drp.")):
            continue
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        body = typing.cast("ast.ClassDef", node).body
        for before, after in pairwise(body):
            named = isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name)
            if named and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found[before.target.id] = " ".join(str(after.value.value).split())  # pyright: ignore
    return found


def spelled(kind: Any) -> str:
    """Return a type as a reader of recipes would say it: ``Literal["a", "b"]`` is ``a, b``."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return spelled(arguments[0])
    if origin is typing.Literal:
        return ", ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("nothing" if part is type(None) else spelled(part) for part in arguments)
    if kind is Tags:
        return "list of two texts"
    if origin is tuple:
        return f"list of {spelled(arguments[0])}"
    if origin is dict:
        return "mapping"
    names = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "true, false",
        Path: "path",
        type(None): "nothing",
    }
    return names.get(
        kind,
        "settings"
        if isinstance(kind, type) and issubclass(kind, BaseModel)
        else getattr(kind, "__name__", str(kind)),
    )


def default(field: FieldInfo) -> str:
    """Return a field's default as a recipe would say it."""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return f"`{value.kind}`" if hasattr(value, "kind") else "below"
    if isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
        return ", ".join(f"`{item.benchmark}`" for item in value)
    if value is None or value in ((), {}):
        return "–"
    shown = (
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
    if isinstance(value, tuple):
        shown = "[" + ", ".join(map(str, value)) + "]"
    return f"`{shown}`" if len(shown) <= LONGEST else f"{len(value)} of them"


def cell(text: str) -> str:
    """Return text that a table can hold: bars and, outside of code, what would be read as HTML."""
    parts = text.replace("``", "`").replace("|", "\\|").split("`")
    return "`".join(part if at % 2 else part.replace("<", "&lt;") for at, part in enumerate(parts))


def rows(settings: type[BaseModel], prefix: str, leave: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield a table of a class's fields under their dotted names."""
    docs = field_docs(settings)
    fields = {name: f for name, f in settings.model_fields.items() if name != "kind" and name not in leave}
    if not fields:
        yield "No settings.\n"
        return
    yield "| setting | takes | default | what it does |"
    yield "|---|---|---|---|"
    for name, field in fields.items():
        mark = " ⟳" if field.json_schema_extra == EXECUTION else ""
        kind = (
            "a kind"
            if hasattr(field.get_default(call_default_factory=True), "kind")
            else spelled(field.annotation)
        )
        yield f"| `{prefix}{name}`{mark} | {cell(kind)} | {cell(default(field))} | {cell(docs.get(name, first_line(field)))} |"
    yield ""


def first_line(field: FieldInfo) -> str:
    """Return what a field without a line of its own is: the first line of its settings' docstring."""
    return (
        (inspect.getdoc(field.annotation) or "").splitlines()[0] if isinstance(field.annotation, type) else ""
    )


def kinds(registry: Registry[Any], where: str, leave: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield a section for each kind built in."""
    for name in registry.built_in:
        settings = registry.settings(name)
        yield f"### {registry.noun} `{name}`\n"
        yield " ".join((inspect.getdoc(settings) or "").split("\n\n")[0].split()) + "\n"
        yield from rows(settings, f"{where}.", leave)


def settings_page() -> str:
    """Return docs/reference/settings.md."""
    lines = [
        _NOTE,
        "# Settings\n",
        "Everything a recipe can say, with its default. A recipe is YAML; a misspelt field is answered with the one you meant. On the",
        "command line a change is `SECTION.FIELD=VALUE`, and a mapping may stand where settings are: `prune.teacher={kind: student, coherence: 4}`.",
        "Settings marked ⟳ change how a stage runs or how far it goes, not what one record is: changing them re-runs nothing that is on file.\n",
        "## The recipe\n",
        *rows(Recipe, ""),
    ]
    sections: tuple[tuple[str, type[BaseModel], str], ...] = (
        ("`student`", StudentSettings, "student."), ("`prompt`", PromptSettings, "prompt."),
        ("`problems` and `evaluate.benchmarks`: a list of these", ProblemSet, ""),
        ("`generate`", GenerateSettings, "generate."), ("`prune`", PruneSettings, "prune."),
        ("`prune.checks`", CheckLimits, "prune.checks."), ("`train`", TrainSettings, "train."),
        ("`evaluate`", EvaluateSettings, "evaluate."), ("`generate.sampling` and `evaluate.sampling`", Sampling, "sampling."),
    )  # fmt: skip
    for title, settings, prefix in sections:
        lines += [f"## {title}\n", *rows(settings, prefix)]
    lines += ["## Engines: `generate.engine`, `evaluate.engine`\n", *kinds(ENGINES, "engine")]
    lines += ["## Teachers: `prune.teacher`\n", *kinds(TEACHERS, "prune.teacher", frozenset({"endpoint"}))]
    lines += [
        "### `prune.teacher.endpoint`, of those that ask a language model\n",
        *rows(TeacherEndpointSettings, "prune.teacher.endpoint."),
    ]
    lines += ["## Methods: `method`\n", *kinds(METHODS, "method")]
    return "\n".join(lines).rstrip() + "\n"


def cli_page() -> str:
    """Return docs/reference/cli.md."""
    group: Any = typer.main.get_command(app)
    lines = [
        _NOTE, "# Commands\n", f"{group.help}\n",
        "`drp COMMAND --help` says the same on the terminal, `drp --version` the version, and `drp --install-completion` teaches your shell the names.",
        "Each command but `tasks` is a function in Python, of the same name but for `drp plan`, which is `drp.forecast` (`drp.plan` is `drp run --dry-run`).",
        "Errors are one sentence. A command ends with 0, with 1 where something went wrong, with 2 where it was misused, and with 130 after Ctrl-C.\n",
    ]  # fmt: skip
    for name, command in group.commands.items():
        context = command.make_context(name, ["--help"], resilient_parsing=True)
        said = command.get_usage(context).partition(name)[2]
        usage = re.sub(r"[\[{](\w+)[\]}]", lambda found: found[0].strip("{}").upper(), said)
        lines += [
            f"## `drp {name}`\n",
            f"{command.help}\n",
            "```text",
            f"drp {name} {' '.join(usage.split())}",
            "```\n",
        ]
        lines += ["| argument or option | what it says |", "|---|---|"]
        for parameter in command.params:
            if "--help" in parameter.opts:
                continue
            is_option = parameter.param_type_name == "option"
            shown = (
                ", ".join((*parameter.opts, *parameter.secondary_opts))
                if is_option
                else parameter.name.upper()
            )
            value = parameter.default
            said = cell(parameter.help or "")
            if is_option and value is not None and value is not False and not parameter.is_flag:
                said += f" Default: `{value}`."
            lines.append(f"| `{shown}` | {said} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def pages() -> dict[Path, str]:
    """Return every page that is written here."""
    return {FOLDER / "settings.md": settings_page(), FOLDER / "cli.md": cli_page()}


def main() -> None:
    """Write the pages, or say which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; end with 1 where a page is out of date"
    )
    check = parser.parse_args().check
    old = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    for path in old:
        print(f"{path.name} {'is out of date: python tools/reference.py' if check else 'written'}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages()[path])
    sys.exit(bool(old) and check)


if __name__ == "__main__":
    main()

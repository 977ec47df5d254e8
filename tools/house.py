"""Figures of the house: how long its files and functions are, and how many files name a stage, a teacher or a method.

    python tools/house.py 786649c HEAD > results/house/table.md

reads `src/drp` at each revision from git. A file names something where a string literal, docstrings aside, is its name.
"""

import argparse
import ast
import io
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from statistics import median

ROOM = "src/drp"
NAMES: dict[str, set[str]] = {
    # Not "train": that is also a split of problems and an extra of the package.
    "stage": {
        "generate",
        "explore",
        "prune",
        "evaluate",
        "report",
        "evaluate/base",
        "evaluate/distilled",
        "evaluate/prompted",
    },
    "teacher": {"rules", "edit_script", "two_stage", "direct", "mini_direct"},
    # Not "drp": that is also the package and its command.
    "method": {"self", "direct", "tale", "tale_ep", "cot_valve", "think_prune"},
}
AT_HOME: dict[str, tuple[str, ...]] = {
    "stage": ("runs/layout.py", "runs/upgrades.py"),
    # A teacher and a method are both called direct.
    "teacher": ("teachers/", "methods/", "runs/upgrades.py"),
    "method": ("teachers/", "methods/", "runs/upgrades.py"),
}
"""Where names belong: with what they name, and where old spellings are read."""
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Figure = tuple[str, str]


def sources(revision: str) -> dict[str, str]:
    """Return the Python files of the package at a revision, by path within it."""
    archive = subprocess.run(["git", "archive", revision, ROOM], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        return {
            member.name.removeprefix(f"{ROOM}/"): file.read().decode()
            for member in files
            if member.name.endswith(".py") and (file := files.extractfile(member))
        }


def commit_of(revision: str) -> str:
    """Return the short name of the commit that a revision is."""
    asked = ["git", "rev-parse", "--short", revision]
    return subprocess.run(asked, capture_output=True, check=True, text=True).stdout.strip()


def functions(path: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield every function's lines, decorators aside, and where it is."""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            yield (node.end_lineno or node.lineno) - node.lineno + 1, f"{path}, `{node.name}`"


def literals(tree: ast.AST) -> set[str]:
    """Return the strings that stand in the code, docstrings and notes below fields left out."""
    notes = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in notes)
    return {node.value for node in strings if isinstance(node.value, str)}


def figures(files: Mapping[str, str]) -> Iterator[Figure]:
    """Yield what is told of a revision, and its value."""
    trees = {path: ast.parse(text) for path, text in files.items()}
    lengths = sorted((text.count("\n"), path) for path, text in files.items())
    bodies = sorted(found for path, tree in trees.items() for found in functions(path, tree))
    for what, sizes in (("file", lengths), ("function", bodies)):
        yield f"{what}s", f"{len(sizes):,}"
        yield f"lines of a {what}, median", f"{median(lines for lines, _ in sizes):g}"
        yield f"lines of a {what}, most", f"{sizes[-1][0]} ({sizes[-1][1]})"
    for what, names in NAMES.items():
        found = [path for path, tree in trees.items() if literals(tree) & names]
        away = [path for path in found if not path.startswith(AT_HOME[what])]
        yield f"files that name a {what}", str(len(found))
        yield f"… a {what} outside {', '.join(f'`{home}`' for home in AT_HOME[what])}", str(len(away))


def naming(files: Mapping[str, str]) -> Iterator[str]:
    """Yield, for stages, teachers and methods, which files name which."""
    for what, names in NAMES.items():
        found = {path: sorted(literals(ast.parse(text)) & names) for path, text in sorted(files.items())}
        shown = "; ".join(f"`{path}` ({', '.join(own)})" for path, own in found.items() if own)
        yield f"**A {what}**: {shown}."


def main() -> None:
    """Print a table with a column a revision, and who names what in the last one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revisions", nargs="+", help="such as 786649c HEAD")
    revisions: list[str] = parser.parse_args().revisions
    read = [sources(revision) for revision in revisions]
    columns = [dict(figures(files)) for files in read]
    print(f"# The house\n\n```\npython tools/house.py {' '.join(revisions)} > results/house/table.md\n```\n")
    print(f"| `{ROOM}` at | {' | '.join(map(commit_of, revisions))} |\n|---|{'---|' * len(revisions)}")
    for name in columns[0]:
        print(f"| {name} | {' | '.join(column[name] for column in columns)} |")
    print("\nNamed by a string literal that is the name and nothing else, docstrings aside.", end=" ")
    print(f"In {revisions[-1]}:\n")
    print("\n\n".join(naming(read[-1])))


if __name__ == "__main__":
    main()

"""The recipes that travel in the package, by name: ``mini``, ``demo``, ``r1_qwen_1.5b/self``."""

import difflib
import re
from importlib.resources import files
from pathlib import Path, PurePosixPath

from drp.records import Record
from drp.runs import layout

_SENTENCE = re.compile(r"(?<=\.)\s")
"""Where a comment's first sentence ends: takes the space in "a laptop. The", leaves the dot in "Qwen-1.5B"."""


class ShippedRecipe(Record):
    """A recipe that comes with the package."""

    name: str
    """What `drp run` takes for it."""
    about: str
    """The first sentence of its comment."""
    path: Path


def shipped_folder() -> Path:
    """Return where they lie: in the installed package, else in the checkout that an editable install runs from."""
    packaged = Path(str(files("drp.recipe"))) / "shipped"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "recipes"


def shipped_recipes() -> list[ShippedRecipe]:
    """Return all of them, those at the top first."""
    folder = shipped_folder()
    paths = sorted(folder.rglob("*.yaml"), key=lambda p: (len(p.relative_to(folder).parts), p))
    return [
        ShippedRecipe(
            name=path.relative_to(folder).with_suffix("").as_posix(),
            about=_about(path),
            path=path,
        )
        for path in paths
    ]


def _about(path: Path) -> str:
    """Return the first sentence of the comment that a recipe begins with."""
    comment: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# ").rstrip())
    return _SENTENCE.split(" ".join(comment), maxsplit=1)[0]


def shipped(name: str) -> Path | None:
    """Return the file of the recipe with this name, or ``None``."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith(("/", "~")) or "\0" in name or len(name) > 100:
        return None
    path = shipped_folder() / f"{name}.yaml"
    return path if path.is_file() else None


def located(source: str | Path) -> Path:
    """Return the file or folder that names a recipe: what lies there wins over a recipe of the package with that name.

    A folder that is no run folder does not: `drp run mini` means the recipe, though a folder `mini` may stand here.
    """
    path = Path(source)
    try:
        taken = (path / layout.RECIPE).exists() if path.is_dir() else path.exists()
    except (OSError, ValueError):  # such as a name too long, which opening it will say
        return path
    return path if taken else shipped(str(source)) or path


def instead_of(path: Path) -> str:
    """Return what to say after "no such recipe": the name that was meant, or where recipes come from."""
    names = [known.name for known in shipped_recipes()]
    meant = str(path).removeprefix("recipes/").removesuffix(".yaml")
    if near := difflib.get_close_matches(meant, names, n=1, cutoff=0.75):
        return f"the package has one called {near[0]}: name it so, without folder and ending"
    return "`drp recipes` lists those of the package, `drp init` writes one"

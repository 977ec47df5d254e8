"""A run folder to read from: for reports, comparisons, viewers and whatever else looks at what a run left."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, RootModel, ValidationError

from drp.errors import RunFolderError
from drp.records import Failure, Record
from drp.runs import layout
from drp.runs.folder import StageFolder
from drp.runs.manifest import Manifest
from drp.runs.reading import reading
from drp.runs.schema import Once, warn

R = TypeVar("R", bound=Record)


class _Named(BaseModel):
    """The part of a recipe that says what a run is called."""

    name: str | None = None


class _Figures(RootModel[dict[str, int | float]]):
    """Named figures."""


class RunReader:
    """Reads a run folder: takes no lock, writes nothing, and holds nothing but what its callers keep.

    Args:
        path: The run folder; stages that never ran are empty.
        say: Told, each thing once, which fields of a newer version's files were left out.
    """

    def __init__(self, path: Path, say: Callable[[str], None] = warn) -> None:
        self.path = path
        self._say = Once(say)

    @property
    def began(self) -> bool:
        """Whether any stage has a folder here, so that this is a run folder at all."""
        stages = (layout.GENERATE, layout.PRUNE, layout.TRAIN, layout.EVALUATE)
        return any((self.path / stage).is_dir() for stage in stages)

    @property
    def recipe_name(self) -> str | None:
        """What the recipe on file calls the run; ``None`` where none is on file, as after `drp prune --traces`.

        Raises:
            RunFolderError: The recipe cannot be read.
        """
        path = self.path / layout.RECIPE
        if not path.exists():
            return None
        with reading(path, RunFolderError) as file:
            content = file.read()
        try:
            return _Named.model_validate_json(content).name
        except ValidationError as error:
            problem = error.errors()[0]
            raise RunFolderError(
                f"{path} cannot be read ({problem['msg']}): it is damaged. Restore it, or remove it: the next command of "
                "this run writes it again"
            ) from error

    def stage(self, name: str) -> StageFolder:
        """Return the folder of a stage; it may not exist."""
        return StageFolder(self.path / name, name, self._say)

    def explored(self) -> list[str]:
        """Return the names of the stages in which a method drew what it needs beyond the student's own traces."""
        return [layout.exploration(path.name) for path in sorted(self.path.glob(f"{layout.EXPLORE}/*"))]

    def manifest(self, stage: str) -> Manifest | None:
        """Return a stage's manifest, or ``None`` where it never began."""
        return self.stage(stage).manifest()

    def manifests(self) -> dict[str, Manifest]:
        """Return the manifests of all stages that began, in the order of the stages."""
        return {stage: found for stage in layout.STAGES if (found := self.manifest(stage))}

    def records(self, stage: str, kind: type[R]) -> Iterator[R]:
        """Yield all records of a stage, one in memory at a time."""
        return self.stage(stage).stream(kind)

    def failures(self, stage: str) -> list[Failure]:
        """Return what failed in a stage, retried items included."""
        return self.stage(stage).failures()

    def wanted(self, stage: str) -> list[str] | None:
        """Return the ids that the last command wanted of a stage; ``None`` where that is not on file."""
        return self.stage(stage).wanted()

    def learnability(self) -> dict[str, int | float] | None:
        """Return how natural the training set was to the untrained student, where it was measured."""
        found = self.stage(layout.TRAIN).document(layout.LEARNABILITY, _Figures)
        return found and found.root

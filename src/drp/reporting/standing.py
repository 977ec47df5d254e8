"""What of a run folder stands: what the last commands wanted, of the models and traces that are there now."""

from pathlib import Path

from drp.engines.identity import model_identity
from drp.records import Trace
from drp.runs.folder import StageFolder

STAGES = ("generate", "prune", "train", "evaluate/base", "evaluate/distilled")


def stage_of(run: Path, name: str) -> StageFolder:
    """Return the folder of one of a run's stages, to read from; it may not exist."""
    return StageFolder(run / name, name)


def evaluated(run: Path, which: str) -> list[Trace]:
    """Return the completions of the ``base`` or the ``distilled`` model that a report may count."""
    if which == "distilled" and superseded(run):
        return []
    return stage_of(run, f"evaluate/{which}").wanted_records(Trace)


def seconds_of(run: Path, name: str) -> float | None:
    """Return the time a stage took, or ``None`` where it went into other items than the last command wanted, too."""
    folder = stage_of(run, name)
    manifest, wanted = folder.manifest(), folder.wanted()
    if manifest is None or (wanted is not None and folder.done() - set(wanted)):
        return None
    return manifest.seconds


def superseded(run: Path) -> str | None:
    """Return why the completions in ``evaluate/distilled`` are not those of the model that stands, if so."""
    after, trained = (stage_of(run, name).manifest() for name in ("evaluate/distilled", "train"))
    if after is None or trained is None or _only_prompted(run):
        return None
    again = "its figures are left out until `drp evaluate` has run"
    if not trained.complete:
        return f"the model evaluated here is not the one that stands in train/, whose training has not ended: {again}"
    model = run / "train" / "model"
    if model.is_dir() and after.settings.get("model") != model_identity(str(model)):
        return f"the model evaluated here is not the one that stands in train/: {again}"
    return None


def _only_prompted(run: Path) -> bool:
    """Return whether ``evaluate/distilled`` is the student itself, asked in another way: nothing was trained for it."""
    before, after = (stage_of(run, f"evaluate/{which}").manifest() for which in ("base", "distilled"))
    return bool(before and after and before.settings.get("model") == after.settings.get("model"))


def notes(run: Path) -> tuple[str, ...]:
    """Return what a reader must know before the figures: items still owed, and stages that do not fit together."""
    found = [said for name in STAGES if name != "train" and (said := stage_of(run, name).pending())]
    generated, pruned, trained = (stage_of(run, name).manifest() for name in ("generate", "prune", "train"))
    rests_on = pruned.settings.get("generate") if pruned else None
    if generated and rests_on and rests_on != generated.settings:
        found.append("the traces pruned here are not those that stand in generate/: run `drp prune`")
    before, after = (stage_of(run, f"evaluate/{which}").wanted() for which in ("base", "distilled"))
    if said := superseded(run):
        found.append(said)
    elif before and after and set(before) != set(after):
        found.append(
            "the two models were last run on other problems, and only those of both count: run `drp evaluate`"
        )
    elif trained and not trained.complete:
        found.append("training has not ended: `drp train` goes on with it")
    return tuple(found)

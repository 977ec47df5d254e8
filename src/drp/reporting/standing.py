"""What of a run folder stands: what the last commands wanted, of the models and traces that are there now."""

from collections.abc import Callable

from drp.engines.identity import model_identity
from drp.evaluation.metrics import measured_part
from drp.records import Trace
from drp.runs import layout
from drp.runs.reader import RunReader


def outcome(run: RunReader) -> str:
    """Return what the student is compared with: the ``distilled`` model, or the student ``prompted`` in another way."""
    prompted = run.stage(layout.EVALUATE_PROMPTED)
    return layout.PROMPTED if prompted.manifest() and prompted.wanted() != [] else layout.DISTILLED


def evaluated(run: RunReader, which: str, keep: Callable[[Trace], Trace] = measured_part) -> list[Trace]:
    """Return the completions of the ``base``, ``distilled`` or ``prompted`` model that a report may count.

    Args:
        run: The run folder.
        which: Which model.
        keep: Returns the part of a completion that is needed.
    """
    if which == layout.DISTILLED and superseded(run):
        return []
    return run.stage(layout.evaluation(which)).wanted_records(Trace, keep)


def seconds_of(run: RunReader, name: str) -> float | None:
    """Return the time a stage took, or ``None`` where it went into other items than the last command wanted, too."""
    folder = run.stage(name)
    manifest, wanted = folder.manifest(), folder.wanted()
    if manifest is None or (wanted is not None and folder.done() - set(wanted)):
        return None
    return manifest.seconds


def superseded(run: RunReader) -> str | None:
    """Return why the completions in ``evaluate/distilled`` are not those of the model that stands, if so."""
    if outcome(run) == layout.PROMPTED:
        return None
    after, trained = (run.manifest(name) for name in (layout.EVALUATE_DISTILLED, layout.TRAIN))
    if after is None or trained is None or _only_prompted(run):
        return None
    again = "its figures are left out until `drp evaluate` has run"
    if not trained.complete:
        return f"the model evaluated here is not the one that stands in train/, whose training has not ended: {again}"
    model = run.path / layout.TRAIN / layout.MODEL
    if model.is_dir() and after.settings.get("model") != model_identity(str(model)):
        return f"the model evaluated here is not the one that stands in train/: {again}"
    return None


def _only_prompted(run: RunReader) -> bool:
    """Return whether ``evaluate/distilled`` is the student itself, asked in another way, as version 0.1 filed that."""
    before, after = (run.manifest(name) for name in (layout.EVALUATE_BASE, layout.EVALUATE_DISTILLED))
    return bool(before and after and before.settings.get("model") == after.settings.get("model"))


def notes(run: RunReader) -> tuple[str, ...]:
    """Return what a reader must know before the figures: items still owed, and stages that do not fit together."""
    stages = (run.stage(name) for name in layout.STAGES if name != layout.TRAIN)
    found = [said for stage in stages if (said := stage.pending())]
    generated, pruned, trained = (run.manifest(n) for n in (layout.GENERATE, layout.PRUNE, layout.TRAIN))
    rests_on = pruned.settings.get("generate") if pruned else None
    if generated and rests_on and rests_on != generated.settings:
        found.append("the traces pruned here are not those that stand in generate/: run `drp prune`")
    before, after = (run.wanted(name) for name in (layout.EVALUATE_BASE, layout.evaluation(outcome(run))))
    if said := superseded(run):
        found.append(said)
    elif before and after and set(before) != set(after):
        found.append(
            "the two models were last run on other problems, and only those of both count: run `drp evaluate`"
        )
    elif trained and not trained.complete:
        found.append("training has not ended: `drp train` goes on with it")
    return tuple(found)

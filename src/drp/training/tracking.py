"""Where the curves of a training go besides the run folder: a tracker, if the recipe names one. Light: no torch."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from drp.errors import MissingExtraError, TrainingError
from drp.runs import layout

Tracker = Literal["none", "tensorboard", "wandb", "trackio"]
PROJECT = "drp"
"""What trackers that know projects file a training under, unless their own environment variables say otherwise."""
NO_ACCOUNT = ("offline", "disabled", "dryrun")
"""Values of ``WANDB_MODE`` with which W&B asks nobody."""

WANDB_KEYS = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
NETRC = (os.environ.get("NETRC", "~/.netrc"), "~/_netrc")
"""Where `wandb login` puts a key."""


def lacking(tracker: Tracker) -> str | None:
    """Return what a tracker lacks on this machine and how to mend it, or ``None`` where it can be used.

    W&B without a key would ask for one on the terminal, hours into a run.
    """
    if tracker == "none":
        return None
    if find_spec(tracker) is None:
        return str(MissingExtraError(tracker, tracker))
    # Its own question whether there is a key asks its server.
    keyed = bool(set(WANDB_KEYS) & set(os.environ)) or any(Path(file).expanduser().exists() for file in NETRC)
    if tracker == "wandb" and os.environ.get("WANDB_MODE") not in NO_ACCOUNT and not keyed:
        return (
            "wandb has no key: run `wandb login`, or set WANDB_MODE=offline to keep the curves on this machine, or leave "
            "train.tracker out"
        )
    return None


def tracking(tracker: Tracker, out: Path) -> dict[str, Any]:
    """Return the trainer's arguments that send loss, rate, gradient and, in reinforcement, reward to a tracker.

    TensorBoard's files lie in ``out``; they are outside the checkpoints, which go when the training has ended.

    Args:
        tracker: Which; ``none`` sends nothing anywhere.
        out: Folder of the training: ``RUN/train``, or of one of its rounds.

    Raises:
        TrainingError: The tracker is not installed, or has no key.
    """
    if tracker == "none":
        return {"report_to": "none"}
    if said := lacking(tracker):
        raise TrainingError(said)
    if tracker == "tensorboard":
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(out / layout.TENSORBOARD)
    if tracker == "wandb":
        os.environ.setdefault("WANDB_PROJECT", PROJECT)
        os.environ.setdefault("WANDB_DIR", str(out))
    # The trainer's own default is the path of its output folder.
    part, above = out.resolve().name, out.resolve().parent
    name = above.name if part == layout.TRAIN else f"{above.parent.name}-{part}"
    return {"report_to": tracker, "run_name": name, "project": os.environ.get("TRACKIO_PROJECT", PROJECT)}

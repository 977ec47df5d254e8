"""Verbs that give a run to others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drp.runs.stage import Say, silent

if TYPE_CHECKING:
    from drp.publishing.push import Pushed


def push(
    run: str | Path,
    repo: str | None = None,
    what: str | Sequence[str] = (),
    *,
    private: bool = False,
    dry_run: bool = False,
    base: str | None = None,
    licence: str | None = None,
    say: Say = silent,
) -> Pushed:
    """Push a run's adapter, merged model and pruned traces to the Hugging Face hub, each with a card.

    All of it is written under ``RUN/push`` first. The token is that of ``HF_TOKEN`` or of `hf auth login`. No path and no key of this
    machine goes with it: traces that hold one are left out, and a card or configuration that does stops the push.

    Args:
        run: Run folder.
        repo: ``ORG/NAME``. Where several things are pushed, the model has this name, ``-adapter`` and ``-traces`` are added for the others.
        what: ``adapter``, ``model``, ``dataset``; left out: all that the run has.
        private: Make new repositories private.
        dry_run: Only write the folders; asks no hub.
        base: The student's id on the hub, where the run had it in a folder.
        licence: Identifier of the licence, where it is not the student's or not known.
        say: Told what is sent where.

    Returns:
        Of each part its folder and address; and what to look at before others do.

    Raises:
        RunFolderError: No stage has run there.
        DataError: Something asked for is not there, or would say what it must not.
        HubError: There is no token, or the hub refuses or does not answer.

    Examples:
        >>> pushed = drp.push("runs/try", "me/mini-shorter", dry_run=True)
        >>> [(part.part, part.repo) for part in pushed.parts]
        [('adapter', 'me/mini-shorter-adapter'), ('model', 'me/mini-shorter'), ('dataset', 'me/mini-shorter-traces')]
        >>> pushed.parts[0].folder
        PosixPath('runs/try/push/adapter')
    """
    from drp.publishing.push import push_run

    wanted = [what] if isinstance(what, str) else list(what)
    return push_run(
        Path(run), repo, wanted, private=private, dry_run=dry_run, base=base, licence=licence, say=say
    )

"""Sending folders to the Hugging Face hub, and what its refusals mean."""

# The library behind this file gives its client's errors without their library's types.
# pyright: reportPrivateImportUsage=false

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from drp.errors import HubError
from drp.publishing.bundle import Bundle
from drp.runs import layout
from drp.runs.manifest import installed_versions
from drp.runs.stage import Say

_ADVICE = {
    400: "it does not take what was sent; the reason is in its answer",
    401: "it does not know the token: make one with write access at https://huggingface.co/settings/tokens, and set HF_TOKEN or run "
    "`hf auth login`",
    403: "the token may not write there: give it write access, or name with --repo a place that is yours",
    404: "there is no such place, or the token may not see it: look at --repo",
    409: "something else was written there at the same time: run the same command again",
    413: "a file is too large for it",
    429: "it has had too many requests: wait, and run the same command again",
}
_DOWN = "it cannot answer now: run the same command again later"


def upload(bundle: Bundle, repo: str, private: bool, say: Say) -> str:
    """Make a repository if there is none, send a folder in one commit, and return its address.

    Args:
        bundle: The folder.
        repo: ``ORG/NAME``.
        private: Whether a repository that is made is private; one that is there stays as it is.
        say: Told what is sent where.

    Raises:
        HubError: There is no token, or the hub refuses or does not answer.
    """
    from huggingface_hub import HfApi, constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise HubError("HF_HUB_OFFLINE is set, so nothing can be pushed: unset it, or add --dry-run")
    token = get_token()
    if not token:
        raise HubError(
            "there is no token for the hub: set HF_TOKEN, or run `hf auth login`; --dry-run needs none"
        )
    version = installed_versions().get("drp-reasoning", "")
    api, kind = HfApi(token=token, library_name="drp", library_version=version), _kind(bundle)
    with _said_plainly(repo, token), _quiet():
        made = api.create_repo(repo, repo_type=kind, private=True if private else None, exist_ok=True)
        say(f"{bundle.part}: {bundle.files} files, {bundle.size / 1e6:,.1f} MB, to {made}")
        api.upload_folder(
            repo_id=made.repo_id,
            folder_path=bundle.folder,
            repo_type=kind,
            commit_message=f"{bundle.part.capitalize()} by DRP {version}",
        )
    return str(made)


def _kind(bundle: Bundle) -> str:
    return "dataset" if bundle.part == layout.DATASET else "model"


@contextmanager
def _quiet() -> Generator[None]:
    """Show the hub's bars only where somebody watches."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def _said_plainly(repo: str, token: str) -> Generator[None]:
    """Turn what the hub's client raises into one sentence, without the token."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError

    def told(said: object) -> str:
        return str(said).replace(token, "…").strip()

    try:
        yield
    except HFValidationError as error:
        raise HubError(
            f"{repo!r} cannot be the name of a repository ({told(error)}): give --repo as ORG/NAME"
        ) from error
    except HfHubHTTPError as error:
        response: Any = error.response
        status = int(response.status_code)
        advice = _ADVICE.get(status, _DOWN if status >= 500 else "see its answer")
        said = told(error.server_message or error).partition("\n")[0][:300]
        raise HubError(f"{constants.ENDPOINT} refuses {repo} ({status}: {said}); {advice}") from error
    except (HTTPError, OSError) as error:
        raise HubError(
            f"{constants.ENDPOINT} does not answer ({told(error) or type(error).__name__}): is there a network? What was written is "
            "under push/; the same command sends it"
        ) from error
    except ValueError as error:  # the front matter of a card, which the hub validates
        raise HubError(
            f"{constants.ENDPOINT} does not take the card of {repo}: {told(error)[:500]}"
        ) from error

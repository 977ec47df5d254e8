"""Before an endpoint is asked for anything that costs: does it answer, take the key, serve the model, with enough context?"""

import asyncio
from urllib.parse import urlsplit

import openai
from openai.types import Model

from drp.engines.served import open_endpoint
from drp.engines.settings import EndpointSettings
from drp.errors import DrpError
from drp.findings import Finding, ok, problem, unknown, warning
from drp.runs.concurrency import run_until_done

ANSWER_S = 10.0
"""Seconds an endpoint has to say which models it serves."""


def look_at_endpoint(what: str, model: str, settings: EndpointSettings, needed: int = 0) -> Finding:
    """Look whether an endpoint has a key, answers, and serves the model; asking which models it serves is free.

    Args:
        what: What the finding is called.
        model: The model's name there.
        settings: Where it is.
        needed: The most new tokens that will be asked of it.
    """
    where = settings.base_url or "the provider"

    async def models() -> dict[str, int | None]:
        engine = open_endpoint(model, settings)
        try:
            async with asyncio.timeout(ANSWER_S):
                found = await engine.client.with_options(max_retries=0).models.list()
            return {served.id: context_of(served) for served in found.data}
        finally:
            await engine.close()

    try:
        served = run_until_done(models())
    except DrpError as error:
        return problem(what, str(error))
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        return problem(what, f"{where} refuses the key: {error.message}")
    except openai.APIStatusError as error:
        hint = (
            ""
            if (settings.base_url or "/v1").rstrip("/").endswith("/v1")
            else "; is /v1 missing in base_url?"
        )
        return unknown(what, f"{where} answers {error.status_code} when asked for its models{hint}")
    except (openai.APIConnectionError, TimeoutError) as error:
        url = urlsplit(settings.base_url or "https://")
        mend = "is it running? Is its name spelt right?"
        if url.scheme not in ("http", "https"):
            mend = "write the URL with http:// or https:// in front"
        elif "SSL" in str(error.__cause__) or "WRONG_VERSION" in str(error.__cause__):
            mend = "does it speak https? Write http:// if not"
        reason = str(error.__cause__ or error).replace(" ssl:default", "")
        return problem(what, f"nobody answers at {where} ({reason}); {mend}")
    except Exception as error:  # noqa: BLE001 – a list of models of any shape proves no more than that somebody answers
        return unknown(what, f"{where} answers, but not with its models: {error}")
    if served and model not in served and settings.base_url:
        return unknown(what, f"{where} answers, but names {', '.join([*served][:5])} and not {model}")
    return _room(what, where, model, served.get(model), needed)


def context_of(served: Model) -> int | None:
    """Return the context that vLLM and SGLang name beside a model."""
    found = (served.model_extra or {}).get("max_model_len")
    return found if isinstance(found, int) else None


def _room(what: str, where: str, model: str, context: int | None, needed: int) -> Finding:
    """Say that an endpoint answers, and whether what will be asked fits the context that it names."""
    if context is None:
        return ok(what, f"{where} answers and serves {model}")
    if needed >= context:
        return warning(
            what,
            f"{where} serves {model} with a context of {context:,} tokens, and replies may take {needed:,}: they are cut off "
            "there",
            f"lower {what}'s limit of new tokens, or serve it with a longer --max-model-len",
        )
    return ok(what, f"{where} answers and serves {model}, context {context:,} tokens")

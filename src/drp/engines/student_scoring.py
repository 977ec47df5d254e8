"""The student opened to be asked how likely texts are to it: its weights, or its server, behind a scorer, and how it spells."""

from typing import Any

from drp.engines.identity import resolve_model
from drp.engines.local import in_process
from drp.engines.prompting import prompt_messages
from drp.engines.scoring import Core, Scorer
from drp.engines.served import open_endpoint
from drp.engines.settings import PromptSettings, StudentServer, StudentSettings
from drp.engines.spelling import Speller
from drp.runs.stage import Say, silent


def open_student(
    student: StudentSettings, prompt: PromptSettings, server: StudentServer | None = None, say: Say = silent
) -> tuple[Scorer, Speller]:
    """Return what scores with a student's weights, and what spells its prompts and responses.

    Args:
        student: The student; its tokenizer is loaded here in any case.
        prompt: How it is asked.
        server: Where its weights are; left out: they are loaded in this process.
        say: Told when the server goes away and comes back.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        EngineError: The model cannot be loaded, its tokenizer has no end token, or its server cannot score.
    """
    engine = in_process()
    path = resolve_model(student.source)
    tokenizer = engine.load_tokenizer(path)

    def asks(question: str, task: str) -> list[dict[str, str]]:
        return [message.model_dump() for message in prompt_messages(prompt, question, task)]

    speller = Speller(tokenizer, asks, prompt.template_arguments, student.thinking_tags)
    core = _served(student, server, tokenizer, say) if server else _loaded(student, path, tokenizer)
    return Scorer(core), speller


def _loaded(student: StudentSettings, path: str, tokenizer: Any) -> Core:
    from drp.engines.prefix_scoring import core_for

    engine = in_process()
    model = engine.load_model(path, student.device, student.dtype)
    return core_for(model, engine.stop_ids(model, tokenizer))


def _served(student: StudentSettings, server: StudentServer, tokenizer: Any, say: Say) -> Core:
    from drp.engines.encoding import encode
    from drp.engines.served_scoring import ServedCore

    context, stop_ids = in_process().described(resolve_model(student.source), tokenizer)
    endpoint = open_endpoint(server.name(student), server, say)
    return ServedCore(endpoint, lambda text: encode(tokenizer, text), stop_ids, context)

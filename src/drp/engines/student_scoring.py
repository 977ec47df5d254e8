"""The student opened to be asked how likely texts are to it: its weights behind a scorer, and how it spells."""

from drp.engines.identity import resolve_model
from drp.engines.local import in_process
from drp.engines.prompting import prompt_messages
from drp.engines.scoring import Scorer
from drp.engines.settings import PromptSettings, StudentSettings
from drp.engines.spelling import Speller


def open_student(student: StudentSettings, prompt: PromptSettings) -> tuple[Scorer, Speller]:
    """Return what scores with a student's weights, and what spells its prompts and responses.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        EngineError: The model cannot be loaded, or its tokenizer has no end token.
    """
    engine = in_process()
    from drp.engines.prefix_scoring import core_for

    path = resolve_model(student.source)
    tokenizer = engine.load_tokenizer(path)
    model = engine.load_model(path, student.device, student.dtype)

    def asks(question: str, task: str) -> list[dict[str, str]]:
        return [message.model_dump() for message in prompt_messages(prompt, question, task)]

    speller = Speller(tokenizer, asks, prompt.template_arguments, student.thinking_tags)
    return Scorer(core_for(model, engine.stop_ids(model, tokenizer))), speller

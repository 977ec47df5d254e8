"""Opening the engine that runs a student or a model trained from it: in this process, or behind an endpoint."""

from types import ModuleType

from drp.engines.base import Engine
from drp.engines.encoding import prefills_thinking
from drp.engines.identity import resolve_model
from drp.errors import MissingExtraError
from drp.recipe import PromptSettings, StudentEndpointSettings, StudentSettings
from drp.stages.teacher import Say, open_endpoint
from drp.training.settings import StudentModel


def in_process() -> ModuleType:
    """Return the engine in this process, which needs torch.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        from drp.engines import transformers_engine
    except ImportError as error:
        raise MissingExtraError(str(error.name), "train") from error
    return transformers_engine


def local_engine(student: StudentSettings, model: str, batch_size: int) -> Engine:
    """Return an engine in this process for the student or a model like it."""
    return in_process().TransformersEngine(
        resolve_model(model), device=student.device, dtype=student.dtype, batch_size=batch_size
    )


def served_engine(
    student: StudentSettings, prompt: PromptSettings, endpoint: StudentEndpointSettings, name: str, say: Say
) -> Engine:
    """Return an engine for an endpoint that serves the student, or a model trained from it, as ``name``."""
    prefilled = endpoint.prefilled
    if prefilled is None:
        prefilled = prefills_thinking(resolve_model(student.model), prompt.template_arguments)
    if prefilled is None:
        say(
            f"note: the chat template of {student.model} cannot be read here, so replies without tags are taken for "
            "thinking that never closed; set endpoint.prefilled=false if the student opens its thinking itself"
        )
    return open_endpoint(name, endpoint, say, thinks=True, prefilled=prefilled is not False)


def to_train(student: StudentSettings) -> StudentModel:
    """Return the student as trainings take it."""
    return StudentModel(resolve_model(student.model), student.device, student.dtype)

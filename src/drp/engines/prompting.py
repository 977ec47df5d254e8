"""From a question to the chat messages that ask it, in generation, training and scoring alike."""

from drp.engines.base import Message
from drp.engines.settings import PromptSettings
from drp.tasks.base import task_of


def prompt_messages(prompt: PromptSettings, question: str, task: str) -> tuple[Message, ...]:
    """Return the chat messages that ask a question, with its task's directive where the template wants it."""
    template = prompt.template.replace("{directive}", task_of(task).directive)
    user = Message(role="user", content=template.replace("{question}", question))
    if prompt.system is None:
        return (user,)
    return (Message(role="system", content=prompt.system), user)

"""The paper's baseline: the teacher's own short solutions, with nothing of the student's in them."""

from drp.methods.base import Method
from drp.methods.drp import targets
from drp.runs.layout import GENERATE, PRUNE, TRAIN

METHOD = Method("direct", (GENERATE, PRUNE, TRAIN), "fine-tune on the teacher's own solutions", targets)

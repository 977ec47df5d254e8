"""The paper's baseline: the teacher's own short solutions, with nothing of the student's in them."""

from drp.methods.base import Method
from drp.methods.drp import targets

METHOD = Method("direct", ("generate", "prune", "train"), "fine-tune on the teacher's own solutions", targets)

"""What ``import drp`` offers: every verb of the command line as a function over paths and plain records.

A recipe is given as a YAML file, a run folder (for its own), a mapping of sections, or a
:class:`drp.recipe.Recipe`; ``overrides`` are changes to it as on the command line. Where ``out`` is left out, the run
folder is the one that was named, or ``runs/NAME``. The same call again continues where the last one stopped. Errors
are :class:`drp.errors.DrpError`. Nothing is printed: pass ``say=print`` to hear what the command line would say.

Rooms are imported when a function runs: what reads files waits for no engine. The examples use the run of the first.
"""

from drp.api.chaining import rounds
from drp.api.diagnoses import diagnose
from drp.api.exports import export
from drp.api.first_minutes import doctor, init, recipes
from drp.api.forecasts import estimate, forecast, plan
from drp.api.models import merge
from drp.api.publishing import push
from drp.api.results import compare, grade, report, view
from drp.api.stages import evaluate, generate, prune, run, train

__all__ = [
    "compare",
    "diagnose",
    "doctor",
    "estimate",
    "evaluate",
    "export",
    "forecast",
    "generate",
    "grade",
    "init",
    "merge",
    "plan",
    "prune",
    "push",
    "recipes",
    "report",
    "rounds",
    "run",
    "train",
    "view",
]

"""The methods that a recipe may name."""

from drp.kinds import Registry
from drp.methods.base import MethodSettings

METHODS: Registry[MethodSettings] = Registry(
    "method",
    "drp.methods",
    MethodSettings,
    {
        "drp": "drp.methods.drp:DrpSettings",
        "lcpo": "drp.methods.lcpo:LcpoSettings",
        "self": "drp.methods.self_training:SelfSettings",
        "direct": "drp.methods.direct:DirectMethodSettings",
        "tale": "drp.methods.tale:TaleSettings",
        "tale_ep": "drp.methods.tale:TalePromptSettings",
        "cot_valve": "drp.methods.cot_valve:ValveSettings",
        "think_prune": "drp.methods.think_prune:ThinkPruneSettings",
    },
)

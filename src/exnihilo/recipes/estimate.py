"""What a stage will take, where its module can say: a function `estimate(config, inputs) -> list[str]`."""

from __future__ import annotations

import sys
from pathlib import Path

from exnihilo.core.stage import Inputs
from exnihilo.recipes.schema import Planned


def estimate(planned: Planned, folder: Path) -> list[str]:
    """Lines about time, memory and cost. The stage is given the inputs that are made by now."""
    # The stage's own module, where the verb's function is: no registry to keep in step.
    function = getattr(sys.modules[planned.stage.run.__module__], "estimate", None)
    if function is None:
        return []
    there: Inputs = {}
    for name, given in planned.inputs(folder).items():
        if isinstance(given, Path):
            if given.exists():
                there[name] = given
        elif all(path.exists() for path in given.values()):
            there[name] = given
    return list(function(planned.config, there))

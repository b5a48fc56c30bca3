"""The losses of preference optimisation by name. Imports no torch."""

from __future__ import annotations

from typing import Literal

Variant = Literal[
    "sigmoid", "hinge", "ipo", "ipo-mean", "robust", "nca", "sppo", "apo-zero", "apo-down", "simpo", "orpo"
]
"""Those of pairs."""
WITHOUT_REFERENCE = ("simpo", "orpo")
"""Those that compare with no reference model."""

"""What of a model is trained, and what it stands on: with low-rank adapters a checkpoint holds the adapters alone."""

from __future__ import annotations

from torch import nn

from exnihilo.model.fingerprint import weights_hash
from exnihilo.model.lora import Adapter


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def frozen_hash(model: nn.Module) -> str | None:
    """Hash of everything else that decides what the model computes: frozen parameters and the scales of adapters.

    None where everything is trained. A checkpoint that does not hold the base says with it which one it belongs to.
    """
    frozen = {name: tensor for name, tensor in model.named_parameters() if not tensor.requires_grad}
    scales = [f"{name} {one.scale!r}" for name, one in model.named_modules() if isinstance(one, Adapter)]
    return weights_hash(frozen, *scales) if frozen else None

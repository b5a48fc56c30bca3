"""Which optimizer trains which parameter, and their state as named tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from exnihilo.core.errors import Refused
from exnihilo.model.adapters import lora_layers
from exnihilo.train.config import DEFAULT_RATES, OptimizerConfig, adapter_rate
from exnihilo.train.muon import POLAR_EXPRESS, Muon

HEAD = "output"
"""What the output head of a model, and of each model in a model, is called."""
NEURON_BETA = 0.95
"""NorMuon's decay of each neuron's mean square, as it was published with (arXiv 2510.05491)."""


class Optimizers:
    """The optimizers of a model, stepped as one.

    Matrices inside the network go to Muon, NorMuon or AdamW, by name. Embeddings, output heads (whatever is called
    `output`) and whatever is no matrix always go to AdamW, without weight decay. So do low-rank adapters, at
    the matrices' learning rate and decay: what Muon makes orthogonal is the update of W, and that of BA is neither
    B's nor A's.
    """

    def __init__(self, model: nn.Module, config: OptimizerConfig, dtype: torch.dtype = torch.float32) -> None:
        named = model.named_parameters()
        self.names: dict[Tensor, str] = {p: name for name, p in named if p.requires_grad}
        adapted = lora_layers(model)
        adapters = {p for layer in adapted for p in layer.adapters.parameters()}
        outer = _embeddings_and_head(model)
        matrices = [p for p in self.names if p.ndim == 2 and p not in outer | adapters]
        rest = [p for p in self.names if (p.ndim != 2 or p in outer) and p not in adapters]
        default = DEFAULT_RATES[config.name]
        lr = default[0] if config.lr is None else config.lr
        lr_embedding = default[1] if config.lr_embedding is None else config.lr_embedding

        self.optimizers: dict[str, Optimizer] = {}
        adamw = []
        if matrices and config.name != "adamw":
            neurons: dict[str, Any] = {"quintics": POLAR_EXPRESS, "neuron_beta": NEURON_BETA}
            self.optimizers[config.name] = Muon(
                matrices,
                lr=lr,
                momentum=config.momentum,
                nesterov=config.nesterov,
                weight_decay=config.weight_decay,
                ns_steps=config.ns_steps,
                dtype=dtype,
                **(neurons if config.name == "normuon" else {}),
            )
        elif matrices:
            adamw.append({"params": matrices, "lr": lr, "weight_decay": config.weight_decay})
        if adapted:
            lr = adapter_rate(adapted[0].base.in_features) if config.lr is None else config.lr
        for ndim, decay in ((2, config.weight_decay), (1, 0.0)):  # A and B; DoRA's lengths of rows
            low_rank = [p for p in self.names if p in adapters and p.ndim == ndim]
            if low_rank:
                adamw.append({"params": low_rank, "lr": lr, "weight_decay": decay})
        if rest:
            adamw.append({"params": rest, "lr": lr_embedding, "weight_decay": 0.0})
        if adamw:
            self.optimizers["adamw"] = AdamW(adamw, betas=config.betas, eps=config.eps, fused=True)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]

    def step(self, factor: float) -> None:
        """Update every parameter at `factor` times the peak learning rates."""
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = factor * group["initial_lr"]
            optimizer.step()

    @property
    def lr(self) -> float:
        """The peak learning rate of the matrices, or of whatever there is."""
        rates = [group["initial_lr"] for o in self.optimizers.values() for group in o.param_groups]
        return float(rates[0])

    def tensors(self) -> dict[str, Tensor]:
        """The state as `<optimizer>/<field>/<parameter>`; empty before the first step."""
        return {
            f"{kind}/{field}/{self.names[parameter]}": tensor
            for kind, optimizer in self.optimizers.items()
            for parameter, state in optimizer.state.items()
            for field, tensor in state.items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` returned, and nothing else: state that is not among it is forgotten.

        Raises Refused when it does not fit: another optimizer, other parameters or other shapes.
        """
        parameters = {name: parameter for parameter, name in self.names.items()}
        for optimizer in self.optimizers.values():
            optimizer.state.clear()
        for key, tensor in tensors.items():
            kind, field, name = key.split("/", 2)
            if kind not in self.optimizers or name not in parameters:
                raise Refused(
                    f"checkpoint: optimizer state {key} has no place in this run; keep optimizer.name "
                    "and the model"
                )
            parameter = parameters[name]
            of_neurons = (len(parameter), 1) if parameter.ndim == 2 and field == "neuron_buffer" else None
            if tensor.ndim and tuple(tensor.shape) not in (parameter.shape, of_neurons):
                raise Refused(
                    f"checkpoint: optimizer state {key} has shape {tuple(tensor.shape)}, its parameter "
                    f"{tuple(parameter.shape)}; keep the model's shape"
                )
            # A copy: a tensor read from a file may lie unaligned, and the last bits of sums depend on that.
            device = (
                tensor.device if tensor.ndim == 0 and parameter.device.type == "cpu" else parameter.device
            )
            self.optimizers[kind].state[parameter][field] = tensor.to(device, copy=True)


def _embeddings_and_head(model: nn.Module) -> set[Tensor]:
    return {
        parameter
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) or name.rpartition(".")[2] == HEAD
        for parameter in module.parameters()
    }

"""Generation by exnihilo: `infer.generate`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.systems.model_folder import write_random
from benchmarks.systems.shapes import Shape
from benchmarks.systems.workloads import Workload
from exnihilo.infer.generate import generate
from exnihilo.infer.sampling import Sampling
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import load_model

_models: list[Decoder] = []


def write(shape: dict[str, Any], folder: str) -> None:
    """Write the model where every system loads it from."""
    write_random(Shape(**shape), Path(folder))


def prepare(folder: str) -> int:
    """Load the model; its number of parameters."""
    model = load_model(Path(folder))
    model.eval()
    _models[:] = [model]
    return sum(parameter.numel() for parameter in model.parameters())


def measure(workload: dict[str, Any], turn: int) -> dict[str, Any]:
    """Generate a workload's texts; seconds and the ids of each."""
    work = Workload(**workload)
    temperature = 0.0 if work.greedy else 1.0
    samplings = [Sampling(temperature=temperature, max_new=number) for number in work.lengths(turn)]
    prompts = work.prompts(turn)
    start = time.perf_counter()
    generations = generate(_models[0], prompts, samplings, seeds=range(len(prompts)))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "ids": [generation.ids for generation in generations]}


@torch.inference_mode()
def margin(prefix: list[int], first: int, second: int) -> float:
    """By how much the logits of two tokens differ after `prefix`, computed without a cache."""
    logits = _models[0](torch.tensor([prefix]))[0, -1]
    return abs(float(logits[first] - logits[second]))

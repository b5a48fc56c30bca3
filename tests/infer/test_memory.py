"""Generation leaves nothing behind that only Python's search for circles would free."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import torch

from exnihilo.infer.generate import generate
from exnihilo.infer.sampling import Sampling
from random_decoder import random_decoder


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """What is found in circles while the test runs."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


def test_perf_no_tensor_is_left_in_a_circle(garbage: list[object]) -> None:
    """Each step's views once named what named them, and the pools of all steps stayed: 5.6 GB in an evaluation."""
    model = random_decoder(60)
    prompts = [[3 + i % 7] * (1 + i % 5) for i in range(9)]
    generate(model, prompts, Sampling(max_new=12), seeds=range(9), stop_ids=(), vocab_size=60, max_batch=4)
    gc.collect()
    assert not [type(one) for one in garbage if isinstance(one, torch.Tensor)]

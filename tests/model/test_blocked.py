from __future__ import annotations

import pytest
import torch

from exnihilo.model.blocked import ROWS, Matrices, ShardedMatrix
from exnihilo.model.cache import KVCache
from exnihilo.model.cached import cached_hidden
from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder

SHAPE = {"vocab_size": 97, "width": 48, "depth": 2, "heads": 4, "kv_heads": 2, "head_dim": 16, "hidden": 80}


@pytest.mark.parametrize(
    ("outputs", "inputs", "count", "shards"),
    [(7, 5, 2, 1), (16, 8, 2, 2), (96, 48, 4, 4), (96, 48, 3, 1), (700, 33, 2, 2), (1500, 20, 8, 1)],
)
def test_a_matrix_in_shards_gives_the_same_product(
    outputs: int, inputs: int, count: int, shards: int
) -> None:
    generator = torch.Generator().manual_seed(outputs)
    weight = torch.randn(outputs, inputs, generator=generator)
    matrix = ShardedMatrix.laid_out(weight, count, torch.empty(weight.numel()))
    assert matrix.shards.shape == (shards, inputs, outputs // shards)
    for rows in (1, 4, 30):
        x = torch.randn(rows, inputs, generator=generator)
        for one in (matrix, ShardedMatrix.plain(weight)):
            product = one.product(x)
            assert product.shape == (rows, outputs)
            assert torch.allclose(product, x @ weight.t(), atol=1e-5)


@torch.inference_mode()
def test_a_pass_in_shards_equals_the_plain_pass_at_every_number_of_rows() -> None:
    torch.manual_seed(0)
    model = Decoder(DecoderConfig(**SHAPE, max_length=32))  # type: ignore[arg-type]
    for parameter in model.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.2 + (1.0 if parameter.ndim == 1 else 0.0))
    matrices = Matrices(model, 2)
    for rows in (1, 3, ROWS.start, 17, ROWS.stop):
        tokens = torch.randint(97, (rows, 5))
        plain, sharded = (KVCache(model.config, rows, 32) for _ in range(2))
        for start, stop in ((0, 3), (3, 4), (4, 5)):
            expected = model(tokens[:, start:stop], cache=plain)
            hidden = cached_hidden(model, tokens[:, start:stop], sharded, matrices.linear)
            assert (matrices.head(hidden[:, -1]) - expected[:, -1]).abs().max() < 1e-4
        assert expected.std() > 0.1

from __future__ import annotations

import pytest
import torch

from exnihilo.model.blocked import ROWS, BlockedMatrix, Products
from exnihilo.model.cache import KVCache
from exnihilo.model.cached import cached_hidden
from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder

SHAPE = {"vocab_size": 97, "width": 48, "depth": 2, "heads": 4, "kv_heads": 2, "head_dim": 16, "hidden": 80}


@pytest.mark.parametrize(
    ("outputs", "inputs"), [(7, 5), (16, 8), (97, 48), (700, 33), (1024, 16), (1500, 20)]
)
def test_a_matrix_in_blocks_gives_the_same_product(outputs: int, inputs: int) -> None:
    generator = torch.Generator().manual_seed(outputs)
    weight = torch.randn(outputs, inputs, generator=generator)
    blocked = BlockedMatrix(weight)
    for rows in (1, 4, 30):
        x = torch.randn(rows, inputs, generator=generator)
        product = blocked.times(x)
        assert product.shape == (rows, outputs)
        assert torch.allclose(product, x @ weight.t(), atol=1e-5)


@torch.inference_mode()
def test_a_pass_in_blocks_equals_the_plain_pass_at_every_number_of_rows() -> None:
    torch.manual_seed(0)
    model = Decoder(DecoderConfig(**SHAPE, max_length=32))  # type: ignore[arg-type]
    for parameter in model.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.2 + (1.0 if parameter.ndim == 1 else 0.0))
    products = Products(model)
    products.block()
    for rows in (1, 3, ROWS.start, 17, ROWS.stop):
        tokens = torch.randint(97, (rows, 5))
        plain, blocked = (KVCache(model.config, rows, 32) for _ in range(2))
        for start, stop in ((0, 3), (3, 4), (4, 5)):
            expected = model(tokens[:, start:stop], cache=plain)
            hidden = cached_hidden(model, tokens[:, start:stop], blocked, products.linear)
            assert (products.head(hidden[:, -1]) - expected[:, -1]).abs().max() < 1e-4
        assert expected.std() > 0.1

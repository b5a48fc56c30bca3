"""Noise on embeddings: its scale, what it depends on, and where it is not."""

from __future__ import annotations

import pytest
import torch

from exnihilo.model.neftune import embedding_noise, noisy_embedding, segment_lengths
from random_decoder import random_decoder

SEGMENTS = torch.tensor([[0] * 4 + [1] * 12, [0] * 9 + [-1] * 7, [0] * 16])


def test_lengths_are_those_of_segments_and_stop_at_the_end_of_a_row() -> None:
    assert segment_lengths(SEGMENTS).tolist() == [[4] * 4 + [12] * 12, [9] * 9 + [7] * 7, [16] * 16]


def test_noise_is_uniform_up_to_alpha_over_the_root_of_each_samples_own_size() -> None:
    """Not of the row's: in packed rows the paper's scale would shrink with whatever stands beside a sample."""
    width = 4000
    noise = embedding_noise(SEGMENTS, [1, 2, 3], width, alpha=5)
    limits = 5 / (segment_lengths(SEGMENTS) * width).sqrt()
    assert not noise[1, 9:].any()  # padding
    for row, column in ((0, 0), (0, 15), (1, 0), (2, 7)):
        limit, drawn = float(limits[row, column]), noise[row, column]
        assert drawn.abs().max() <= limit and drawn.abs().max() > 0.99 * limit
        assert float(drawn.mean()) == pytest.approx(0, abs=0.06 * limit)
        assert float(drawn.std()) == pytest.approx(limit / 3**0.5, rel=0.05)


def test_a_row_draws_by_its_seed_alone() -> None:
    whole = embedding_noise(SEGMENTS, [1, 2, 3], 8, alpha=5)
    for row, seed in enumerate((1, 2, 3)):
        assert torch.equal(embedding_noise(SEGMENTS[row : row + 1], [seed], 8, alpha=5)[0], whole[row])
    assert not torch.equal(embedding_noise(SEGMENTS, [4, 2, 3], 8, alpha=5)[0], whole[0])


@pytest.mark.parametrize("layout", [{"tied": True}, {"layout": "gpt2", "tied": True}])
def test_only_what_is_read_is_noisy_and_only_within(layout: dict[str, object]) -> None:
    model = random_decoder(50, **layout)
    tokens = torch.randint(50, (1, 8), generator=torch.Generator().manual_seed(0))
    plain, head = model.hidden(tokens), model.head_weight.detach().clone()
    noise = torch.randn(1, 8, model.config.width)
    with noisy_embedding(model, noise):
        embedded = model.embedded(tokens, None)
        assert not torch.equal(model.hidden(tokens), plain)
        assert torch.equal(model.head_weight, head)
    assert torch.allclose(embedded, model.embedded(tokens, None) + noise)
    assert torch.equal(model.hidden(tokens), plain)

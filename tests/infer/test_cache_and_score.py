from __future__ import annotations

import pytest
import torch

from exnihilo.core.errors import ConfigError
from exnihilo.infer.score import continuation_logprobs, gather_logprobs, token_logprobs
from exnihilo.model.cache import KVCache
from exnihilo.model.decoder import Decoder


@torch.inference_mode()
@pytest.mark.parametrize("chunk", [1, 3, 17])
def test_model_1_cached_logits_equal_full_ones_at_every_length(chunk: int, model: Decoder) -> None:
    """Lengths 1 to the whole context, prefilled in chunks of 1, 3 and 17: logits within 1e-4."""
    length = model.config.max_length
    ids = torch.randint(300, (2, length), generator=torch.Generator().manual_seed(0))
    full = model(ids)
    cache = KVCache(model.config, 2, length)
    cached = torch.cat([model(part, cache=cache) for part in ids.split(chunk, dim=1)], dim=1)
    assert (cached - full).abs().max() < 1e-4
    assert full.std() > 0.1


def test_model_3_log_probabilities_are_summed_in_float32() -> None:
    """4,096 tokens, bfloat16 logits: the sum is within 1e-3 relative of float32's."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4096, 512, generator=generator) * 3
    targets = logits.softmax(-1).multinomial(1, generator=generator)[:, 0]
    exact = gather_logprobs(logits, targets).sum()
    low = logits.bfloat16()
    ours = gather_logprobs(low, targets)
    assert ours.dtype == torch.float32
    assert abs(ours.sum() - exact) / abs(exact) < 1e-3
    assert torch.allclose(ours, low.float().log_softmax(-1).gather(1, targets[:, None])[:, 0], atol=1e-5)
    careless = low.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    assert (careless.float() - ours).abs().mean() > 100 * 1e-5, (
        "rounding each term to 8 bits is what is avoided"
    )


def test_token_logprobs_equal_log_softmax(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = torch.randint(300, (3, 25), generator=torch.Generator().manual_seed(0))
    expected = model(ids)[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0].detach()
    assert torch.allclose(token_logprobs(model, ids), expected, atol=1e-5)
    monkeypatch.setattr("exnihilo.infer.score.LOGITS_HELD", 7 * model.config.vocab_size)
    assert torch.allclose(token_logprobs(model, ids), expected, atol=1e-5)
    assert token_logprobs(model, ids[:, :1]).shape == (3, 0)


def test_token_logprobs_of_packed_rows_are_those_of_each_segment(model: Decoder) -> None:
    ids = torch.randint(300, (1, 30), generator=torch.Generator().manual_seed(1))
    positions = torch.cat([torch.arange(12), torch.arange(18)])[None]
    segments = (torch.arange(30) >= 12).long()[None]
    packed = token_logprobs(model, ids, positions, segments)[0]
    assert torch.allclose(packed[:11], token_logprobs(model, ids[:, :12])[0], atol=1e-4)
    assert torch.allclose(packed[12:], token_logprobs(model, ids[:, 12:])[0], atol=1e-4)


def test_continuations_of_any_length_in_order(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exnihilo.infer.score.FORWARD_TOKENS", 50)
    prompts = [[0], [0, 9, 8, 30], [0] + [44] * 30, [0, 7]]
    continuations = [[50, 60], [70], [80] * 9, []]
    scores = continuation_logprobs(model, prompts, continuations)
    assert [len(score) for score in scores] == [2, 1, 9, 0]
    for prompt, continuation, score in zip(prompts, continuations, scores, strict=True):
        alone = token_logprobs(model, torch.tensor([prompt + continuation]))[0, len(prompt) - 1 :]
        assert score == pytest.approx(alone.tolist(), abs=1e-4)
    with pytest.raises(ConfigError, match="prompt 0 is empty"):
        continuation_logprobs(model, [[]], [[5]])
    with pytest.raises(ConfigError, match="97 tokens"):
        continuation_logprobs(model, [[0]], [[5] * 96])

"""A reward model on disk: the same scores again, and in `transformers`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from exnihilo.core.errors import Refused
from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import save_model
from exnihilo.model.scorer import Scorer
from exnihilo.model.scorer_folder import Scale, load_scorer, save_scorer
from exnihilo.tokenizer.bpe import byte_tokenizer


def make_model(tied: bool) -> Scorer:
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    config = DecoderConfig(
        vocab_size=tokenizer.vocab_size, width=32, depth=2, heads=2, kv_heads=1, head_dim=16, hidden=48, tied=tied,
        max_length=32,
    )  # fmt: skip
    model = Scorer(Decoder(config), 2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.mark.parametrize("tied", [True, False])
def test_scores_are_the_same_after_saving_and_in_transformers(tmp_path: Path, tied: bool) -> None:
    from transformers import AutoModelForSequenceClassification

    model, tokenizer = make_model(tied), byte_tokenizer()
    scale = Scale(("helpful", "safe"), (0.5, -1.0), (2.0, 1.0))
    save_scorer(model, tokenizer, scale, tmp_path / "reward")
    before = torch.get_rng_state()
    again, _, found = load_scorer(tmp_path / "reward")
    assert torch.equal(torch.get_rng_state(), before)
    tokens = torch.tensor([[9, 30, 41, 17, 7], [12, 13, 14, 15, 7]])
    assert found == scale
    assert torch.equal(again(tokens), model(tokens))
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward").eval()
    assert theirs.config.id2label == {0: "helpful", 1: "safe"}
    with torch.no_grad():
        scores = theirs(tokens).logits
    assert torch.allclose(scores, model(tokens)[:, -1], atol=1e-5)


def test_what_is_no_reward_model_is_refused(tmp_path: Path) -> None:
    model, tokenizer = make_model(True), byte_tokenizer()
    tokenizer.save(tmp_path / "tokenizer")
    save_model(model.decoder, tmp_path / "tokenizer", tmp_path / "model")
    with pytest.raises(Refused, match="a model without scores; give a reward model"):
        load_scorer(tmp_path / "model")
    save_scorer(model, tokenizer, Scale.plain(("a", "b")), tmp_path / "reward")
    (tmp_path / "reward" / "scale.json").write_text('{"aspects": ["a"], "mean": [0], "spread": [1]}')
    with pytest.raises(Refused, match="1 aspects, and the model has 2"):
        load_scorer(tmp_path / "reward")
    weights = tmp_path / "reward" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(Refused, match="cut short or altered"):
        load_scorer(tmp_path / "reward")

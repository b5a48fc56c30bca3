from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder
from exnihilo.tokens.arrangement import best_fit_decreasing
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.packing import ConversationRows
from exnihilo.tokens.sampler import DocumentRows
from exnihilo.tokens.shards import TokenSet

PAD = 2
Encoded = list[tuple[list[int], list[bool]]]


def conversations(n: int, longest: int, seed: int = 0) -> Encoded:
    """Conversations that begin with an id of their own, 1000 + i, and have random masks."""
    rng = np.random.default_rng(seed)
    made: Encoded = []
    for i in range(n):
        size = int(rng.integers(2, longest + 1))
        ids = [1000 + i, *rng.integers(8, 500, size - 1).tolist()]
        made.append((ids, (rng.random(size) < 0.4).tolist()))
    return made


def unpack(batch: Batch) -> list[tuple[list[int], list[int], list[float], list[int]]]:
    """Tokens, targets, weights and positions of every segment; checks that the rest is padding."""
    found = []
    for i in range(len(batch)):
        segments = batch.segments[i]
        padding = segments == -1
        assert bool((batch.tokens[i][padding] == PAD).all())
        assert float(batch.weights[i][padding].sum()) == 0
        kept = segments[~padding]
        assert bool((kept[1:] >= kept[:-1]).all())
        for segment in kept.unique().tolist():
            here = segments == segment
            fields = (batch.tokens, batch.targets, batch.weights, batch.positions)
            found.append(tuple(field[i][here].tolist() for field in fields))
    return found  # type: ignore[return-value]


def test_every_conversation_is_whole_and_comes_once_an_epoch() -> None:
    encoded = conversations(200, longest=60)
    source = ConversationRows(encoded, rows=3, length=64, seed=1, pad=PAD)
    assert source.rows_per_epoch % 3, "the last batch of an epoch is a partial one"
    rows = [source.next(step).rows(i, i + 1) for step in range(source.rows_per_epoch) for i in range(3)]
    epochs = [rows[e * source.rows_per_epoch : (e + 1) * source.rows_per_epoch] for e in range(3)]
    orders = []
    for epoch in epochs:
        segments = unpack(Batch.cat(epoch))
        orders.append([tokens[0] for tokens, *_ in segments])
        assert sorted(orders[-1]) == [1000 + i for i in range(200)]
        for tokens, targets, weights, positions in segments:
            ids, mask = encoded[tokens[0] - 1000]
            assert tokens == ids[:-1]
            assert targets == ids[1:]
            assert weights == [float(trained) for trained in mask[1:]]
            assert positions == list(range(len(ids) - 1))
    assert orders[0] != orders[1] != orders[2]
    together = [{frozenset(row.tokens[row.tokens >= 1000].tolist()) for row in epoch} for epoch in epochs]
    assert len(together[0] & together[1]) < len(together[0]) / 2, "conversations meet others in each epoch"


def test_pack_2_rows_are_well_filled() -> None:
    source = ConversationRows(conversations(500, longest=60), rows=4, length=128, seed=0, pad=PAD)
    assert source.fill > 0.99


def test_best_fit_decreasing_never_overfills() -> None:
    sizes = np.sort(np.random.default_rng(3).integers(1, 65, 1000))[::-1]
    rows, offsets = best_fit_decreasing(sizes, 64)
    taken = np.zeros((rows.max() + 1, 64), dtype=int)
    for row, offset, size in zip(rows, offsets, sizes, strict=True):
        taken[row, offset : offset + size] += 1
    assert taken.max() == 1
    assert taken.sum() == sizes.sum()
    assert len(taken) <= 11 / 9 * -(-sizes.sum() // 64) + 4


def test_pack_1_a_conversation_longer_than_a_row_is_refused_before_packing() -> None:
    with pytest.raises(Refused, match=r"conversation 0: 514 tokens, a row of 512 holds 513"):
        ConversationRows([([8] * 514, [True] * 514)] * 9, rows=2, length=512, seed=0, pad=PAD)
    # As long as a row can be: every row makes progress and the loss has a weight.
    source = ConversationRows([([8] * 513, [True] * 513)] * 9, rows=2, length=512, seed=0, pad=PAD)
    assert (source.rows_per_epoch, source.steps_per_epoch, source.fill) == (9, 5, 1.0)
    assert all(float(source.next(step).weights.sum()) == 2 * 512 for step in range(10))


def test_pack_5_a_single_trainable_token_gives_its_own_loss() -> None:
    ids = [1, 10, 11, 12, 13]
    mask = [False, False, False, True, False]  # 12 is trained: predicted by 11
    source = ConversationRows([(ids, mask)], rows=1, length=8, seed=0, pad=PAD)
    batch = source.next(0)
    torch.manual_seed(0)
    table = torch.randn(20, 20, dtype=torch.float64)  # a bigram model: row = logits after that token
    losses = F.cross_entropy(table[batch.tokens].flatten(0, 1), batch.targets.flatten(), reduction="none")
    loss = (losses * batch.weights.flatten()).sum()
    assert float(loss) == pytest.approx(float(-table[11].log_softmax(-1)[12]), abs=1e-12)
    assert float(batch.weights.sum()) == 1


def test_grpo_7_17_conversations_on_rows_of_8_are_all_used() -> None:
    encoded = [([1000 + i] + [9] * 32, [True] * 33) for i in range(17)]
    source = ConversationRows(encoded, rows=8, length=32, seed=0, pad=PAD)
    assert (source.rows_per_epoch, source.steps_per_epoch) == (17, 3)
    firsts = [row[0] for step in range(17) for row in source.next(step).tokens.tolist()]
    for epoch in range(8):
        assert sorted(firsts[17 * epoch : 17 * (epoch + 1)]) == [1000 + i for i in range(17)]
    assert source.epochs(17) == {"conversations": 8.0}


def test_a_batch_larger_than_an_epoch_runs_over_several() -> None:
    source = ConversationRows([([1000, 9, 9], [True] * 3)], rows=5, length=4, seed=0, pad=PAD)
    assert source.next(3).tokens.tolist() == [[1000, 9, PAD, PAD]] * 5


def test_any_step_can_be_had_alone() -> None:
    encoded = conversations(40, longest=30)
    forward = ConversationRows(encoded, rows=4, length=32, seed=6, pad=PAD)
    batches = [forward.next(step) for step in range(30)]
    backward = ConversationRows(encoded, rows=4, length=32, seed=6, pad=PAD)
    for step in reversed(range(30)):
        for name, tensor in backward.next(step).fields().items():
            assert torch.equal(tensor, batches[step].fields()[name]), (step, name)
    other = ConversationRows(encoded, rows=4, length=32, seed=7, pad=PAD)
    assert not torch.equal(other.next(0).tokens, batches[0].tokens)


def test_replay_rows_stand_below(make_tokens: Callable[..., TokenSet]) -> None:
    replay = DocumentRows([make_tokens([50] * 20)], None, rows=2, length=32, seed=0)
    encoded = conversations(40, longest=30)
    alone = ConversationRows(encoded, rows=4, length=32, seed=6, pad=PAD)
    source = ConversationRows(encoded, rows=4, length=32, seed=6, pad=PAD, replay=replay)
    for step in (0, 11):
        batch = source.next(step)
        assert len(batch) == 6
        assert torch.equal(batch.rows(0, 4).tokens, alone.next(step).tokens)
        assert torch.equal(batch.rows(4, 6).tokens, replay.next(step).tokens)
    saved = json.loads(json.dumps(source.state()))
    source.resume(saved)
    with pytest.raises(Refused, match=r"replay\.fingerprint was \w+… and is absent"):
        alone.resume(saved)


def test_pack_7_another_mask_or_conversation_is_refused() -> None:
    encoded = conversations(10, longest=30)
    saved = ConversationRows(encoded, rows=4, length=32, seed=6, pad=PAD).state()
    ids, mask = encoded[3]
    flipped = [*encoded[:3], (ids, [not mask[0], *mask[1:]]), *encoded[4:]]
    for changed in (flipped, [*encoded, ([8, 9], [False, True])]):
        with pytest.raises(Refused, match="fingerprint"):
            ConversationRows(changed, rows=4, length=32, seed=6, pad=PAD).resume(saved)


def test_impossible_conversations_are_refused() -> None:
    good = ([8, 9], [False, True])
    for bad, message in [
        (([8], [True]), "conversation 1: 1 tokens, nothing to predict"),
        (([8, 9], [True]), "conversation 1: 2 ids and 1 weights"),
    ]:
        with pytest.raises(Refused, match=message):
            ConversationRows([good, bad], rows=1, length=8, seed=0, pad=PAD)
    with pytest.raises(Refused, match="no conversations"):
        ConversationRows([], rows=1, length=8, seed=0, pad=PAD)
    with pytest.raises(ConfigError, match="at least 1"):
        ConversationRows([good], rows=0, length=8, seed=0, pad=PAD)


def test_sft_6_packed_and_unpacked_have_the_same_loss_and_gradient() -> None:
    from exnihilo.tokenizer.bpe import train_tokenizer
    from exnihilo.tokenizer.template import Renderer

    tokenizer = train_tokenizer(["the tool says 7, so the answer is 7. what is 3 + 4?"] * 4, 280)
    renderer = Renderer(tokenizer)
    encoded: Encoded = []
    for i in range(6):
        turns = [
            {"role": "user", "content": f"what is {i} + 4?"},
            {"role": "assistant", "content": "the tool says"},
            {"role": "tool", "content": f"{i + 4}"},
            {"role": "assistant", "content": f"so the answer is {i + 4}."},
        ] * (1 + i % 3)
        rendered = renderer.render(turns)
        encoded.append((rendered.ids, rendered.mask))
    longest = max(len(ids) for ids, _ in encoded)
    packed = ConversationRows(encoded, rows=1, length=2 * longest, seed=0, pad=tokenizer.pad)
    assert packed.rows_per_epoch < len(encoded)

    batches = [packed.next(row) for row in range(packed.rows_per_epoch)]
    single = [
        ConversationRows([one], rows=1, length=longest, seed=0, pad=tokenizer.pad).next(0) for one in encoded
    ]
    trained = Counter(target for batch in batches for target in batch.targets[batch.weights > 0].tolist())
    assert trained == Counter(i for ids, mask in encoded for i, kept in zip(ids, mask, strict=True) if kept)
    assert trained[tokenizer.end] == sum(1 + i % 3 for i in range(6)) * 2, "one end for each assistant turn"

    torch.manual_seed(0)
    config = DecoderConfig(
        vocab_size=tokenizer.vocab_size, width=16, depth=2, heads=2, kv_heads=1, head_dim=8, hidden=32
    )
    model = Decoder(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)

    def loss_and_gradient(all_batches: list[Batch]) -> tuple[torch.Tensor, torch.Tensor]:
        model.zero_grad()
        total = torch.zeros((), dtype=torch.float64)
        for batch in all_batches:
            logits = model(batch.tokens, batch.positions, batch.segments)
            losses = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none")
            total = total + (losses * batch.weights.flatten()).sum()
        total.backward()  # type: ignore[no-untyped-call]
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        return total.detach(), gradient

    loss, gradient = loss_and_gradient(batches)
    expected, expected_gradient = loss_and_gradient(single)
    assert float(loss) > 1
    assert float((loss - expected).abs() / expected) < 1e-10
    assert float((gradient - expected_gradient).norm() / expected_gradient.norm()) < 1e-10

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import chain, pairwise
from typing import Any

import pytest
import torch

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.sampler import DocumentRows, Phase
from exnihilo.tokens.shards import TokenSet

Make = Callable[..., TokenSet]
BOS, EOS = 0, 1


def pairs(batches: list[Batch], positions: int) -> list[tuple[int, int]]:
    """(token, target) of the first `positions` of the batches, in order."""
    tokens = torch.cat([batch.tokens for batch in batches]).flatten()[:positions].tolist()
    targets = torch.cat([batch.targets for batch in batches]).flatten()[:positions].tolist()
    return list(zip(tokens, targets, strict=True))


def neighbours(tokens: TokenSet) -> Counter[tuple[int, int]]:
    """How often each token follows each within a document."""
    found: Counter[tuple[int, int]] = Counter()
    for i in range(tokens.documents):
        ids = tokens.document(i).tolist()
        found.update(pairwise(ids))
    return found


def check_rows(batch: Batch, follows: Counter[tuple[int, int]]) -> None:
    """Positions restart at 0 with each segment, and inside one each target is the next token."""
    assert batch.tokens.dtype == batch.positions.dtype == batch.segments.dtype == torch.int64
    assert batch.weights.dtype == torch.float32
    assert bool((batch.weights == 1).all())
    for tokens, positions, segments, targets in zip(
        *(field.tolist() for field in (batch.tokens, batch.positions, batch.segments, batch.targets)),
        strict=True,
    ):
        assert (positions[0], segments[0]) == (0, 0)
        for t in range(1, len(tokens)):
            if segments[t] == segments[t - 1]:
                assert positions[t] == positions[t - 1] + 1
                assert tokens[t] == targets[t - 1]
            else:
                assert segments[t] == segments[t - 1] + 1
                assert positions[t] == 0
                assert tokens[t] == BOS
                assert targets[t - 1] == EOS
        assert all(follows[pair] for pair in zip(tokens, targets, strict=True))


@pytest.mark.parametrize("length", [1, 7, 64, 5000])
def test_pack_2_every_token_is_used_exactly_once_an_epoch(
    make_tokens: Make, ragged: list[int], length: int
) -> None:
    tokens = make_tokens(ragged, shard_tokens=500)
    positions = tokens.tokens - tokens.documents
    source = DocumentRows([tokens], None, rows=3, length=length, seed=5)
    steps = -(-2 * positions // (3 * length))
    batches = [source.next(step) for step in range(steps)]
    seen = pairs(batches, 2 * positions)
    first, second = Counter(seen[:positions]), Counter(seen[positions:])
    expected = neighbours(tokens)
    assert first == expected
    assert second == expected
    assert seen[:positions] != seen[positions:], "each epoch has its own order"
    # Used: as a target, and each document's first as an input.
    assert sum(first.values()) + tokens.documents == tokens.tokens
    for batch in batches:
        check_rows(batch, expected)


def test_pieces_come_from_different_places_and_every_token_is_still_used_once_an_epoch(
    make_tokens: Make, ragged: list[int]
) -> None:
    tokens = make_tokens(ragged, shard_tokens=500)
    positions = tokens.tokens - tokens.documents
    until = positions // (3 * 32) // 2
    source = DocumentRows(
        [tokens], None, rows=3, length=32, seed=5, phases=[Phase(until, 8), Phase(until + 3, 16)]
    )
    batches = [source.next(step) for step in range(-(-2 * positions // (3 * 32)))]
    seen = pairs(batches, 2 * positions)
    expected = neighbours(tokens)
    assert Counter(seen[:positions]) == Counter(seen[positions:]) == expected
    for step, batch in enumerate(batches):
        piece = 8 if step < until else 16 if step < until + 3 else 32
        assert (batch.positions[:, ::piece] == 0).all()
        assert batch.positions.max() < piece
    # Pieces of one row are strangers to each other; in whole rows what stands side by side goes on.
    ids = torch.stack([batch.tokens for batch in batches[:until]]).view(-1, 4, 8)
    follows = [(row[0][-1], row[1][0]) in expected for row in ids.tolist()]
    assert sum(follows) < 0.2 * len(follows)


def test_a_phase_reads_a_sample_of_the_epoch_and_not_a_stretch_of_it(make_tokens: Make) -> None:
    """Four large documents: were a phase a stretch of the stream, one of them would be all in it."""
    tokens = make_tokens([4001] * 4)
    source = DocumentRows([tokens], None, rows=5, length=32, seed=3, phases=[Phase(50, 16)])
    read = torch.cat([source.next(step).tokens.flatten() for step in range(50)])
    for document in range(4):
        of_it = Counter(tokens.document(document).tolist())
        share = sum(of_it[token] > 0 for token in read.tolist()) / len(read)
        assert 0.15 < share < 0.35


def test_a_run_that_goes_on_for_longer_keeps_its_phases(make_tokens: Make, ragged: list[int]) -> None:
    tokens = make_tokens(ragged)
    first = DocumentRows([tokens], None, 2, 32, 0, [Phase(5, 16)])
    longer = DocumentRows([tokens], None, 2, 32, 0, [Phase(9, 16)])
    longer.resume(json.loads(json.dumps(first.state())))
    assert longer.phases == [Phase(5, 16)]
    for step in (4, 5, 8):
        assert torch.equal(longer.next(step).tokens, first.next(step).tokens)
    with pytest.raises(ConfigError, match="pieces of 12 positions don't fill rows of 32"):
        DocumentRows([tokens], None, 2, 32, 0, [Phase(5, 12)])


def test_pack_1_documents_longer_than_a_row_go_on_in_the_next(make_tokens: Make) -> None:
    tokens = make_tokens([1300, 2000, 3001])
    source = DocumentRows([tokens], None, rows=2, length=512, seed=0)
    batches = [source.next(step) for step in range(7)]
    positions = tokens.tokens - tokens.documents
    assert Counter(pairs(batches, positions)) == neighbours(tokens)
    assert all(float(batch.weights.sum()) == 2 * 512 for batch in batches)


def test_corpus_12_a_document_comes_once_an_epoch(make_tokens: Make, ragged: list[int]) -> None:
    tokens = make_tokens(ragged)
    source = DocumentRows([tokens], None, rows=1, length=tokens.tokens - tokens.documents, seed=1)
    for epoch in range(3):
        batch = source.next(epoch)
        starts = (batch.positions[0] == 0).nonzero().flatten()
        assert len(starts) == tokens.documents
        inside = batch.tokens[0][batch.tokens[0] > EOS]
        assert len(inside.unique()) == len(inside) == tokens.tokens - 2 * tokens.documents


def test_any_step_can_be_had_alone(make_tokens: Make, ragged: list[int]) -> None:
    sets = [make_tokens(ragged, "a"), make_tokens(ragged[::-1], "b", shard_tokens=300)]
    forward = DocumentRows(sets, [0.6, 0.4], rows=4, length=16, seed=9)
    batches = [forward.next(step) for step in range(80)]  # over several epochs of each
    backward = DocumentRows(sets, [0.6, 0.4], rows=4, length=16, seed=9)
    for step in reversed(range(80)):
        for name, tensor in backward.next(step).fields().items():
            assert torch.equal(tensor, batches[step].fields()[name]), (step, name)


def test_pack_4_the_ids_are_the_same_on_any_number_of_processes(
    make_tokens: Make, ragged: list[int], in_process: Callable[[Callable[[], Any]], Any]
) -> None:
    tokens = make_tokens(ragged)

    def sequence(world: int, steps: range, saved: str | None = None) -> tuple[list[Any], str]:
        def rank_rows(rank: int) -> tuple[list[Any], str]:
            source = DocumentRows([TokenSet.open(tokens.path)], None, rows=8, length=16, seed=3)
            if saved is not None:
                source.resume(json.loads(saved))
            share = 8 // world
            cut = [source.next(step).rows(rank * share, (rank + 1) * share) for step in steps]
            return [batch.tokens.tolist() for batch in cut], json.dumps(source.state())

        ranks = [in_process(lambda rank=rank: rank_rows(rank)) for rank in range(world)]
        assert len({state for _, state in ranks}) == 1
        return [list(chain(*(rows[i] for rows, _ in ranks))) for i in range(len(steps))], ranks[0][1]

    whole, _ = sequence(1, range(12))
    assert sequence(2, range(12))[0] == whole
    assert sequence(4, range(12))[0] == whole
    before, saved = sequence(2, range(5))
    after, _ = sequence(4, range(5, 12), saved)
    assert before + after == whole


def test_the_order_depends_on_seed_and_source(make_tokens: Make, ragged: list[int]) -> None:
    one, other = make_tokens(ragged, "a"), make_tokens(ragged, "b")

    def rows(seed: int, sets: list[TokenSet]) -> list[list[int]]:
        source = DocumentRows(sets, None, rows=8, length=32, seed=seed)
        return source.next(0).tokens.tolist()

    assert rows(1, [one]) == rows(1, [other])
    assert rows(1, [one]) != rows(2, [one])
    mixed = rows(1, [one, other])
    assert mixed[::2] != mixed[1::2], "two sets of the same content are not read in step"


def test_corpus_12_rows_come_from_each_set_as_weighted(make_tokens: Make) -> None:
    small, large = make_tokens([40] * 10, "small"), make_tokens([40] * 30, "large", first=10_000)
    source = DocumentRows([small, large], [0.3, 0.7], rows=5, length=16, seed=2)
    rows = torch.cat([source.next(step).tokens for step in range(20)])
    from_large = (rows > 9_999).any(dim=1)
    assert bool((from_large ^ ((rows > EOS) & (rows < 10_000)).any(dim=1)).all()), "a row has one source"
    drift = from_large.cumsum(0) - 0.7 * torch.arange(1, 101)
    assert int(from_large.sum()) == 70
    assert float(drift.abs().max()) <= 0.5 + 1e-5
    assert source.epochs(20) == {"small": 30 * 16 / (39 * 10), "large": 70 * 16 / (39 * 30)}


def test_corpus_12_without_weights_all_sets_have_the_same_epochs(make_tokens: Make) -> None:
    sets = [make_tokens([50] * n, f"set {n}") for n in (3, 30, 90)]
    epochs = DocumentRows(sets, None, rows=4, length=49, seed=0).epochs(123)
    assert epochs == {"set 3": 4.0, "set 30": 4.0, "set 90": 4.0}


def test_corpus_12_more_than_max_epochs_is_an_error(make_tokens: Make) -> None:
    source = DocumentRows([make_tokens([11] * 10, "small")], None, rows=5, length=10, seed=0)
    assert source.epochs(6, max_epochs=3) == {"small": 3.0}
    with pytest.raises(ConfigError, match=r"7 steps read small 3\.50 times, above max_epochs = 3"):
        source.epochs(7, max_epochs=3)
    with pytest.raises(ConfigError, match="max_epochs = 0"):
        source.epochs(1, max_epochs=0)


def test_pack_7_a_stale_order_is_refused(make_tokens: Make, ragged: list[int]) -> None:
    before = DocumentRows([make_tokens(ragged, "a")], None, rows=2, length=8, seed=0)
    saved = json.loads(json.dumps(before.state()))
    before.resume(saved)
    grown = DocumentRows([make_tokens([*ragged, 5], "b")], None, rows=2, length=8, seed=0)
    with pytest.raises(Refused, match=r"fingerprint was \w{12}… and is \w{12}…"):
        grown.resume(saved)
    other = DocumentRows([make_tokens(ragged, "c")], None, rows=4, length=8, seed=1)
    with pytest.raises(Refused, match="rows was 2 and is 4; seed was 0 and is 1"):
        other.resume(saved)


def test_state_is_scalars(make_tokens: Make) -> None:
    state = DocumentRows([make_tokens([9, 9])], None, rows=2, length=8, seed=0).state()
    assert all(isinstance(value, int | float | str) for value in state.values())


def test_impossible_sources_are_refused(make_tokens: Make) -> None:
    tokens = make_tokens([9, 9])
    other = make_tokens([9, 9], "other", fingerprint="a" * 64)
    with pytest.raises(Refused, match="different tokenizers"):
        DocumentRows([tokens, other], None, 2, 8, 0)
    with pytest.raises(Refused, match="no document of two tokens"):
        DocumentRows([_single(tokens)], None, 2, 8, 0)
    with pytest.raises(ConfigError, match="1 given for 2 token sets"):
        DocumentRows([tokens, tokens], [1.0], 2, 8, 0)
    with pytest.raises(ConfigError, match="at least 1"):
        DocumentRows([tokens], None, 0, 8, 0)
    with pytest.raises(ConfigError, match="no token set"):
        DocumentRows([], None, 2, 8, 0)


def _single(tokens: TokenSet) -> TokenSet:
    from exnihilo.tokens.writer import TokenSetWriter

    folder = tokens.path.with_name("single")
    with TokenSetWriter(folder, vocab_size=10, tokenizer="f" * 64) as writer:
        writer.write("train", [0], 0, "source")
    return TokenSet.open(folder)


def test_single_token_documents_do_no_harm(make_tokens: Make) -> None:
    from exnihilo.tokens.writer import TokenSetWriter

    folder = make_tokens([2]).path.with_name("mixed")
    with TokenSetWriter(folder, vocab_size=10, tokenizer="f" * 64) as writer:
        for ids in ([0], [0, 5, 1], [7], [7], [0, 6, 1], [8]):
            writer.write("train", ids, 0, "source")
    tokens = TokenSet.open(folder)
    source = DocumentRows([tokens], None, rows=1, length=4, seed=0)
    for step in range(5):
        assert Counter(pairs([source.next(step)], 4)) == neighbours(tokens)


def test_neighbouring_rows_of_a_document_are_spread_over_the_epoch(make_tokens: Make) -> None:
    tokens = make_tokens([4096] * 8)
    source = DocumentRows([tokens], None, rows=8, length=64, seed=0)
    addresses = [batch.tokens[:, 0] // 4096 for batch in (source.next(step) for step in range(60))]
    documents_in_a_batch = sum(len(set(documents.tolist())) for documents in addresses) / 60
    # 8 draws from 8 documents hit 5.25 different ones on average; consecutive rows would come from one or two.
    assert documents_in_a_batch > 4.5

from __future__ import annotations

import pytest
import torch

from exnihilo.core.errors import ConfigError
from exnihilo.tokens.batch import FIELDS, Batch


def batch(rows: int = 7, length: int = 5, extra: tuple[str, ...] = ("advantages", "reference")) -> Batch:
    generator = torch.Generator().manual_seed(rows)

    def ids() -> torch.Tensor:
        return torch.randint(0, 100, (rows, length), generator=generator)

    def real() -> torch.Tensor:
        return torch.rand((rows, length), generator=generator)

    return Batch(ids(), ids(), ids(), ids(), real(), {name: real() for name in extra})


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_pack_10_micro_batches_joined_are_the_batch(n: int) -> None:
    whole = batch()
    parts = whole.split(n)
    assert len(parts) == n
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    joined = Batch.cat(parts).fields()
    assert list(joined) == [*FIELDS, "advantages", "reference"]
    for name, tensor in whole.fields().items():
        assert torch.equal(joined[name], tensor), name
        assert joined[name].dtype == tensor.dtype


def test_rows_cut_every_field_alike() -> None:
    whole = batch()
    part = whole.rows(2, 5)
    assert len(part) == 3
    for name, tensor in part.fields().items():
        assert torch.equal(tensor, whole.fields()[name][2:5]), name


@pytest.mark.parametrize("n", [0, 8])
def test_an_empty_micro_batch_is_refused(n: int) -> None:
    with pytest.raises(ConfigError, match="7 rows"):
        batch().split(n)


def test_batches_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="5 and 4 positions"):
        Batch.cat([batch(), batch(length=4)])
    with pytest.raises(ValueError, match="reference"):
        Batch.cat([batch(), batch(extra=("advantages",))])
    with pytest.raises(ValueError, match="weights"):
        Batch(*[torch.zeros(2, 3)] * 4, torch.zeros(3, 2))
    with pytest.raises(ValueError, match="targets"):
        Batch(*[torch.zeros(2, 3)] * 5, extra={"targets": torch.zeros(2, 3)})


def test_pack_6_memory_is_pinned_on_the_way_to_a_gpu_however_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Pinned(Exception):
        pass

    def pin_memory(tensor: torch.Tensor) -> torch.Tensor:
        raise Pinned

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    whole = batch()
    for device in ("cuda", "cuda:0", torch.device("cuda", 0)):
        with pytest.raises(Pinned):
            whole.to(device)
    for name, tensor in whole.to(torch.device("cpu")).fields().items():
        assert torch.equal(tensor, whole.fields()[name])
    assert {tensor.device.type for tensor in whole.to("meta").fields().values()} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_pack_6_copies_under_way_are_not_overwritten() -> None:
    side = torch.cuda.Stream()
    batches = [batch(rows=64, length=1024) for _ in range(12)]
    with torch.cuda.stream(side):
        torch.cuda._sleep(200_000_000)  # a consumer far behind: every copy below waits in the queue
        there = [one.to(torch.device("cuda")) for one in batches]
    side.synchronize()
    for sent, received in zip(batches, there, strict=True):
        for name, tensor in received.fields().items():
            assert torch.equal(tensor.cpu(), sent.fields()[name]), name

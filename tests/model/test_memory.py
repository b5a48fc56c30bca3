from __future__ import annotations

import mmap

import pytest
import torch

from exnihilo.core.memory import LARGE_PAGE
from exnihilo.model.memory import zeros

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("columns", [3, 1 << 20])
def test_memory_is_zero_writable_and_its_own(columns: int, dtype: torch.dtype) -> None:
    first, second = zeros((2, columns), dtype, CPU), zeros((2, columns), dtype, CPU)
    assert first.shape == (2, columns) and first.dtype == dtype and first.is_contiguous()
    assert not first.any()
    first.fill_(1)
    assert not second.any()
    assert first.view(-1)[-1] == 1


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="the system has no large pages")
def test_what_is_large_begins_with_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another test of this process may have had it keep what it frees.
    monkeypatch.setattr("exnihilo.model.memory.keeps_freed_memory", lambda: False)
    tensor = zeros((LARGE_PAGE,), torch.float32, CPU)
    assert tensor.data_ptr() % LARGE_PAGE == 0
    rest = tensor[5:]
    del tensor
    assert rest.fill_(2.0).sum() == 2 * (LARGE_PAGE - 5), "a view keeps the memory"


def test_without_large_pages_it_is_ordinary_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    assert not zeros((LARGE_PAGE,), torch.float32, CPU).any()

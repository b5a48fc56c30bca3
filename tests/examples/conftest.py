from __future__ import annotations

import pytest

from exnihilo.tokenizer.bpe import byte_tokenizer
from exnihilo.tokenizer.template import Renderer


@pytest.fixture(scope="session")
def renderer() -> Renderer:
    """One token a byte, so that lengths can be counted by hand."""
    return Renderer(byte_tokenizer())

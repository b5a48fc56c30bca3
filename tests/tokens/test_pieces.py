from __future__ import annotations

import numpy as np
import pytest

from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokens.pieces import pieces

PROSE = (
    "def run(config):\n    return  config.path, 12345  # it's \n\n\tthe folder's name…\r\n  \n x = {'a': 1}\n"
)
CHINESE = "床前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([PROSE * 20, CHINESE * 20], 500)


@pytest.mark.parametrize("text", [PROSE * 30, CHINESE * 100, (PROSE + CHINESE) * 30, "", "short"])
@pytest.mark.parametrize("limit", [60, 250, 997])
def test_ids_of_the_pieces_are_those_of_the_whole(tokenizer: Tokenizer, text: str, limit: int) -> None:
    parts = list(pieces(text, tokenizer.encode, limit))
    assert "".join(parts) == text
    assert max(map(len, parts)) <= limit
    assert len(parts) == 1 or min(map(len, parts[:-1])) > limit - 60
    assert [i for part in parts for i in tokenizer.encode(part)] == tokenizer.encode(text)


def test_a_word_without_end_is_cut_all_the_same(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list("abcdefgh"), 5000))
    parts = list(pieces(text, tokenizer.encode, 1500))
    assert "".join(parts) == text
    assert max(map(len, parts)) <= 1500

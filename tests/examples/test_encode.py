from __future__ import annotations

import random

import pytest

from exnihilo.core.errors import Refused
from exnihilo.examples.conversation import Conversation, Message
from exnihilo.examples.encode import Dropped, Encoded, encode
from exnihilo.tokenizer.template import Renderer


def conversation(*turns: tuple[str, str], **meta: object) -> Conversation:
    return Conversation([Message(role, content) for role, content in turns], dict(meta))


# With one token a byte: BOS, then role + text + end for each message.
TWO_TURNS = conversation(
    ("system", "sys"), ("user", "ab"), ("assistant", "cd"), ("user", "e"), ("assistant", "fgh")
)
FIRST_TURN = 1 + (3 + 2) + (2 + 2) + (2 + 2)
WHOLE = FIRST_TURN + (1 + 2) + (3 + 2)


@pytest.mark.parametrize("length", range(WHOLE + 3))
def test_sft_4_a_long_conversation_ends_with_the_last_whole_answer(renderer: Renderer, length: int) -> None:
    encoded = encode(TWO_TURNS, renderer, length)
    whole = renderer.render(TWO_TURNS.messages)
    assert len(whole.ids) == WHOLE
    if length < FIRST_TURN:
        assert encoded == Dropped("too long")
    else:
        kept = WHOLE if length >= WHOLE else FIRST_TURN
        # The ids kept are the source's own, up to an end token that the source has there too.
        assert encoded == Encoded(whole.ids[:kept], whole.mask[:kept], left_out=0 if kept == WHOLE else 2)
        assert encoded.ids[-1] == renderer.tokenizer.end
        assert encoded.mask[-1]


def test_sft_4_random_conversations_keep_all_that_fits_at_borders(renderer: Renderer) -> None:
    rng = random.Random(4)
    outcomes = set()
    for _ in range(300):
        roles = rng.choices(["user", "assistant", "tool"], weights=[3, 3, 1], k=rng.randrange(1, 8))
        given = conversation(*((role, "x" * rng.randrange(1, 9)) for role in roles))
        whole = renderer.render(given.messages)
        limit = rng.randrange(2, 60)
        borders = [
            len(renderer.render(given.messages[:n]).ids)
            for n in range(1, len(roles) + 1)
            if roles[n - 1] == "assistant"
        ]
        fitting = [border for border in borders if border <= limit]
        encoded = encode(given, renderer, limit)
        if not borders:
            assert encoded == Dropped("no answer")
        elif len(whole.ids) <= limit:
            assert encoded == Encoded(whole.ids, whole.mask)
        elif not fitting:
            assert encoded == Dropped("too long")
        else:
            assert isinstance(encoded, Encoded)
            assert (encoded.ids, encoded.mask) == (whole.ids[: fitting[-1]], whole.mask[: fitting[-1]])
            assert encoded.left_out > 0
        outcomes.add(encoded.reason if isinstance(encoded, Dropped) else encoded.left_out > 0)
    assert outcomes == {"no answer", "too long", True, False}


def test_the_tools_of_a_conversation_are_rendered(renderer: Renderer) -> None:
    with_tools = encode(
        conversation(("user", "u"), ("assistant", "a"), tools=[{"name": "f"}]), renderer, 1000
    )
    assert isinstance(with_tools, Encoded)
    assert '{"name": "f"}' in renderer.tokenizer.decode(with_tools.ids)


def test_messages_that_the_template_does_not_take_are_refused(renderer: Renderer) -> None:
    with pytest.raises(Refused, match="unknown role"):
        encode(conversation(("narrator", "x"), ("assistant", "a")), renderer, 100)

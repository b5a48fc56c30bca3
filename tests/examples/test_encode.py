from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.errors import Refused
from exnihilo.examples.conversation import Conversation, Message
from exnihilo.examples.encode import Dropped, Encoded, Parts, encode, encode_parts
from exnihilo.examples.formats import read_conversations
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
        assert encoded.weights[-1]


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
            assert (encoded.ids, encoded.weights) == (whole.ids[: fitting[-1]], whole.mask[: fitting[-1]])
            assert encoded.left_out > 0
        outcomes.add(encoded.reason if isinstance(encoded, Dropped) else encoded.left_out > 0)
    assert outcomes == {"no answer", "too long", True, False}


def test_sft_4_a_long_conversation_is_cut_between_turns_and_nothing_is_lost_that_fits(
    renderer: Renderer,
) -> None:
    """Vicuna's cut (I7), on random dialogues: parts begin with the user, end with an answer, keep to the limit, and
    their turns one after another are the dialogue's; lost are turns that no part could hold."""
    rng = random.Random(7)
    cut = lost = 0
    for _ in range(120):
        turns = rng.randrange(1, 9)
        said = [("system", "s" * rng.randrange(9))] * rng.randrange(2)
        for _ in range(turns):
            said += [("user", "u" * rng.randrange(12)), ("assistant", "a" * rng.randrange(1, 20))]
        given, limit = conversation(*said), rng.randrange(10, 90)
        system = given.messages[: len(said) - 2 * turns]
        pairs = [given.messages[n : n + 2] for n in range(len(system), len(said), 2)]
        sizes = [len(renderer.render([*system, *pair]).ids) for pair in pairs]
        fitting = [pair for pair, size in zip(pairs, sizes, strict=True) if size <= limit]
        found = encode_parts(given, renderer, limit)
        if not fitting:
            assert found == Dropped("too long")
            continue
        assert isinstance(found, Parts) and all(len(part.ids) <= limit for part in found.parts)
        opening = renderer.render(system).ids if system else renderer.render([]).ids
        assert all(part.ids[: len(opening)] == opening for part in found.parts)
        bodies = [i for part in found.parts for i in part.ids[len(opening) :]]
        assert bodies == [i for pair in fitting for i in renderer.render(pair).ids[1:]]
        assert found.left_out == 2 * (len(pairs) - len(fitting))
        cut, lost = cut + (len(found.parts) > 1), lost + (found.left_out > 0)
    assert cut > 20 and lost > 10


def test_a_part_never_begins_with_an_answer_or_a_tool_s_words(renderer: Renderer) -> None:
    first = (("user", "u" * 9), ("assistant", "call"), ("tool", "t" * 40), ("assistant", "b"))
    given = conversation(*first, ("user", "c"), ("assistant", "d"))
    found = encode_parts(given, renderer, 30)
    assert isinstance(found, Parts) and found.left_out == 2  # the tool's words and what was said to them
    assert [renderer.tokenizer.decode(part.ids, skip_special=False) for part in found.parts] == [
        "<|bos|><|user|>uuuuuuuuu<|end|><|assistant|>call<|end|>",
        "<|bos|><|user|>c<|end|><|assistant|>d<|end|>",
    ]


def weighted(*turns: tuple[str, str, float]) -> Conversation:
    return Conversation([Message(role, text, weight) for role, text, weight in turns])


def test_each_answer_has_its_weight_and_its_end_token_with_it(renderer: Renderer) -> None:
    given = weighted(("user", "u", 1), ("assistant", "ab", 0), ("user", "v", 1), ("assistant", "c", 2.5))
    found = encode(given, renderer, 99)
    assert isinstance(found, Encoded)
    assert found.weights == [0] * 4 + [0] + [0] * 3 + [0] * 3 + [0] + [2.5] * 2
    assert found.ids == renderer.render(given.messages).ids
    # Parts of which nothing is trained go; of all of the conversation, that is told.
    assert encode_parts(given, renderer, 8) == Parts(
        [Encoded(*_only(given.messages[2:], renderer, 2.5))], left_out=2
    )
    assert encode_parts(weighted(("user", "u", 1), ("assistant", "a", 0)), renderer, 99) == Dropped(
        "every answer has weight 0"
    )


def _only(messages: list[Message], renderer: Renderer, weight: float) -> tuple[list[int], list[float]]:
    rendered = renderer.render(messages)
    return rendered.ids, [weight * trained for trained in rendered.mask]


def test_weights_without_a_span_for_each_answer_are_refused(renderer: Renderer) -> None:
    joined = (
        "{% generation %}{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}<|end|>{% endif %}"
        "{% endfor %}{% endgeneration %}"
    )
    other = Renderer(renderer.tokenizer.with_template(joined))
    with pytest.raises(
        Refused, match=r"marks 1 spans in 2 answers.*drop the weights, or mark each answer by itself"
    ):
        encode(weighted(("assistant", "a", 0), ("user", "u", 1), ("assistant", "b", 1)), other, 99)


CALL = {"name": "add", "arguments": {"a": 2, "b": 2}}
CALLED = {**CALL, "arguments": json.dumps(CALL["arguments"])}
WITH_TOOLS = [
    {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "2+2?"}]},
            {"role": "assistant", "content": None, "tool_calls": [{"function": CALLED}]},
            {"role": "tool", "content": "4"},
            {"role": "assistant", "content": "Four."},
            {"role": "user", "content": "And 3?"},
            {"role": "assistant", "content": "Seven."},
        ],
        "tools": [{"name": "add"}],
    },
    {
        "system": "Be brief.",
        "conversations": [
            {"from": "human", "value": "2+2?"},
            {"from": "function_call", "value": json.dumps(CALL)},
            {"from": "observation", "value": "4"},
            {"from": "gpt", "value": "Four."},
            {"from": "human", "value": "And 3?"},
            {"from": "gpt", "value": "Seven."},
        ],
        "tools": json.dumps([{"name": "add"}]),
    },
]  # fmt: skip


@pytest.mark.parametrize("row", WITH_TOOLS, ids=["messages", "sharegpt"])
def test_sft_6_calls_are_trained_and_what_tools_and_system_say_is_not(
    renderer: Renderer, tmp_path: Path, row: dict[str, Any]
) -> None:
    (tmp_path / "chats.jsonl").write_text(json.dumps(row) + "\n")
    (found,) = read_conversations(tmp_path / "chats.jsonl")
    assert found.conversation is not None, found.problem
    encoded = encode(found.conversation, renderer, 1000)
    assert isinstance(encoded, Encoded)
    decode = renderer.tokenizer.decode
    trained = [i for i, weight in zip(encoded.ids, encoded.weights, strict=True) if weight]
    assert decode(trained, skip_special=False) == f"{json.dumps(CALL)}<|end|>Four.<|end|>Seven.<|end|>"
    rest = decode([i for i, weight in zip(encoded.ids, encoded.weights, strict=True) if not weight])
    assert all(text in rest for text in ("Be brief.", '{"name": "add"}', "2+2?", "4", "And 3?"))


def test_the_tools_of_a_conversation_are_rendered(renderer: Renderer) -> None:
    with_tools = encode(
        conversation(("user", "u"), ("assistant", "a"), tools=[{"name": "f"}]), renderer, 1000
    )
    assert isinstance(with_tools, Encoded)
    assert '{"name": "f"}' in renderer.tokenizer.decode(with_tools.ids)


def test_messages_that_the_template_does_not_take_are_refused(renderer: Renderer) -> None:
    with pytest.raises(Refused, match="unknown role"):
        encode(conversation(("narrator", "x"), ("assistant", "a")), renderer, 100)

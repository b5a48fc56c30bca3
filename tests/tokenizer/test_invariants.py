from __future__ import annotations

import pytest

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer

# A good template in four replaceable parts: what precedes all, what a prompt ends in, an answer, another
# message.
FRAME = (
    "{{{{ bos_token }}}}{{% for m in messages %}}{{% if m.role == 'assistant' %}}{answer}{{% else %}}{other}"
    "{{% endif %}}{{% endfor %}}{tail}{{% if add_generation_prompt %}}{prompt}{{% endif %}}"
)
GOOD = {
    "answer": "<|assistant|>{% generation %}{{ m.content }}<|end|>{% endgeneration %}",
    "other": "<|user|>{{ m.content }}<|end|>",
    "tail": "",
    "prompt": "<|assistant|>",
}


def renderer_of(tokenizer: Tokenizer, **parts: str) -> Renderer:
    template = FRAME.format(**{**GOOD, **parts})
    return Renderer(tokenizer.with_template(template))


def test_the_three_invariants_hold_for_good_templates(
    tokenizer: Tokenizer, each_tokenizer: Tokenizer
) -> None:
    renderer_of(tokenizer).check()
    Renderer(each_tokenizer).check()


def test_a_role_that_the_template_does_not_take_is_left_out(tokenizer: Tokenizer) -> None:
    other = "{% if m.role != 'user' %}{{ raise_exception('no') }}{% endif %}<|user|>{{ m.content }}<|end|>"
    renderer_of(tokenizer, other=other).check()
    no_user = "{% if m.role == 'user' %}{{ raise_exception('no users') }}{% endif %}{{ m.content }}<|end|>"
    with pytest.raises(Refused, match="no users"):
        renderer_of(tokenizer, other=no_user).check()


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        # prefix-preserving
        ({"other": "<|user|>{{ m.content }}{% if loop.last %}!{% endif %}<|end|>"}, "the first 1 of 2 mess"),
        ({"tail": "<|eos|>"}, "the first 1 of 2 messages"),
        ({"other": "{% if loop.last %}<|user|>{{ m.content }}<|end|>{% endif %}"}, "the first 1 of 2 mess"),
        # the end of a turn is trained
        (
            {"answer": "<|assistant|>{% generation %}{{ m.content }}{% endgeneration %}<|end|>"},
            r"ends on '.' and not on the end-of-turn token '<\|end\|>'",
        ),
        (
            {"answer": "<|assistant|>{% generation %}{{ m.content }}<|end|> {% endgeneration %}"},
            "ends on ' ' and not on the end-of-turn token",
        ),
        (
            {"answer": "<|assistant|>{% generation %}{{ m.content }}<|eos|>{% endgeneration %}"},
            r"ends on '<\|eos\|>' and not on the end-of-turn token '<\|end\|>'",
        ),
        (
            {"answer": "<|assistant|>{% if loop.last %}{% generation %}{{ m.content }}<|end|>"
             "{% endgeneration %}{% else %}{{ m.content }}<|end|>{% endif %}"},
            "2 answers and 1 {% generation %} spans",
        ),
        # training sees what the server sends; sft-5: a stray space on either side, an answer rewritten
        ({"prompt": "<|assistant|> "}, "training and serving differ from token"),
        ({"answer": "<|assistant|> {% generation %}{{ m.content }}<|end|>{% endgeneration %}"},
         "training and serving"),
        ({"answer": "<|assistant|>{% generation %} {{ m.content }}<|end|>{% endgeneration %}"},
         "training and serving"),
        (
            {"answer": "<|assistant|>{% generation %}{{ m.content | lower }}<|end|>{% endgeneration %}"},
            "training and serving differ from token",
        ),
        ({"prompt": ""}, "training and serving differ from token"),
        # an answer of which the beginning is not trained
        (
            {"answer": "<|assistant|>{{ m.content }}{% generation %}<|end|>{% endgeneration %}"},
            "training and serving differ from token",
        ),
        # one BOS
        ({"other": "{{ bos_token }}<|user|>{{ m.content }}<|end|>"}, r"2 times <\|bos\|> in one"),
    ],
)  # fmt: skip
def test_sft_5_a_template_that_breaks_an_invariant_is_told_which(
    tokenizer: Tokenizer, parts: dict[str, str], error: str
) -> None:
    with pytest.raises(ConfigError, match=error) as caught:
        renderer_of(tokenizer, **parts).check()
    assert "\n" not in str(caught.value)


def test_a_template_may_trim_answers(tokenizer: Tokenizer) -> None:
    """As Llama 3's does: the model then learns to write what is trimmed."""
    trims = "<|assistant|>{% generation %}{{ m.content | trim }}<|end|>{% endgeneration %}"
    renderer_of(tokenizer, answer=trims).check()


def test_a_template_without_marks_does_not_pass(tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match="generation"):
        renderer_of(tokenizer, answer="<|assistant|>{{ m.content }}<|end|>").check()

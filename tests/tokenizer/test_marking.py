"""Marks for templates of other programs, and other programs' tokenizers made fit for training."""

from __future__ import annotations

import pytest
import tokenizers

from exnihilo.core.errors import ConfigError
from exnihilo.tokenizer.adopt import adopt
from exnihilo.tokenizer.jinja_environment import compile_template, marks_generation
from exnihilo.tokenizer.marking import mark
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer

TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "2+2?"},
    {"role": "assistant", "content": "Four."},
    {"role": "user", "content": "And 3+3?"},
    {"role": "assistant", "content": "Six."},
]
IM_END, EOT = "<|im_end|>", "<|eot_id|>"
TEMPLATES = {
    "one output": "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "calls of tools": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- for tool in tools %}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role in ("user", "system") or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for call in message.tool_calls %}
            {{- '\\n' ~ (call.function | tojson) }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {{- '<|im_start|>user\\n<response>' }}
        {{- message.content }}
        {{- '</response><|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""",
    "trimmed": """{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- raise_exception('no tools') }}
    {%- endif %}
    {{- '<|im_start|>' + message['role'] + '<|eot_id|>\\n\\n' + message['content'] | trim + '<|im_end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant<|eot_id|>\\n\\n' }}
{%- endif %}
""",
    "end in the text": "{% for m in messages %}<|im_start|>{{ m.role }}\n\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n\n{% endif %}",
    "end by its role": "{% for m in messages %}{{ m.role ~ ': ' }}{{ m.content ~ eos_token ~ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}",
    "end by itself": "{% for m in messages %}{{ m.role + ': ' }}{{ m.content }}{{ '<|im_end|>' }}{{ '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}",
}


def foreign(template: str, **names: str) -> Tokenizer:
    backend = tokenizers.ByteLevelBPETokenizer()
    specials = ["<|endoftext|>", "<|im_start|>", IM_END, EOT]
    backend.train_from_iterator(["assistant user system\n\nFour. Six."] * 3, 300, special_tokens=specials)
    return Tokenizer(tokenizers.Tokenizer.from_str(backend.to_str()), config=names, template=template)


@pytest.mark.parametrize("name", TEMPLATES)
def test_sft_5_marks_change_no_text_and_say_what_the_assistant_wrote(name: str) -> None:
    given = foreign(TEMPLATES[name], eos_token=IM_END, bos_token="<|endoftext|>")
    marked = mark(given)
    assert marks_generation(marked) and not marks_generation(TEMPLATES[name])
    old, new = compile_template(TEMPLATES[name]), compile_template(marked)
    for prompt in (False, True):
        shown = [
            one.render(messages=TURNS, add_generation_prompt=prompt, **given.names) for one in (old, new)
        ]
        assert shown[0] == shown[1] and "Four." in shown[0]
    tokenizer, _ = adopt(given)
    rendered = Renderer(tokenizer).render(TURNS)
    trained = [i for i, now in zip(rendered.ids, rendered.mask, strict=True) if now]
    assert tokenizer.decode(trained, skip_special=False) == f"Four.{IM_END}Six.{IM_END}"


ROUNDS = """{%- for message in messages %}
    {%- if message['role'] == 'user' %}
        {{- bos_token + '[ASK] ' + message['content'] | trim + ' [/ASK]' }}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'] | trim + ' ' + eos_token }}
    {%- else %}
        {{- raise_exception('users and assistants only') }}
    {%- endif %}
{%- endfor %}
"""


def test_sft_5_the_space_before_an_answer_is_learned_where_no_prompt_has_it() -> None:
    """As Llama 2 writes it: a text a round, and a space on either side of a trimmed answer."""
    given = foreign(ROUNDS, eos_token=IM_END, bos_token="<|endoftext|>")
    tokenizer, lines = adopt(given, for_training=True)
    assert not any("refuse" in line for line in lines)
    old, new = compile_template(ROUNDS), compile_template(tokenizer.template)
    shown = [one.render(messages=TURNS[1:], **given.names) for one in (old, new)]
    assert shown[0] == shown[1]
    renderer = Renderer(tokenizer)
    rendered = renderer.render(TURNS[1:])
    trained = [i for i, now in zip(rendered.ids, rendered.mask, strict=True) if now]
    assert tokenizer.decode(trained, skip_special=False) == f" Four. {IM_END} Six. {IM_END}"
    prompt = renderer.prompt(TURNS[1:4])
    assert rendered.ids[: len(prompt)] == prompt and rendered.mask[len(prompt)]
    assert rendered.ids.count(tokenizer.bos) == 2


def test_sft_5_a_space_that_comes_again_with_every_turn_is_not_learned() -> None:
    """An answer that begins with a space, put into the next prompt, would begin with two."""
    given = foreign(ROUNDS.replace(" | trim", ""), eos_token=IM_END, bos_token="<|endoftext|>")
    with pytest.raises(ConfigError, match="training and serving differ"):
        adopt(given, for_training=True)


def test_a_template_with_marks_is_kept_to_the_letter() -> None:
    given = foreign("{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}")
    assert mark(given) == given.template


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{% set content = m.role + m.content + '<|im_end|>' %}{{ content }}{% endfor %}",
        "{{ messages[0].content + '<|im_end|>' }}",
        "{% for m in messages %}{{ m.content }}{% endfor %}",
    ],
)
def test_where_marks_belong_is_not_guessed(template: str) -> None:
    with pytest.raises(ConfigError, match=r"write \{%- generation -%\} before the assistant's content"):
        mark(foreign(template, eos_token=IM_END))


def test_every_role_is_filled_and_what_changed_is_told() -> None:
    given = foreign(TEMPLATES["calls of tools"], eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    tokenizer, lines = adopt(given)
    told = "\n".join(lines)
    assert "documents open with <|endoftext|>" in told and "answers end with <|im_end|>" in told
    assert "rows are filled with <|pad|>, which is new" in told
    names = {i: name for name, i in tokenizer.special.items()}
    roles = (tokenizer.bos, tokenizer.eos, tokenizer.end, tokenizer.pad)
    assert [names[i] for i in roles] == ["<|endoftext|>", "<|endoftext|>", IM_END, "<|pad|>"]
    assert tokenizer.vocab_size == given.vocab_size + 1
    assert tokenizer.encode("Four. Six.") == given.encode("Four. Six.")
    assert adopt(tokenizer)[1] == []


def test_a_base_without_a_template_gets_plain_words() -> None:
    given = foreign("", eos_token="<|endoftext|>")
    tokenizer, lines = adopt(given)
    assert any("plain words" in line for line in lines)
    rendered = Renderer(tokenizer).render(TURNS[1:3])
    shown = tokenizer.decode(rendered.ids, skip_special=False)
    assert shown == "User:\n2+2?\nAssistant:\nFour.<|endoftext|>\n"
    again = Tokenizer(tokenizer._backend, config=tokenizer._config, template=tokenizer.template)
    assert adopt(again)[1] == []


THINKS = """{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.role == 'assistant' and loop.last %}
        {{- '<|eot_id|>' }}
    {%- endif %}
    {{- message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (THINKS, "training and serving differ"),
        ("{{ messages[0].content }}", "where they belong is not plain"),
    ],
)
def test_a_template_that_can_not_be_trained_with_is_kept_and_told(template: str, why: str) -> None:
    """As Qwen3's: the last answer is written with what earlier ones are without."""
    given = foreign(template, eos_token=IM_END, bos_token="<|endoftext|>")
    tokenizer, lines = adopt(given)
    assert "training will refuse it" in lines[-1] + lines[-2] and any(why in line for line in lines)
    old, new = compile_template(template), compile_template(tokenizer.template)
    shown = [one.render(messages=TURNS, **given.names) for one in (old, new)]
    assert shown[0] == shown[1]
    Renderer(tokenizer).prompt(TURNS[:2])
    with pytest.raises(ConfigError, match=why):
        adopt(given, for_training=True)

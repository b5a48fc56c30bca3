"""A tokenizer trained once on code and on text in five scripts, and its folder."""

from __future__ import annotations

import inspect
import json
import textwrap
from pathlib import Path

import pytest
import tokenizers

from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer

SCRIPTS = {
    "latin": "The quick brown fox jumps over the lazy dog. Þetta er naïve café – 12,5 % of it.",
    "cyrillic": "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "arabic": "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر",
    "han": "床前明月光,疑是地上霜。舉頭望明月,低頭思故鄉。",
    "devanagari": "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश करने वाले",
}


@pytest.fixture(scope="session")
def scripts() -> dict[str, str]:
    return SCRIPTS


@pytest.fixture(scope="session")
def corpus() -> list[str]:
    code = [inspect.getsource(module) for module in (json, textwrap, inspect)]
    return [*code, *(text for text in SCRIPTS.values() for _ in range(3))]


@pytest.fixture(scope="session")
def tokenizer(corpus: list[str]) -> Tokenizer:
    return train_tokenizer(corpus, 1024)


@pytest.fixture(scope="session")
def renderer(tokenizer: Tokenizer) -> Renderer:
    return Renderer(tokenizer)


@pytest.fixture(scope="session")
def folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer folder é")
    tokenizer.save(path)
    return path


CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}"
    "{% endgeneration %}{{ '\\n' }}{% else %}{{ message['content'] + '<|im_end|>\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
HEADERS = """{{- bos_token }}
{%- for message in messages %}
    {%- if message.role not in ['system', 'user', 'assistant', 'tool'] %}
        {{- raise_exception('no such role: ' + message.role) }}
    {%- endif %}
    {{- '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>\\n\\n' }}
    {%- if message.role == 'assistant' %}
        {%- generation %}{{ message.content }}{{ '<|eot_id|>' }}{%- endgeneration %}
    {%- else %}
        {{- message.content ~ '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""


def _foreign(corpus: list[str], specials: list[str], template: str, config: dict[str, str]) -> Tokenizer:
    """A tokenizer as another program would make it: its own special tokens, its own template."""
    backend = tokenizers.ByteLevelBPETokenizer()
    backend.train_from_iterator(corpus, 600 + len(specials), special_tokens=specials, show_progress=False)
    own = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **config}
    return Tokenizer(tokenizers.Tokenizer.from_str(backend.to_str()), config=own, template=template)


@pytest.fixture(scope="session")
def chatml(corpus: list[str]) -> Tokenizer:
    """The layout of Qwen: no BOS, a line end between turns."""
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return _foreign(corpus, specials, CHATML, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"})


@pytest.fixture(scope="session")
def headers(corpus: list[str]) -> Tokenizer:
    """The layout of Llama 3: a BOS, and the role as text between two special tokens."""
    specials = ["<|begin|>", "<|pad|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    names = {"bos_token": "<|begin|>", "eos_token": "<|eot_id|>", "pad_token": "<|pad|>"}
    return _foreign(corpus, specials, HEADERS, names)


@pytest.fixture(params=["own", "chatml", "headers"])
def each_tokenizer(request: pytest.FixtureRequest, tokenizer: Tokenizer) -> Tokenizer:
    if request.param == "own":
        return tokenizer
    made: Tokenizer = request.getfixturevalue(request.param)
    return made

"""Random models as other programs save them, with tokenizers like their families' own."""

from __future__ import annotations

from pathlib import Path

import tokenizers
import torch
import transformers
from tokenizers import ByteLevelBPETokenizer

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = """{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""
CHAT = [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "A fox."}]


def tokenizer_of(template: str, specials: list[str]) -> tokenizers.Tokenizer:
    backend = ByteLevelBPETokenizer()
    backend.train_from_iterator(
        ["the quick brown fox, user and assistant\n"] * 3, 290, special_tokens=specials
    )
    return backend


def qwen(folder: Path, *, template: str = CHATML, dtype: torch.dtype = torch.float32) -> Path:
    """A random model in the shape of Qwen2.5, with a tokenizer like its own: no BOS, padding that ends texts."""
    backend = tokenizer_of(template, SPECIALS)
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(backend.to_str()),
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
    )
    wrapped.chat_template = template or None
    wrapped.save_pretrained(folder)
    torch.manual_seed(2)
    config = transformers.Qwen2Config(
        vocab_size=len(wrapped), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True,
    )  # fmt: skip
    transformers.Qwen2ForCausalLM(config).to(dtype).save_pretrained(folder)
    return folder


def gpt2(folder: Path) -> Path:
    """A random GPT-2, whose tokenizer has one special token and no template."""
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(tokenizer_of("", SPECIALS[:1]).to_str()),
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
    )
    wrapped.save_pretrained(folder)
    config = transformers.GPT2Config(vocab_size=len(wrapped), n_embd=32, n_layer=2, n_head=4, n_positions=128)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder

"""Tokenizers and chat templates that are broken, or belong to another model."""

from __future__ import annotations

from pathlib import Path

from bad_case import Case, cut, edit

TEMPLATE = "model/chat_template.jinja"
SFT = "sft --model model --examples chats.jsonl --steps 1"
EVALUATE = "evaluate --models model --corpus runs/good/corpus"


def template(text: str) -> dict[str, str | bytes]:
    return {TEMPLATE: text}


def other_tokenizer(size: int) -> None:
    """Put another tokenizer into the model's folder."""
    from exnihilo.tokenizer.bpe import train_tokenizer

    words = " ".join(f"{a}{b}" for a in "abcdefghij" for b in "klmnopqrst")
    train_tokenizer([words * 2], size).save(Path("model"))


def other_tokens() -> None:
    """Tokens of another tokenizer."""
    from exnihilo.tokenizer.bpe import byte_tokenizer
    from exnihilo.tokens.writer import TokenSetWriter

    made = byte_tokenizer()
    with TokenSetWriter(Path("other"), vocab_size=made.vocab_size, tokenizer=made.fingerprint) as writer:
        writer.write("train", [made.bos, *made.encode("A line."), made.eos], 7, "mine")
    made.save(Path("other/tokenizer"))


def word_piece() -> None:
    from tokenizers import Tokenizer, decoders, models

    backend = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece()
    Path("mine").mkdir()
    backend.save("mine/tokenizer.json")


CASES = [
    Case(
        "A folder without a tokenizer",
        "tokenize --corpus runs/good/corpus --tokenizer texts",
        3,
        ("error: texts/tokenizer.json: No such file or directory; give the folder of a tokenizer or a model"),
    ),
    Case(
        "A tokenizer that is cut off",
        "chat model --prompt 1+1?",
        3,
        "error: model/tokenizer.json: not JSON (…); fetch or make it again",
        make=lambda: cut("model/tokenizer.json"),
    ),
    Case(
        "A tokenizer that is no JSON object",
        "chat model --prompt 1+1?",
        3,
        (
            "error: model/tokenizer.json: a JSON object is wanted, not list; give the folder of a tokenizer "
            "or a model"
        ),
        {"model/tokenizer.json": "[]"},
    ),
    Case(
        "A tokenizer without a token for beginnings",
        "tokenize --corpus runs/good/corpus --tokenizer mine",
        3,
        (
            'error: mine: bos_token is not set; set "bos_token" in tokenizer_config.json to a special token of '
            "its own"
        ),
        make=word_piece,
    ),
    Case(
        "A tokenizer without a token for padding",
        SFT,
        3,
        (
            'error: model: pad_token is not set; set "pad_token" in tokenizer_config.json to a special token '
            "of its own, such as '<|pad|>'"
        ),
        make=lambda: (
            edit("model/tokenizer_config.json", pad_token=None),
            edit("model/special_tokens_map.json", pad_token=None),
        ),
    ),
    Case(
        "A token for padding that also ends texts",
        SFT,
        3,
        (
            "error: model: pad_token is '<|end|>', which also ends texts, so that stopping is never learned; "
            'set "pad_token" in tokenizer_config.json to another special token'
        ),
        make=lambda: edit("model/tokenizer_config.json", pad_token="<|end|>"),
    ),
    Case(
        "A tokenizer with more ids than the model, to train",
        SFT,
        3,
        (
            "error: model: its tokenizer has 340 ids, the model 280; put back the tokenizer that the model "
            "was trained with"
        ),
        make=lambda: other_tokenizer(340),
    ),
    Case(
        "A tokenizer with more ids than the model, to evaluate",
        EVALUATE,
        3,
        (
            "error: model: its tokenizer has 340 ids, the model 280; put back the tokenizer that the model "
            "was trained with"
        ),
        make=lambda: other_tokenizer(340),
    ),
    Case(
        "A tokenizer with more ids than the model, to align",
        "grpo --model model --examples questions --steps 1",
        3,
        (
            "error: model: its tokenizer has 340 ids, the model 280; put back the tokenizer that the model "
            "was trained with"
        ),
        make=lambda: other_tokenizer(340),
    ),
    Case(
        "A tokenizer with more ids than the model, to chat",
        "chat model --prompt 1+1?",
        3,
        (
            "error: model: its tokenizer has 340 ids, the model 280; put back the tokenizer that the model "
            "was trained with"
        ),
        make=lambda: other_tokenizer(340),
    ),
    Case(
        "Tokens of two tokenizers",
        "pretrain --tokens runs/good/tokens,other --steps 1 --model.depth 1",
        3,
        (
            "error: other was made for a vocabulary of 264, the tokenizer has 280: tokenize the corpus again "
            "with this tokenizer"
        ),
        make=other_tokens,
    ),
    Case(
        "Tokens to replay of another tokenizer",
        f"{SFT} --replay other",
        3,
        (
            "error: other was made for a vocabulary of 264, the tokenizer has 280: tokenize the corpus again "
            "with this tokenizer"
        ),
        make=other_tokens,
    ),
    Case(
        "No chat template",
        SFT,
        2,
        (
            "error: model: the tokenizer has no chat template; put one into chat_template.jinja beside "
            "tokenizer.json"
        ),
        make=lambda: (Path(TEMPLATE).unlink(), edit("model/tokenizer_config.json", chat_template=None)),
    ),
    Case(
        "A chat template that is not closed",
        SFT,
        2,
        "error: model: chat template, line 2: …; mend the template",
        template("{% for m in messages %}\n{{ m.content }}"),
    ),
    Case(
        "A chat template that marks no answers",
        SFT,
        2,
        (
            "error: model: the chat template has no {% generation %} blocks, so nothing says what to train; "
            "put {% generation %} before the assistant's content and {% endgeneration %} after its end token"
        ),
        template("{{ bos_token }}{% for m in messages %}<|user|>{{ m.content }}<|end|>{% endfor %}"),
    ),
    Case(
        "A chat template that fails",
        SFT,
        3,
        ("error: model: the chat template refuses the messages: list object …; mend its chat_template.jinja"),
        template("{{ messages[7].content }}{% generation %}{% endgeneration %}"),
    ),
    Case(
        "A chat template that refuses",
        "chat model --prompt 1+1?",
        3,
        (
            "error: model: the chat template refuses the messages: only system messages; mend its "
            "chat_template.jinja"
        ),
        template("{{ raise_exception('only system messages') }}"),
    ),
    Case(
        "A chat template that trains no end of an answer",
        SFT,
        2,
        (
            "error: model: chat template: a trained span ends on '.' and not on the end-of-turn token "
            "'<|end|>', so stopping would not be learned; put the end token before {% endgeneration %}, or "
            'make the one that it writes the "eos_token" of tokenizer_config.json'
        ),
        template(
            "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}"
            "<|assistant|>{% generation %}{{ m.content }}{% endgeneration %}<|end|>"
            "{% else %}<|user|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}<|assistant|>{% endif %}"
        ),
    ),
    Case(
        "A chat template that is not UTF-8",
        SFT,
        3,
        "error: model/chat_template.jinja: cannot be read (…); write it as UTF-8 text",
        {TEMPLATE: "é".encode("latin-1")},
    ),
]

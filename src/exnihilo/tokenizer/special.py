"""The special tokens of a tokenizer trained here. Their order gives their ids, 0 to 7."""

from __future__ import annotations

BOS = "<|bos|>"
EOS = "<|eos|>"
PAD = "<|pad|>"
SYSTEM = "<|system|>"
USER = "<|user|>"
ASSISTANT = "<|assistant|>"
TOOL = "<|tool|>"
END = "<|end|>"

SPECIALS = (BOS, EOS, PAD, SYSTEM, USER, ASSISTANT, TOOL, END)
"""`EOS` ends a document, `END` a turn: a document is `BOS … EOS`, a conversation `BOS (role text END)*`."""

"""The quickstart's world and its models, small enough for tests of the recipes that begin with them."""

from __future__ import annotations

SMALL_WORLD = """
--library.from.modules argparse,ast,collections,email,json,logging,string,textwrap,unittest
--corpus.held_out 0.15 --tokenizer.vocabulary 512
--questions.demonstrations 60 --questions.validation 4 --questions.prompts 24 --questions.held_out 4
--base.model.params null --base.model.depth 2 --base.model.width 64 --base.model.heads 2 --base.model.hidden 128
--base.model.max_length 256 --base.steps 10 --base.length 128 --base.validation_rows 4 --base.sample_tokens 4
--sft.steps 120 --sft.length 128 --sft.rows 6 --sft.sample_tokens 4
"""

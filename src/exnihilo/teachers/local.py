"""A teacher that is a model on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exnihilo.core.jsonl import dumps
from exnihilo.teachers.teacher import Ask, Heard, Said

if TYPE_CHECKING:
    from exnihilo.infer.automaton import TokenAutomaton
    from exnihilo.infer.token_trie import TokenTrie


class LocalTeacher:
    """The model in a folder. Raises Refused for a folder that holds none."""

    def __init__(self, folder: Path, *, batch: int = 32) -> None:
        from exnihilo.model.fingerprint import weights_hash
        from exnihilo.model.folder import load_with_tokenizer
        from exnihilo.tokenizer.template import Renderer

        self.model, self.tokenizer = load_with_tokenizer(folder)
        self.model.eval()
        self.renderer = Renderer(self.tokenizer)
        self.batch = batch
        # By its weights and not by its path: another model in the same place is another teacher.
        self.name = f"model {weights_hash(self.model.state_dict())[:12]}"
        self._automata: dict[str, TokenAutomaton] = {}

    def answer(self, asks: Sequence[Ask], heard: Heard | None = None) -> list[Said]:
        """See `Teacher`. A conversation that fills the context has no answer."""
        from exnihilo.infer.generate import generate
        from exnihilo.infer.sampling import Sampling, of_tokenizer

        prompts = [self.renderer.prompt(ask.messages) for ask in asks]
        context = self.model.config.max_length
        fitting = [i for i, prompt in enumerate(prompts) if len(prompt) < context]
        answers = generate(
            self.model,
            [prompts[i] for i in fitting],
            [Sampling(temperature=asks[i].temperature, max_new=asks[i].max_new) for i in fitting],
            seeds=[asks[i].seed for i in fitting],
            constraints=[self._automaton(asks[i].schema) for i in fitting],
            max_batch=self.batch,
            **of_tokenizer(self.tokenizer),
        )
        problem = f"the conversation fills the context of {context} tokens"
        said = [Said(None, self.name, read=len(prompt), problem=problem) for prompt in prompts]
        for i, one in zip(fitting, answers, strict=True):
            text = self.tokenizer.decode(one.ids)
            said[i] = Said(text, self.name, read=len(prompts[i]), written=len(one.ids), finish=one.finish)
        if heard is not None:
            for i, answer in enumerate(said):
                heard(i, answer)
        return said

    @cached_property
    def _trie(self) -> TokenTrie:
        from exnihilo.infer.token_trie import TokenTrie

        return TokenTrie(self.tokenizer.token_bytes)

    def _automaton(self, schema: dict[str, Any] | None) -> TokenAutomaton | None:
        from exnihilo.infer.automaton import TokenAutomaton
        from exnihilo.infer.json_schema import json_schema

        if schema is None:
            return None
        ends = (self.tokenizer.end, self.tokenizer.eos)
        key = dumps(schema)
        if key not in self._automata:
            self._automata[key] = TokenAutomaton(json_schema(schema), self._trie, ends)
        return self._automata[key]

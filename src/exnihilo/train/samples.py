"""What a model says to the same prompts while it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exnihilo.core.seeds import derive
from exnihilo.core.workspace import Workspace
from exnihilo.infer.generate import generate
from exnihilo.infer.sampling import Sampling, of_tokenizer
from exnihilo.model.adapters import merged
from exnihilo.model.decoder import Decoder
from exnihilo.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Prompt:
    """A prompt as people read it, and as the ids that the model continues."""

    text: str
    ids: list[int]


class Samples:
    """Writes one line a prompt to samples.jsonl. Every step draws with the same seeds, so that only the model
    makes a difference."""

    def __init__(
        self,
        model: Decoder,
        tokenizer: Tokenizer,
        prompts: Sequence[Prompt],
        work: Workspace,
        *,
        temperature: float,
        max_new: int,
    ) -> None:
        self.model, self.tokenizer, self.work = model, tokenizer, work
        # A prompt is cut on the left to leave half of the context for what follows.
        room = model.config.max_length // 2
        self.prompts = [Prompt(prompt.text, prompt.ids[-room:]) for prompt in prompts]
        self.sampling = Sampling(temperature=temperature, max_new=max_new)

    def __call__(self, step: int) -> None:
        """Sample after `step` steps."""
        self.model.eval()
        with merged(self.model):
            said = generate(
                self.model,
                [prompt.ids for prompt in self.prompts],
                self.sampling,
                seeds=[derive(self.work.seed, "sample", i) for i in range(len(self.prompts))],
                **of_tokenizer(self.tokenizer),
            )
        self.model.train()
        for prompt, generation in zip(self.prompts, said, strict=True):
            text = self.tokenizer.decode(generation.ids)
            self.work.sample(step=step, prompt=prompt.text, text=text, finish=generation.finish)

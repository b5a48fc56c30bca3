"""A teacher behind an OpenAI-compatible endpoint: bounded concurrency, retries with back-off, a meter of its costs."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exnihilo.core.errors import ConfigError, ExnihiloError
from exnihilo.teachers.teacher import Ask, Heard, Said, Tokens

if TYPE_CHECKING:
    import httpx

RETRIED = (408, 409, 425, 429, 500, 502, 503, 504)
"""Codes of HTTP that may be another one the next time."""
_LONGEST_WAIT = 60.0


@dataclass
class Meter:
    """What was asked of an endpoint so far. Prices are for a million tokens, in whatever currency."""

    price_read: float = 0.0
    price_written: float = 0.0
    asked: int = 0
    retried: int = 0
    read: int = 0
    written: int = 0

    @property
    def cost(self) -> float:
        """In the currency of the prices."""
        return (self.read * self.price_read + self.written * self.price_written) / 1e6


class Endpoint:
    """`url` is that of the API (`http://127.0.0.1:8000/v1`); the key is read from the environment variable
    `key_variable` where it is set, sent in a header, and written nowhere.

    Raises ConfigError for a URL that is none.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key_variable: str = "OPENAI_API_KEY",
        concurrency: int = 8,
        attempts: int = 6,
        timeout: float = 120.0,
        most_cost: float | None = None,
        meter: Meter | None = None,
        first_wait: float = 0.5,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"url: {url!r} is no address; give one such as http://127.0.0.1:8000/v1")
        self.url, self.model, self.name = url.rstrip("/"), model, f"endpoint {model}"
        self.key_variable, self.concurrency, self.attempts = key_variable, concurrency, attempts
        self.timeout, self.most_cost, self.first_wait = timeout, most_cost, first_wait
        self.meter = meter or Meter()

    def answer(self, asks: Sequence[Ask], heard: Heard | None = None) -> list[Said]:
        """See `Teacher`. Answers come in the order in which they are ready, and are given in that of the asks.

        What fails each time is no answer, and says why. Raises ConfigError where the endpoint refuses every question
        alike (a wrong key, model or address), and ExnihiloError when the cost reaches `most_cost`: what was heard by
        then was paid, and whoever keeps it (`Remembered`) does not pay again.
        """
        return asyncio.run(self._answer(asks, heard))

    async def _answer(self, asks: Sequence[Ask], heard: Heard | None) -> list[Said]:
        import httpx

        key = os.environ.get(self.key_variable)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        said: list[Said | None] = [None] * len(asks)
        # So many are on their way at once, and no more exist: a million questions are not a million tasks.
        places = iter(range(len(asks)))

        async def work(client: httpx.AsyncClient) -> None:
            for i in places:
                said[i] = answer = await self._one(client, asks[i])
                if heard is not None:
                    heard(i, answer)
                if self.most_cost is not None and self.meter.cost >= self.most_cost:
                    raise ExnihiloError(
                        f"{self.name}: {self.meter.cost:.2f} was spent, of at most {self.most_cost:.2f}; give more "
                        "(most_cost) and run again: what was answered is kept"
                    )

        try:
            async with (
                httpx.AsyncClient(headers=headers, timeout=self.timeout) as client,
                asyncio.TaskGroup() as group,
            ):
                for _ in range(min(self.concurrency, len(asks))):
                    group.create_task(work(client))
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        return [one for one in said if one is not None]

    async def _one(self, client: httpx.AsyncClient, ask: Ask) -> Said:
        import httpx

        problem = ""
        for attempt in range(self.attempts):
            if attempt:
                self.meter.retried += 1
            self.meter.asked += 1
            wait = min(_LONGEST_WAIT, self.first_wait * 2**attempt) * random.uniform(0.5, 1.0)
            try:
                response = await client.post(f"{self.url}/chat/completions", json=self._body(ask))
            except (httpx.TransportError, httpx.InvalidURL) as error:
                problem = f"{type(error).__name__}: {error or self.url}"
            else:
                if response.status_code == 200:
                    said = self._read(response, tokens=ask.tokens)
                    if said.problem is None or attempt == self.attempts - 1:
                        return said
                    problem = said.problem
                elif response.status_code in RETRIED:
                    problem = f"HTTP {response.status_code}: {_reason(response)}"
                    wait = _asked_to_wait(response, wait)
                elif response.status_code in (400, 413, 422):
                    # About this question (too long, refused by a filter), not about all.
                    return Said(None, self.name, problem=f"HTTP {response.status_code}: {_reason(response)}")
                else:
                    raise ConfigError(
                        f"{self.url}: HTTP {response.status_code}: {_reason(response)}; look at url, model and "
                        f"the key in {self.key_variable}"
                    )
            if attempt < self.attempts - 1:
                await asyncio.sleep(wait)
        return Said(None, self.name, problem=f"{self.attempts} attempts failed, the last with {problem}")

    def _body(self, ask: Ask) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": ask.messages,
            "temperature": ask.temperature,
            "max_tokens": ask.max_new,
            "seed": ask.seed,
        }
        if ask.tokens:
            body |= {"logprobs": True, "return_token_ids": True}
        if ask.schema is not None:
            named = {"name": "answer", "schema": ask.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        return body

    def _read(self, response: httpx.Response, *, tokens: bool) -> Said:
        """An answer, or what is wrong with what came. Raises ConfigError where it lacks the tokens that are wanted."""
        try:
            body = response.json()
            choice = body["choices"][0]
            text = choice["message"]["content"]
            usage = body.get("usage") or {}
            read, written = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
        except (ValueError, KeyError, IndexError, TypeError) as error:
            return Said(
                None, self.name, problem=f"no completion in what it sent ({type(error).__name__}: {error})"
            )
        self.meter.read += read
        self.meter.written += written
        if not isinstance(text, str):
            return Said(None, self.name, read=read, written=written, problem="it sent no text")
        return Said(
            text,
            self.name,
            read=read,
            written=written,
            finish=str(choice.get("finish_reason", "stop")),
            tokens=self._tokens(body, choice) if tokens else None,
        )

    def _tokens(self, body: dict[str, Any], choice: dict[str, Any]) -> Tokens:
        """The tokens of an answer, where vLLM and exnihilo put them."""
        try:
            logprobs = [float(one["logprob"]) for one in choice["logprobs"]["content"]]
            found = Tokens(list(body["prompt_token_ids"]), list(choice["token_ids"]), logprobs)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{self.url}: its answers come without token ids and log-probabilities ({type(error).__name__}: "
                f"{error}), and text can't be learned from as it was sampled; use a server that knows "
                "return_token_ids and logprobs, such as exnihilo chat or vLLM"
            ) from None
        if len(found.ids) != len(found.logprobs):
            raise ConfigError(
                f"{self.url}: {len(found.ids)} token ids come with {len(found.logprobs)} log-probabilities; "
                "use a server that gives one for each"
            )
        return found


def _reason(response: httpx.Response) -> str:
    """What an endpoint says of an error, on a line."""
    try:
        body = response.json()
        told = body["error"]["message"] if isinstance(body.get("error"), dict) else body.get("error", body)
    except (ValueError, KeyError, TypeError, AttributeError):
        told = response.text
    return " ".join(str(told).split())[:200] or response.reason_phrase


def _asked_to_wait(response: httpx.Response, wait: float) -> float:
    """Seconds that the endpoint asks for (`Retry-After`), or our own."""
    try:
        return min(_LONGEST_WAIT, max(float(response.headers["retry-after"]), 0.0))
    except (KeyError, ValueError):
        return wait

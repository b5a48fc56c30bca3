"""Rows, documents and conversations token by token, for people: what training reads, and what of it is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.seeds import derive

if TYPE_CHECKING:
    from exnihilo.tokenizer.tokenizer import Tokenizer
    from exnihilo.tokens.batch import Batch
    from exnihilo.tokens.sampler import DocumentRows


@dataclass(frozen=True)
class Token:
    """One token of a row.

    Attributes:
        id, text: the id, and its bytes as they can be read (`visible`).
        position: its place in its segment; -1 for one that is only a target.
        weight: what its prediction counts in the loss; 0 for one that is not predicted.
        source: where its text comes from, "" where nothing says it.
    """

    id: int
    text: str
    special: bool
    position: int
    segment: int
    weight: float
    source: str = ""

    @property
    def trained(self) -> bool:
        return self.weight != 0


@dataclass(frozen=True)
class View:
    """Tokens in their order, with a line that says what they are."""

    title: str
    tokens: list[Token] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {"title": self.title, "tokens": [asdict(token) for token in self.tokens]}

    def segments(self) -> Iterator[tuple[str, list[Token]]]:
        """Each segment with a line about it; the last one may be padding."""
        for segment, run in groupby(self.tokens, key=lambda token: token.segment):
            tokens = list(run)
            if segment < 0:
                yield f"padding: {len(tokens)} positions", []
                continue
            trained = sum(token.trained for token in tokens)
            last = max(token.position for token in tokens)
            source = f", from {tokens[0].source}" if tokens[0].source else ""
            yield f"segment {segment}: positions 0 to {last}, {trained} tokens trained{source}", tokens


def documents(folder: Path, split: str, number: int) -> View:
    """Document `number` of a token set. Raises ConfigError where there is none of that number."""
    from exnihilo.tokenizer.tokenizer import Tokenizer
    from exnihilo.tokens.shards import TokenSet

    tokens = TokenSet.open(folder, split, verify=False)
    tokenizer = Tokenizer.load(tokens.tokenizer)
    _check_number("--document", number, tokens.documents, f"documents in {folder}, split {split}")
    ids = tokens.document(number).tolist()
    source = tokens.sources[number]
    mask = [False] + [True] * (len(ids) - 1)
    title = f"document {number} of {tokens.documents} in {folder}, split {split}: {len(ids)} tokens"
    return View(title, _sequence(ids, mask, tokenizer, source))


def row_read(rows: DocumentRows, steps: int, tokenizer: Tokenizer, number: int, name: str) -> View:
    """Row `number` of those that a run read: row i of its step s (from 0) with r rows a step is number r·s + i. Raises
    ConfigError where its `steps` steps read none of that number."""
    _check_number("--row", number, steps * rows.rows, f"rows that {name} read")
    step, row = divmod(number, rows.rows)
    title = f"row {row} of step {step + 1} of {name}: {rows.length} positions, {rows.rows} rows a step"
    return View(title, _row(rows.next(step).rows(row, row + 1), tokenizer, rows.sources))


def document_rows(folder: Path, split: str, number: int, length: int, seed: int) -> View:
    """Row `number` as `pretrain` cuts it from this token set alone, in a run with this seed and `length_warmup: 0`;
    counted as for `row_read`."""
    from exnihilo.tokenizer.tokenizer import Tokenizer
    from exnihilo.tokens.sampler import DocumentRows
    from exnihilo.tokens.shards import TokenSet

    if number < 0:
        raise ConfigError(f"--row: {number}; give 0 for the first")
    tokens = TokenSet.open(folder, split, verify=False)
    rows = DocumentRows([tokens], None, 1, length, order_seed(seed, "pretrain"))
    title = f"row {number} of {folder}, split {split}: {length} positions, seed {seed}"
    return View(title, _row(rows.next(number), Tokenizer.load(tokens.tokenizer), rows.sources))


def conversation(file: Path, tokenizer: Tokenizer, number: int) -> View:
    """Conversation `number` of a file or folder of examples. Raises ConfigError where there is none of that
    number, Refused for what is none."""
    from exnihilo.examples.encode import token_weights
    from exnihilo.examples.formats import read_conversations
    from exnihilo.tokenizer.template import Renderer

    renderer = Renderer(tokenizer)
    if number < 0:
        raise ConfigError(f"--document: {number}; give 0 for the first")
    count = 0
    for count, row in enumerate(read_conversations(file), start=1):
        if count - 1 < number:
            continue
        if row.conversation is None:
            raise Refused(f"{file}: line {row.line}: {row.problem}; give the number of another row")
        rendered = renderer.render(row.conversation.messages, row.conversation.tools)
        source = row.conversation.meta.get("family") or row.conversation.meta.get("source") or ""
        title = f"conversation {number} of {file} (line {row.line}): {len(rendered.ids)} tokens"
        weights = token_weights(row.conversation.messages, rendered)
        return View(title, _sequence(rendered.ids, weights, tokenizer, str(source)))
    _check_number("--document", number, count, f"conversations in {file}")
    raise AssertionError("a number in range is found")


def conversation_rows(file: Path, tokenizer: Tokenizer, number: int, length: int, seed: int) -> View:
    """Row `number` as `sft` packs the conversations of a file or folder of examples, in a run with this seed:
    counted as for `row_read`, without rows of replay."""
    from exnihilo.examples.conversation import fault
    from exnihilo.examples.encode import Parts, encode_parts
    from exnihilo.examples.formats import read_conversations
    from exnihilo.tokenizer.template import Renderer
    from exnihilo.tokens.packing import ConversationRows

    if number < 0:
        raise ConfigError(f"--row: {number}; give 0 for the first")
    renderer = Renderer(tokenizer)
    found = (row.conversation for row in read_conversations(file))
    good = [one for one in found if one is not None and fault(one.messages) is None]
    encoded = []
    for one in good:
        with suppress(Refused):  # not for this chat template: `sft` leaves it out as well
            encoded.append((one, encode_parts(one, renderer, length + 1)))
    fitting = [(one, part) for one, cut in encoded if isinstance(cut, Parts) for part in cut.parts]
    if not fitting:
        raise Refused(f"{file}: no conversation fits {length} tokens; give a larger --length")
    rows = ConversationRows(
        [(part.ids, part.weights) for _, part in fitting],
        1,
        length,
        order_seed(seed, "sft"),
        pad=tokenizer.pad,
        labels=[str(one.meta.get("family") or one.meta.get("source") or "") for one, _ in fitting],
    )
    title = f"row {number} of {file}: {length} positions, seed {seed}, {rows.rows_per_epoch} rows an epoch"
    return View(title, _row(rows.next(number), tokenizer, rows.sources))


def order_seed(seed: int, verb: str) -> int:
    """The seed of the order of data in a run with this seed: a stage's own is derived from its verb first."""
    return derive(derive(seed, verb), "order")


def visible(data: bytes) -> str:
    """Bytes as they can be read: spaces as ·, line ends as ⏎, tabs as →, other control characters and bytes that
    are no whole character as \\x…."""
    text, at = "", 0
    while at < len(data):
        for size in (1, 2, 3, 4):
            try:
                character = data[at : at + size].decode("utf-8")
            except UnicodeDecodeError:
                continue
            if len(character) == 1:
                text += _MARKS.get(character) or (
                    character
                    if character.isprintable()
                    else "".join(f"\\x{b:02x}" for b in data[at : at + size])
                )
                at += size
                break
        else:
            text += f"\\x{data[at]:02x}"
            at += 1
    return text


_MARKS = {" ": "·", "\n": "⏎", "\t": "→", "\r": "␍"}


def _row(batch: Batch, tokenizer: Tokenizer, sources: Sequence[str]) -> list[Token]:
    """The tokens of a batch's first row, each segment followed by the token that only its last target is."""
    from exnihilo.tokens.batch import SOURCE

    columns = {name: tensor[0].tolist() for name, tensor in batch.fields().items()}
    whose = columns.get(SOURCE)
    reader = _Reader(tokenizer)
    tokens: list[Token] = []
    size = len(columns["tokens"])
    for i, (segment, position) in enumerate(zip(columns["segments"], columns["positions"], strict=True)):
        source = sources[whose[i]] if whose else ""
        # Targets are one step ahead: what this token counts is the weight of the position before it.
        first = i == 0 or columns["segments"][i - 1] != segment
        weight = 0.0 if first else columns["weights"][i - 1]
        tokens.append(reader.token(columns["tokens"][i], position, segment, weight, source))
        ends = i + 1 == size or columns["segments"][i + 1] != segment
        if ends and segment >= 0:
            weight = columns["weights"][i]
            tokens.append(reader.token(columns["targets"][i], -1, segment, weight, source))
    return tokens


def _sequence(ids: Sequence[int], weights: Sequence[float], tokenizer: Tokenizer, source: str) -> list[Token]:
    reader = _Reader(tokenizer)
    pairs = zip(ids, weights, strict=True)
    return [reader.token(id_, i, 0, float(weight), source) for i, (id_, weight) in enumerate(pairs)]


class _Reader:
    """Ids to tokens."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.bytes = tokenizer.token_bytes
        self.special = {i: literal for literal, i in tokenizer.special.items()}

    def token(self, id_: int, position: int, segment: int, weight: float, source: str) -> Token:
        text = self.special.get(id_) or visible(self.bytes[id_])
        return Token(id_, text, id_ in self.special, position, segment, weight, source)


def _check_number(flag: str, number: int, count: int, what: str) -> None:
    if not 0 <= number < count:
        raise ConfigError(f"{flag}: {number}, and there are {count} {what}; give 0 to {count - 1}")

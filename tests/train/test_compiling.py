"""When blocks are compiled, and that nothing but rounding depends on it."""

from __future__ import annotations

import pytest

from exnihilo.core.errors import ConfigError
from exnihilo.core.workspace import Workspace
from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder
from exnihilo.train import compiling
from exnihilo.train.budget import flops_per_token
from exnihilo.train.compiling import PAYS_FROM, compile_where_it_pays
from exnihilo.train.config import Compile


@pytest.fixture
def model() -> Decoder:
    return Decoder(
        DecoderConfig(
            vocab_size=32, width=16, depth=1, heads=2, kv_heads=2, head_dim=8, hidden=24, max_length=16
        )
    )


def compiled(model: Decoder) -> bool:
    return "before_attention" in vars(model.blocks[0])


def tokens_for(model: Decoder, flops: float) -> int:
    return round(flops / flops_per_token(model.config, 8.5))


@pytest.mark.parametrize(
    ("choice", "share", "expected"),
    [("auto", 0.9, False), ("auto", 1.1, True), ("never", 1.1, False), ("always", 0.01, True)],
)
def test_auto_goes_by_the_length_of_the_run(
    model: Decoder,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    choice: Compile,
    share: float,
    expected: bool,
) -> None:
    monkeypatch.setattr(compiling, "can_compile", lambda: True)
    tokens = tokens_for(model, share * PAYS_FROM)
    compile_where_it_pays(model, choice, tokens=tokens, length=16, work=workspace)
    assert compiled(model) is expected


def test_without_a_compiler_auto_goes_on_and_always_says_what_is_missing(
    model: Decoder, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "can_compile", lambda: False)
    tokens = tokens_for(model, 2 * PAYS_FROM)
    compile_where_it_pays(model, "auto", tokens=tokens, length=16, work=workspace)
    assert not compiled(model)
    with pytest.raises(ConfigError, match="install g\\+\\+"):
        compile_where_it_pays(model, "always", tokens=tokens, length=16, work=workspace)

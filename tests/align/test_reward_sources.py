"""Who rewards answers, out of a config: Llama 2's rule, several aspects, sums, judges, programs; what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from endpoint_server import Reply, completion
from exnihilo.align.card import card_of
from exnihilo.align.responses import Response
from exnihilo.align.reward_sources import reward_sources
from exnihilo.align.rewarded import RewardedConfig, external
from exnihilo.align.rewards import RewardModel, Scored, Unended
from exnihilo.align.safety_first import SafetyFirst, Whitened
from exnihilo.core.config import validate
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.files import write_json
from exnihilo.core.workspace import Workspace
from exnihilo.model.scorer import Scorer
from exnihilo.model.scorer_folder import Scale, save_scorer
from exnihilo.tokenizer.bpe import byte_tokenizer
from exnihilo.tokenizer.tokenizer import Tokenizer
from given_responses import Given, answered
from random_decoder import random_decoder


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return byte_tokenizer()


PASSED = {"passed": True, "verdict": "better than both"}
FAILED = {"passed": False, "verdict": "no better than chance: 51 %"}


def judge_folder(tokenizer: Tokenizer, out: Path, cards: dict[str, dict[str, Any]], seed: int = 0) -> Path:
    torch.manual_seed(seed)
    aspects = tuple(cards)
    model = Scorer(random_decoder(tokenizer.vocab_size, seed=seed), len(aspects))
    save_scorer(model, tokenizer, Scale(aspects, (0.5,) * len(aspects), (2.0,) * len(aspects)), out)
    write_json(out / "card.json", card_of(cards))
    return out


def config(**given: Any) -> RewardedConfig:
    return validate(RewardedConfig, given, where="ppo")


@pytest.mark.parametrize(
    ("safe", "helpful", "unsafe", "paid"),
    [
        (0.90, 0.30, False, 0.30),
        (0.151, 0.99, False, 0.99),
        (0.149, 0.99, False, 0.149),
        (0.01, 0.99, False, 0.01),
        (0.90, 0.30, True, 0.90),
        (0.01, 0.99, True, 0.01),
    ],
)
def test_llama_2s_rule_is_the_published_table(
    tokenizer: Tokenizer, safe: float, helpful: float, unsafe: bool, paid: float
) -> None:
    """Safety where the question is marked or it is below 0.15, else helpfulness; both as logits."""
    one = answered(tokenizer, "a")
    response = Response(one.item | {"unsafe": unsafe}, one.prompt, one.generation, one.text)
    source = SafetyFirst(Given("safety", _logit(safe)), Given("helpfulness", _logit(helpful)), below=0.15)
    assert source([response]) == [pytest.approx(_logit(paid))]
    family = Response(one.item | {"family": "scope"}, one.prompt, one.generation, one.text)
    marked = SafetyFirst(source.safety, source.helpful, below=0.15, unsafe=["scope"] if unsafe else ["other"])
    assert marked([family]) == [pytest.approx(_logit(paid))]


def test_who_can_not_say_is_asked_only_where_it_counts(tokenizer: Tokenizer) -> None:
    source = SafetyFirst(Given("safety", None, 1.0, -3.0), Given("helpfulness", 1.0, None, None), below=0.15)
    assert source([answered(tokenizer, "a")] * 3) == [None, None, -3.0]


def test_whitening_has_mean_0_and_deviation_1_and_leaves_out_the_unknown(tokenizer: Tokenizer) -> None:
    found = Whitened(Given("r", 1.0, None, 3.0, 8.0))([answered(tokenizer, "a")] * 4)
    known = torch.tensor([value for value in found if value is not None])
    assert found[1] is None and abs(float(known.mean())) < 1e-6
    assert float(known.var(correction=0)) == pytest.approx(1.0, abs=1e-5)
    assert Whitened(Given("r", 2.0, 2.0))([answered(tokenizer, "a")] * 2) == [0.0, 0.0]
    assert Whitened(Given("r", None))([answered(tokenizer, "a")]) == [None]


def test_two_reward_models_of_an_aspect_each_or_one_of_both_are_combined_alike(
    tokenizer: Tokenizer, tmp_path: Path, workspace: Workspace
) -> None:
    both = judge_folder(tokenizer, tmp_path / "both", {"helpfulness": PASSED, "safety": PASSED})
    responses = [answered(tokenizer, text) for text in ("a longer answer", "b", "abc", "Yes.")]
    rewards = reward_sources(
        config(reward="both", rewards={"rule": "safety-first"}), {"reward": both}, tokenizer, workspace
    )
    raw = RewardModel(both, tokenizer).scores(responses) - 0.5  # centred, and not divided by the spread
    least = _logit(0.15)
    expected = [float(safe if safe < least else helpful) for helpful, safe in raw.tolist()]
    assert rewards.source(responses) == pytest.approx(expected, abs=1e-5)
    assert rewards.figures() == pytest.approx(
        {"reward_helpfulness": float(raw[:, 0].mean()), "reward_safety": float(raw[:, 1].mean())}, abs=1e-5
    )
    helpful = judge_folder(tokenizer, tmp_path / "h", {"helpfulness": PASSED}, seed=1)
    safety = judge_folder(tokenizer, tmp_path / "s", {"safety": PASSED}, seed=2)
    summed = reward_sources(
        config(reward=["h", "s"], rewards={"weights": {"safety": 0.5}, "gates": {"safety": 0.0}}),
        {"reward": {"h": helpful, "s": safety}}, tokenizer, workspace,
    )  # fmt: skip
    h, s = (Scored([folder], tokenizer)(responses) for folder in (helpful, safety))
    assert summed.source(responses) == pytest.approx(
        [0.5 * b if b < 0 else a + 0.5 * b for a, b in zip(h, s, strict=True)],
        abs=1e-5,  # type: ignore[operator]
    )


def test_models_of_one_aspect_are_an_ensemble(
    tokenizer: Tokenizer, tmp_path: Path, workspace: Workspace
) -> None:
    folders = {str(n): judge_folder(tokenizer, tmp_path / str(n), {"reward": PASSED}, seed=n) for n in (0, 1)}
    responses = [answered(tokenizer, "Yes."), answered(tokenizer, "no")]
    given = config(reward=["0", "1"], rewards={"several": "least"})
    found = reward_sources(given, {"reward": folders}, tokenizer, workspace).source(responses)
    alone = [Scored([folder], tokenizer)(responses) for folder in folders.values()]
    assert found == pytest.approx([min(a, b) for a, b in zip(*alone, strict=True)], abs=1e-5)  # type: ignore[type-var]


def test_rm_6_each_aspect_has_to_pass_its_own_card(
    tokenizer: Tokenizer, tmp_path: Path, workspace: Workspace
) -> None:
    folder = judge_folder(tokenizer, tmp_path / "half", {"helpfulness": PASSED, "safety": FAILED})
    with pytest.raises(Refused, match=r"not fit to be maximised: no better than chance: 51 %"):
        reward_sources(config(reward="half"), {"reward": folder}, tokenizer, workspace)
    reward_sources(config(reward="half", force_reward=True), {"reward": folder}, tokenizer, workspace)
    Scored([folder], tokenizer, aspect="helpfulness")
    with pytest.raises(Refused, match="it judges helpfulness, safety; name one of them"):
        Scored([folder], tokenizer, aspect="tone")


def test_verifiers_alone_are_paid_as_they_judge(tokenizer: Tokenizer, workspace: Workspace) -> None:
    rewards = reward_sources(config(), {}, tokenizer, workspace)
    assert rewards.source([answered(tokenizer, "Yes."), answered(tokenizer, "No.")]) == [1.0, 0.0]
    assert rewards.figures() == {} and rewards.told() == []


def test_a_program_beside_the_verifiers(tokenizer: Tokenizer, tmp_path: Path, workspace: Workspace) -> None:
    program = tmp_path / "grade.py"
    program.write_text("def grade(item, answer):\n    return None if answer == '?' else len(answer)\n")
    given = config(rewards={"program": str(program), "weights": {"correct": 10, "program": 0.5}})
    rewards = reward_sources(given, {}, tokenizer, workspace)
    assert given.verified and rewards.source([answered(tokenizer, text) for text in ("Yes.", "No", "?")]) == [
        12,
        1,
        None,
    ]
    assert rewards.told() == ["program: no reward for 1 of 3 answers, which were left out"]
    assert Unended(rewards.source, 1.0).name == "reward"
    before = external(given)
    program.write_text("def grade(item, answer):\n    return 0\n")
    assert external(given) != before and external(config()) == "", "another program makes another artifact"


def test_what_is_named_wrongly_is_refused(tokenizer: Tokenizer, tmp_path: Path, workspace: Workspace) -> None:
    def load(given: RewardedConfig) -> None:
        reward_sources(given, {}, tokenizer, workspace)

    with pytest.raises(
        ConfigError, match=r"rewards.weights.safty: no such source of rewards; there are correct"
    ):
        load(config(rewards={"weights": {"safty": 1, "correct": 1}}))
    with pytest.raises(ConfigError, match=r"safety-first wants a reward model with the aspect safety"):
        load(config(rewards={"rule": "safety-first"}))
    with pytest.raises(ConfigError, match=r"with safety-first it is a probability"):
        config(rewards={"rule": "safety-first", "gates": {"safety": -1}})
    with pytest.raises(ConfigError, match=r"only the rule safety-first tells unsafe questions apart"):
        config(rewards={"unsafe": ["scope"]})
    with pytest.raises(ConfigError, match=r"judge and rewards.endpoint both grade answers; give one"):
        config(judge="m", rewards={"endpoint": {"url": "http://127.0.0.1:1/v1", "model": "m"}})
    for text, reason in (
        (None, "no such file"),
        ("grades = 1\n", r"no function grade\(item, answer\) in it"),
        ("import nothing_of_this_name\n", "ModuleNotFoundError"),
    ):
        program = tmp_path / "bad.py"
        if text is not None:
            program.write_text(text)
        with pytest.raises(Refused, match=reason):
            load(config(rewards={"program": str(program)}))


def test_a_judge_behind_an_endpoint_may_abstain_and_is_not_asked_twice(
    serve: Any, tokenizer: Tokenizer, workspace: Workspace
) -> None:
    def reply(question: str, times: int) -> Reply:
        return completion("I'd rather talk of turtles" if "[Answer]\nNo" in question else '{"grade": 10}')

    server = serve(reply)
    given = config(rewards={"endpoint": {"url": server.url, "model": "j", "concurrency": 2}})
    responses = [answered(tokenizer, text) for text in ("Yes.", "No.", "Maybe.")]
    rewards = reward_sources(given, {}, tokenizer, workspace)
    assert not given.verified and rewards.source(responses) == [1.0, None, 1.0]
    assert rewards.told()[0] == "grade: 3 answers were graded by endpoint j"
    assert rewards.told()[1].startswith(
        "grade: no reward for 1 of 3 answers (it said \"I'd rather talk of turtles"
    )
    again = reward_sources(given, {}, tokenizer, workspace)  # as after a kill
    assert again.source([responses[0], responses[2]]) == [1.0, 1.0] and server.asked.total() == 3


def _logit(p: float) -> float:
    return math.log(p / (1 - p))

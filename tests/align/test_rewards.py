"""Reward sources: who can't say doesn't count, gates hold, being cut off never pays, and ids are read as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from exnihilo.align.rewards import Judged, Part, Scored, Trusted, Unended, Verified, WeightedSum
from exnihilo.core.errors import Refused
from exnihilo.core.files import write_json
from exnihilo.model.scorer import Scorer
from exnihilo.model.scorer_folder import Scale, save_scorer
from exnihilo.teachers.judge import Judge
from exnihilo.teachers.program import ProgramTeacher
from exnihilo.tokenizer.bpe import byte_tokenizer, train_tokenizer
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.verify.check import Verdict
from given_responses import Given, answered
from random_decoder import random_decoder


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return byte_tokenizer()


def test_a_verifier_that_can_not_say_gives_none(tokenizer: Tokenizer) -> None:
    responses = [
        answered(tokenizer, "Yes."), answered(tokenizer, "No."), answered(tokenizer, "Yes.", value=None),
    ]  # fmt: skip
    assert Verified()(responses) == [1.0, 0.0, None]


def test_a_sum_knows_only_what_all_its_parts_know_and_a_gate_holds(tokenizer: Tokenizer) -> None:
    responses = [answered(tokenizer, "a")] * 4
    total = WeightedSum(
        [
            Part(Given("safe", 0.9, 0.1, None, 0.5), weight=2.0, gate=0.15),
            Part(Given("good", 1.0, 5.0, 1.0, None)),
        ]
    )
    assert total(responses) == [pytest.approx(2.8), pytest.approx(0.2), None, None]
    assert total.last["good"] == [1.0, 5.0, 1.0, None]


@pytest.mark.parametrize("reward", [1.0, 0.0, -3.0])
def test_ppo_5_being_cut_off_never_pays(tokenizer: Tokenizer, reward: float) -> None:
    responses = [answered(tokenizer, "a"), answered(tokenizer, "a", ended=False)]
    whole, cut = Unended(Given("r", reward, reward), 0.5)(responses)
    assert whole == reward and cut is not None and cut == reward - 0.5
    assert Unended(Given("r", None), 0.5)(responses[1:]) == [None]
    with pytest.raises(ValueError, match="would be a reward"):
        Unended(Given("r"), -1.0)


def reward_folder(tokenizer: Tokenizer, out: Path, seed: int = 0, *, passed: bool = True) -> Scorer:
    torch.manual_seed(seed)
    model = Scorer(random_decoder(tokenizer.vocab_size, seed=seed))
    save_scorer(model, tokenizer, Scale(("reward",), (0.5,), (2.0,)), out)
    write_json(out / "card.json", {"passed": passed, "verdict": "no better than chance: 51 %"})
    return model


def test_ppo_10_the_reward_model_reads_the_sampled_ids_to_the_end_token(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    models = [reward_folder(tokenizer, tmp_path / str(seed), seed) for seed in (0, 1)]
    responses = [
        answered(tokenizer, text, ended=text != "abc") for text in ("a longer answer", "b", "abc", "")
    ]
    expected = torch.stack(
        [
            torch.stack(
                [(model(torch.tensor([r.prompt + r.generation.ids]))[0, -1, 0] - 0.5) / 2 for r in responses]
            )
            for model in models
        ]
    )
    for folders, of_several, wanted in (
        (["0"], "mean", expected[0]),
        (["0", "1"], "mean", expected.mean(0)),
        (["0", "1"], "least", expected.amin(0)),
    ):
        source = Scored([tmp_path / name for name in folders], tokenizer, of_several=of_several, rows=3)  # type: ignore[arg-type]
        assert torch.allclose(torch.tensor(source(responses)), wanted, atol=1e-5)
    assert Scored([tmp_path / "0"], tokenizer)([]) == []


def test_rm_6_a_model_that_failed_its_card_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    reward_folder(tokenizer, tmp_path / "bad", passed=False)
    with pytest.raises(
        Refused, match=r"not fit to be maximised: no better than chance: 51 %.*--force_reward"
    ):
        Scored([tmp_path / "bad"], tokenizer)
    Scored([tmp_path / "bad"], tokenizer, force=True)
    (tmp_path / "bad" / "card.json").unlink()
    with pytest.raises(Refused, match="it has no report card"):
        Scored([tmp_path / "bad"], tokenizer)


def test_ppo_11_a_reward_model_of_another_tokenizer_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    other = train_tokenizer(["some other text " * 20], 280)
    reward_folder(other, tmp_path / "other")
    with pytest.raises(Refused, match="ids of another tokenizer than the policy's"):
        Scored([tmp_path / "other"], tokenizer)


def test_a_verifier_that_fails_says_nothing_and_is_counted(tokenizer: Tokenizer) -> None:
    """Five in a hundred fail: the others are judged, and what failed is named."""
    calls = 0

    def check(verifier: object, reply: str) -> Verdict:
        nonlocal calls
        calls += 1
        if calls % 20 == 0:
            raise ZeroDivisionError("in the verifier")
        return Verdict(True, reply)

    source = Trusted(verified := Verified(check))
    rewards = source([answered(tokenizer, "Yes.")] * 200)
    assert rewards.count(None) == 10 and rewards.count(1.0) == 190
    assert verified.failures == {"ZeroDivisionError: in the verifier": 10}


def test_a_judge_that_answers_nonsense_is_refused_by_name(tokenizer: Tokenizer) -> None:
    judged = Judged(Judge(ProgramTeacher("turtle", lambda messages: "I like turtles")))
    source = Trusted(judged, patience=64)
    assert source([answered(tokenizer, "Yes.")] * 40) == [None] * 40
    with pytest.raises(Refused, match=r"grade: no reward for 80 of 80 answers \(it said 'I like turtles'\)"):
        source([answered(tokenizer, "Yes.")] * 40)


def test_a_judge_that_can_be_read_gives_grades(tokenizer: Tokenizer) -> None:
    judged = Judged(
        Judge(
            ProgramTeacher("j", lambda messages: '{"grade": 10}' if "Yes" in messages[0]["content"] else "?")
        )
    )
    assert Trusted(judged)([answered(tokenizer, "Yes."), answered(tokenizer, "No.")]) == [1.0, None]

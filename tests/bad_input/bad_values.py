"""Values that cannot be, and values that contradict each other."""

from __future__ import annotations

from bad_case import Case

PRETRAIN = "pretrain --tokens runs/good/tokens"
SFT = "sft --model runs/good/base --examples chats.jsonl"
CASES = [
    Case(
        "Text where a number goes",
        f"{PRETRAIN} --steps many",
        2,
        'error: --steps: got "many"; allowed: int ≥ 1 | null',
    ),
    Case(
        "A negative number of steps",
        f"{PRETRAIN} --steps -5",
        2,
        "error: --steps: got -5; allowed: int ≥ 1 | null",
        process=True,
    ),
    Case("No steps at all", f"{PRETRAIN} --steps 0", 2, "error: --steps: got 0; allowed: int ≥ 1 | null"),
    Case("Half a step", f"{PRETRAIN} --steps 1.5", 2, 'error: --steps: got "1.5"; allowed: int ≥ 1 | null'),
    Case(
        "A learning rate that is not a number",
        f"{PRETRAIN} --optimizer.lr nan",
        2,
        "error: --optimizer.lr: got NaN; allowed: float ≥ 0 | null",
    ),
    Case(
        "An infinite learning rate",
        f"{PRETRAIN} --optimizer.lr inf",
        2,
        "error: --optimizer.lr: got Infinity; allowed: float ≥ 0 | null",
    ),
    Case(
        "A word that is none of the choices",
        f"{PRETRAIN} --schedule.kind consine",
        2,
        'error: --schedule.kind: got "consine"; allowed: linear | cosine | wsd | constant',
    ),
    Case(
        "A number of parameters that is no count",
        f"{PRETRAIN} --model.params 3X",
        2,
        'error: --model.params: got "3X"; allowed: count such as 8M ≥ 1000 | null',
    ),
    Case(
        "A decay of moments of 1 or more",
        f"{PRETRAIN} --optimizer.betas 0.9,1.5",
        2,
        (
            "error: --optimizer.betas: each must be at least 0 and below 1; 0.9 and 0.95 are usual (got "
            "[0.9, 1.5])"
        ),
    ),
    Case(
        "One decay of moments instead of two",
        f"{PRETRAIN} --optimizer.betas 0.9",
        2,
        "error: --optimizer.betas[1]: required; allowed: float",
    ),
    Case("A negative seed", f"{PRETRAIN} --seed -1", 2, "error: --seed: got -1; allowed: int ≥ 0"),
    Case(
        "A seed that is text",
        f"{PRETRAIN} --seed one",
        2,
        "error: Invalid value for --seed: …; see exnihilo pretrain --help",
    ),
    Case(
        "An adapter of rank 0",
        f"{SFT} --lora.rank 0",
        2,
        "error: --lora.rank: got 0; allowed: int ≥ 1",
    ),
    Case(
        "A misspelt key of an adapter",
        f"{SFT} --lora.rnak 4",
        2,
        "error: --lora.rnak: unknown key; did you mean --lora.rank?",
    ),
    Case(
        "Two lengths of a training",
        f"{PRETRAIN} --steps 5 --train_tokens 1M",
        2,
        "error: steps and train_tokens both say how long to train; give one",
    ),
    Case(
        "Steps and epochs together",
        f"{SFT} --steps 5 --epochs 2",
        2,
        "error: steps and epochs both say how long to train; give one",
    ),
    Case(
        "Two sizes of a model",
        f"{PRETRAIN} --model.params 1M --model.depth 4",
        2,
        "error: --model: params and depth both set the size; give params alone, or drop it",
    ),
    Case(
        "Heads that key and value heads do not divide",
        f"{PRETRAIN} --model.depth 1 --model.heads 4 --model.kv_heads 3",
        2,
        "error: --model: heads (4) must be a multiple of kv_heads (3); try [1, 2, 4]",
    ),
    Case(
        "A head of an odd size",
        f"{PRETRAIN} --model.depth 1 --model.head_dim 15",
        2,
        "error: --model: head_dim (15) must be even, for rotary positions; try 16",
    ),
    Case(
        "A warm-up longer than the training",
        f"{PRETRAIN} --steps 5 --schedule.warmup 10",
        2,
        (
            "error: schedule.warmup is 10 steps, and the training has 5; give fewer, or a share of the steps "
            "below 1"
        ),
    ),
    Case(
        "Rows longer than the context",
        f"{PRETRAIN} --length 128 --model.max_length 64",
        2,
        "error: length is 128 tokens, and the context model.max_length 64; give rows that fit into it",
    ),
    Case(
        "Rows of sft longer than the model's context",
        f"{SFT} --length 128",
        2,
        "error: length: 128 tokens, and the model's context is 64; give at most that",
    ),
    Case(
        "Questions and answers of grpo longer than the model's context",
        "grpo --model runs/good/base --examples questions --steps 1 --max_new 64",
        3,
        (
            "error: a prompt of 8 tokens and an answer of 64 do not fit rows of 64; lower max_new, or raise "
            "length, up to the model's context"
        ),
    ),
    Case(
        "Rows of replay without anything to replay",
        f"{SFT} --replay_rows 2",
        2,
        "error: replay_rows is given without replay; name a token set, or drop it",
    ),
    Case(
        "More weights than token sets",
        f"{PRETRAIN} --weights 1,2 --steps 2 --model.depth 1",
        2,
        "error: weights: 2 given for 1 token sets; give one for each",
    ),
    Case(
        "A negative weight of a source",
        f"{PRETRAIN} --weights=-1 --steps 2 --model.depth 1",
        2,
        "error: weights are [-1.0]; give numbers of at least 0, not all of them 0",
    ),
    Case(
        "More held out than there is",
        "curate --corpus runs/good/texts --held_out 1.5",
        2,
        "error: --held_out: got 1.5; allowed: float ≥ 0 < 1",
    ),
    Case(
        "A filter's share above 1",
        "curate --corpus runs/good/texts --filters.min_letters 2",
        2,
        "error: --filters.min_letters: got 2.0; allowed: float ≥ 0 ≤ 1 | null",
    ),
    Case(
        "A vocabulary smaller than the bytes",
        "tokenizer train --corpus runs/good/corpus --vocabulary 100",
        2,
        'error: --vocabulary: got "100"; allowed: count such as 8M ≥ 264 ≤ 1048576 | auto',
    ),
    Case(
        "A vocabulary that is a word",
        "tokenizer train --corpus runs/good/corpus --vocabulary large",
        2,
        'error: --vocabulary: got "large"; allowed: count such as 8M ≥ 264 ≤ 1048576 | auto',
    ),
    Case(
        "Nothing to evaluate on",
        "evaluate --models runs/good/base",
        2,
        "error: give items (accuracy), corpus (bits per byte) or both",
    ),
    Case(
        "A pair with a model that is not evaluated",
        'evaluate --models runs/good/base --corpus runs/good/corpus --pairs \'[["base", "sft"]]\'',
        2,
        "error: pairs: 'sft' is not among the models; the models are base",
    ),
    Case(
        "A pair as text that is no JSON",
        "evaluate --models runs/good/base --corpus runs/good/corpus --pairs base,sft",
        2,
        (
            'error: --pairs: got "base,sft"; allowed: list of list of text | null (as JSON: [["a", "b"], '
            '["c", "d"]])'
        ),
    ),
    Case(
        "Families of questions without questions",
        "evaluate --models runs/good/base --corpus runs/good/corpus --trained sum",
        2,
        "error: trained names families of items; give items too",
    ),
    Case(
        "A best answer picked by a model that is not evaluated",
        "evaluate --models runs/good/base --items questions --best-of-model sft",
        2,
        "error: best_of_model: 'sft' is not among the models; the models are base",
    ),
    Case(
        "More wrong labels than right ones",
        "rejection --model runs/good/base --examples questions --flipped 0.5",
        2,
        "error: --flipped: got 0.5; allowed: float ≥ 0 < 0.5",
    ),
    Case(
        "One answer in a group of answers",
        "grpo --model runs/good/base --examples questions --group 1",
        2,
        "error: --group: got 1; allowed: int ≥ 2",
    ),
    Case(
        "A negative temperature in a chat",
        "chat runs/good/base --prompt 1+1? --temperature -1",
        2,
        "error: --temperature: got -1.0; must be 0 (greedy) or more",
    ),
    Case(
        "A share above 1 in a chat",
        "chat runs/good/base --prompt 1+1? --top-p 2",
        2,
        "error: --top-p: got 2.0; must be above 0 and at most 1 (off)",
    ),
    Case(
        "An answer of no tokens",
        "chat runs/good/base --prompt 1+1? --max-new 0",
        2,
        "error: --max-new: got 0; must be at least 1",
    ),
    Case(
        "A context of no tokens",
        "data check chats.jsonl --tokenizer runs/good/tokenizer --context 0",
        2,
        "error: --context: got 0; allowed: int ≥ 2",
    ),
]

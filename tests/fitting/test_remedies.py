"""What to try when memory ran out: the settings that need less, in their order, and only where they help.

sh run_tests.sh tests/fitting/test_remedies.py
"""

import pytest

from bedside.fitting.remedies import (
    EVALUATING,
    LOADING,
    MEASURING,
    OPTIMIZER,
    REFERENCE,
    SAMPLING,
    TRAINING,
    WORKERS,
    Settings,
    remedies,
    smaller,
)  # fmt: skip


def names(settings, moment=TRAINING):
    return [str(remedy) for remedy in remedies(settings, moment)]


def test_settings_are_offered_in_order_and_only_those_that_are_not_on():
    bare = Settings(4, 2, lengths={"max_length": 2048}, checkpointing=False)
    assert names(bare) == [
        "--per_device_train_batch_size 2 --gradient_accumulation_steps 4",
        "--gradient_checkpointing True",
        "--mlp_tile 4096",
        "--offload_checkpoints True",
        "--embedding_on_host True",
        "--qlora True",
        "--max_length 1024",
    ]
    full = Settings(1, 8, lengths={"max_length": 8192}, mlp_tile=4096, offload=True, embedding_on_host=True,
                    quantised=True)  # fmt: skip
    assert names(full) == ["--max_length 4096"]
    assert [remedy.exact for remedy in remedies(bare, TRAINING)] == [True] * 5 + [False] * 2


def test_what_does_nothing_here_is_not_offered():
    # 2,048 tokens are less than a tile, without a GPU there is nothing to move to the host, the head is tied.
    assert names(Settings(1, 1, lengths={"max_length": 2048})) == [
        "--offload_checkpoints True", "--embedding_on_host True", "--qlora True", "--max_length 1024"
    ]  # fmt: skip
    assert names(Settings(1, 1, gpu=False, lengths={"max_length": 256})) == ["--qlora True"]
    assert "--embedding_on_host True" not in names(Settings(1, 1, stays="it is tied to the output head"))
    assert names(Settings(1, 1, gpu=False, peft=False)) == ["--use_peft True"]
    assert names(Settings(1, 1, gpu=False, quantisable=False)) == []
    assert names(Settings(1, 1, gpu=False, budget=True))[0] == "--memory_budget_gb None"


@pytest.mark.parametrize(
    ("moment", "offered"),
    [
        (LOADING, ["--qlora True"]),
        (OPTIMIZER, ["--embedding_on_host True", "--qlora True"]),
        (MEASURING, ["--embedding_on_host True", "--qlora True"]),
        (EVALUATING, ["--per_device_eval_batch_size 4", "--qlora True"]),
    ],
)
def test_a_smaller_micro_batch_is_offered_only_where_it_helps(moment, offered):
    assert names(Settings(8, 1), moment) == offered


def test_a_micro_batch_is_cut_evenly():
    assert [smaller(rows) for rows in (8, 6, 3, 7, 2, 1)] == [4, 3, 1, 1, 1, None]
    assert smaller(2, least=2) is None
    assert names(Settings(3, 5))[0] == "--per_device_train_batch_size 1 --gradient_accumulation_steps 15"
    assert names(Settings(4, 2, sampled_for=6))[0].endswith("--steps_per_generation 12")


def test_a_loss_that_compares_the_rows_of_a_batch_is_not_kept_by_a_smaller_one():
    first = remedies(Settings(4, 1, losses=("kto",), least=2), TRAINING)[0]
    assert not first.exact and "--loss_type kto compares its rows" in first.why
    assert remedies(Settings(4, 1, losses=("sigmoid",)), TRAINING)[0].exact


def test_a_loss_that_is_a_mean_over_the_tokens_of_a_batch_is_not_kept_either():
    first = remedies(Settings(4, 1, losses=("sigmoid", "sft")), TRAINING)[0]
    assert not first.exact and "--loss_type sft is a mean over its tokens and changes" in first.why
    assert "--loss_type bnpo is a mean" in remedies(Settings(4, 1, losses=("bnpo",)), TRAINING)[0].why


def test_flags_that_look_at_a_micro_batch_are_named():
    first = remedies(Settings(4, 1, depends=("--dataloader_drop_last True", "--entropy_coef 0.01")), TRAINING)[0]
    assert not first.exact
    assert first.why.endswith(
        "what --dataloader_drop_last True and --entropy_coef 0.01 does depends on it and changes"
    )


@pytest.mark.parametrize(
    ("moment", "offered"),
    [
        (SAMPLING, ["--rollout_batch_size 8", "--qlora True", "--response_length 256"]),
        (REFERENCE, ["--precompute_ref_batch_size 2", "--qlora True"]),
        (WORKERS, ["--dataloader_num_workers 0"]),
    ],
)
def test_passes_without_gradients_have_flags_of_their_own(moment, offered):
    settings = Settings(8, 1, lengths={"response_length": 512}, together=16, reference_rows=4, workers=2)
    assert names(settings, moment) == offered
    assert remedies(settings, moment)[0].exact


def test_answers_to_one_question_stay_together_in_an_evaluation():
    assert [smaller(rows, 4, 4) for rows in (16, 12, 8, 4)] == [8, 4, 4, None]
    assert names(Settings(1, 1, eval_rows=8, eval_group=8, quantised=True), EVALUATING) == []


def test_host_memory_that_runs_out_beside_a_gpu_is_given_back():
    """What waits in host memory goes back to the card; nothing more is sent there."""
    on = Settings(4, 1, gpu=False, host=True, offload=True, embedding_on_host=True, workers=2, quantised=True)
    assert names(on) == [
        "--per_device_train_batch_size 2 --gradient_accumulation_steps 2", "--offload_checkpoints False",
        "--embedding_on_host False", "--dataloader_num_workers 0",
    ]  # fmt: skip
    assert names(Settings(4, 1, gpu=False, host=True), LOADING) == ["--qlora True"]

"""The best settings that fit, and what is said where none do.

sh run_tests.sh tests/planner/test_choose.py
"""

import pytest

from bedside.errors import ConfigError
from bedside.planner import cards, choose, memory, shapes
from bedside.planner.choose import Wish

SEVEN = shapes.model_of("Qwen2.5-7B")


def best(card: str, model=SEVEN, **wish) -> choose.Plan:
    return choose.best(model, cards.card(card), Wish(**wish))


@pytest.mark.parametrize("stage", memory.STAGES)
@pytest.mark.parametrize("card", ["RTX 2080 Ti", "RTX 4090", "H200", "16GB"])
def test_what_is_chosen_fits_and_keeps_the_batch(card, stage):
    plan = best(card, stage=stage, batch=64)
    assert plan.peak <= choose.limit_of(plan.card)
    assert plan.setting.rows * plan.accumulation == 64


def test_a_large_card_checkpoints_nothing_and_a_small_one_more():
    assert best("H200").setting.whole == 28
    assert best("RTX 4090").setting.precision == "lora"
    assert best("RTX 2080 Ti").setting.precision == "qlora"
    eight = best("RTX 4060")
    assert eight.setting.whole < 28 and eight.setting.embedding_on_host


def test_longer_rows_do_not_fit_where_shorter_do():
    three = shapes.model_of("Qwen2.5-3B")
    assert best("3.6GB", model=three).setting.length == 1024  # tried from 2,048 on
    with pytest.raises(ConfigError, match="1 row of 4,096 tokens.*Would fit: --max_length 1024"):
        best("6.5GB", length=4096)


def test_where_nothing_fits_the_smallest_is_named_and_what_would_fit():
    with pytest.raises(ConfigError) as told:
        best("RTX 2080 Ti", model=shapes.model_of("70B"))
    text = str(told.value)
    assert "does not fit 1 x RTX 2080 Ti: the smallest setting (qlora, 1 row of 512 tokens" in text
    assert "10.1 of 11.8 GB can be planned with" in text
    assert "a card such as" in text and "a smaller model such as Qwen/Qwen2.5-14B" in text
    with pytest.raises(ConfigError, match="--precision qlora"):
        best("RTX 2080 Ti", precision="full")


def test_several_cards_share_the_batch_and_what_does_not_fit_on_one():
    two = best("RTX 4090", gpus=2)
    assert (two.setting.sharding, two.setting.rows * two.accumulation) == ("ddp", 8)
    assert best("RTX 4090", model=shapes.model_of("70B"), gpus=8).setting.sharding == "fsdp2"
    assert best("H100", precision="full", gpus=8).setting.sharding in ("zero2", "fsdp2")
    with pytest.raises(ConfigError, match="--effective_batch_size 15 on 2 cards: expected a multiple.*such as 16"):
        best("RTX 4090", gpus=2, batch=15)


def test_rows_that_are_asked_for_are_kept_or_refused():
    assert best("H200", rows=4).setting.rows == 4
    with pytest.raises(ConfigError, match="--per_device_train_batch_size 3: does not divide the 16 rows"):
        best("H200", rows=3)
    with pytest.raises(ConfigError, match="Would fit: a smaller --per_device_train_batch_size"):
        best("RTX 2080 Ti", rows=64, batch=64)


def test_ppo_in_full_is_refused():
    with pytest.raises(ConfigError, match="four roles are adapters of one base"):
        best("H200", stage="ppo", precision="full")


def test_speed_goes_down_with_the_card():
    rates = [best(card).speed.tokens for card in ("H200", "RTX 4090", "RTX 3090", "RTX 2080 Ti")]
    assert rates == sorted(rates, reverse=True)
    assert best("11GB").speed is None

"""The best precision that fits, layers in host memory, refusals: with sizes small enough to reckon in the head.

sh run_tests.sh tests/memory
"""

from dataclasses import replace

import pytest

from bedside import memory
from bedside.errors import ConfigError
from bedside.memory import sizes, tiers
from tests.memory.test_sizes import QWEN_7B

CONFIG = QWEN_7B.to_dict() | {"dtype": "bfloat16"}
GB = 1 << 30


@pytest.fixture(scope="module")
def qwen():
    return sizes.of_config(QWEN_7B)


def asked(gb, **changes):
    question = tiers.Asked(budget=int(gb * GB), place="GPU", context=1536, batch=1, host=64 * GB)
    return replace(question, **changes)


@pytest.mark.parametrize(
    ("gb", "name"),
    [(24, "16-bit"), (11, "8-bit"), (8, "4-bit NF4"), (6, "4-bit NF4, 8 of 28 layers in host memory")],
)
def test_cards_and_what_they_hold_of_qwen_7b(qwen, gb, name):
    question = asked(gb)
    best = tiers.considered(qwen, CONFIG, question, (16, 8, 4))[-1]
    assert best.name == name
    assert tiers.fits(best, question)


def test_what_is_needed_by_hand(qwen):
    need = tiers.need_of(qwen, CONFIG, asked(16, adapter=1000), 16)
    work = (768 << 20) + 1536 * (8 * 3584 + 4 * 18944) * 2 + 152064 * 4 * 4
    assert (need.weights, need.adapter, need.cache, need.work) == (15_231_233_024, 1000, 88_080_384, work)
    assert need.total == 15_231_233_024 + 1000 + 88_080_384 + work


def test_layers_in_host_memory_stay_unquantised(qwen):
    layer = 233_046_016 + 4608 + 2 * 3584  # weights, biases, norms
    all_here, two_away = (tiers.need_of(qwen, CONFIG, asked(8), 4, moved) for moved in (0, 2))
    assert two_away.host == 2 * 2 * layer
    assert two_away.weights == all_here.weights - 2 * qwen.parts["model.layers.0"].size(4)
    assert two_away.work == all_here.work + 2 * layer  # one comes over at a time


def test_the_map_sends_the_last_layers_away(qwen):
    placed = tiers.device_map(qwen, 2)
    assert [name for name, place in placed.items() if place == "cpu"] == ["model.layers.26", "model.layers.27"]
    assert placed["model.embed_tokens"] == placed["lm_head"] == placed["model.norm"] == 0
    assert tiers.device_map(qwen, 0) is None


def test_no_host_memory_no_layers_there(qwen):
    needs = tiers.considered(qwen, CONFIG, asked(5, host=0), (16, 8, 4))
    assert [need.moved for need in needs] == [0, 0, 0]
    assert not tiers.fits(needs[-1], asked(5, host=0))


def test_the_host_may_be_too_small(qwen):
    question = asked(5, host=1 * GB)
    needs = tiers.considered(qwen, CONFIG, question, (16, 8, 4))
    assert not tiers.fits(needs[-1], question)
    sentence = memory.refusal(needs, qwen, CONFIG, question, 5)
    assert "layers in host memory it needs" in sentence and "1.0 GB are free" in sentence


def test_a_refusal_names_the_card_that_would_do(qwen):
    question = asked(2, host=0)
    needs = tiers.considered(qwen, CONFIG, question, (16, 8, 4))
    sentence = memory.refusal(needs, qwen, CONFIG, question, 2)
    assert sentence.startswith("--memory_gb 2: no precision fits 2 GB; the smallest, 4-bit NF4, takes 6.4")
    assert sentence.endswith("take a smaller model, or a card of 8 GB")


def test_a_refusal_names_fewer_tokens_where_they_would_do(qwen):
    question = asked(8, host=0, batch=16, context=8192)
    needs = tiers.considered(qwen, CONFIG, question, (16, 8, 4))
    assert not tiers.fits(needs[-1], question)
    sentence = memory.refusal(needs, qwen, CONFIG, question, 8)
    assert sentence.endswith("; --max_new_tokens 6861 with --batch_size 1 would fit")
    tokens = tiers.longest_that_fits(qwen, CONFIG, question, 4)
    fitting, beyond = (replace(question, batch=1, context=count) for count in (tokens, tokens + 1))
    assert tiers.need_of(qwen, CONFIG, fitting, 4).total <= question.budget
    assert tiers.need_of(qwen, CONFIG, beyond, 4).total > question.budget


def test_the_table_in_one_block(qwen):
    question = asked(11)
    text = tiers.table(tiers.considered(qwen, CONFIG, question, (16, 8, 4)), question, "Qwen2.5-7B", qwen.numbers)
    lines = text.splitlines()
    assert lines[0] == "memory: 11 GB of GPU memory, 1 conversation of 1,536 tokens, Qwen2.5-7B (7.62 billion weights)"
    assert lines[1].split() == ["weights", "adapter", "cache", "workspace", "sum"]
    assert lines[2].split()[:2] == ["16-bit", "14.19"] and lines[2].endswith("too much")
    assert lines[3].split()[:2] == ["8-bit", "8.11"] and lines[3].endswith("fits")
    assert len(lines) == 4


class Resolved:
    def __init__(self, base, adapter=None, quant=None):
        self.base, self.adapter, self.quant, self.revision = base, adapter, quant, "main"


class Origin:
    def __init__(self, base, **more):
        self.path, self.resolved = base, Resolved(base, **more)


def test_what_may_be_chosen_follows_the_training(tiny_model_dir):
    plain = Origin(tiny_model_dir)
    assert memory.allowed(plain, None, "auto", None) == (16, 8, 4)
    assert memory.allowed(plain, {"bits": 8}, "auto", None) == (8,)
    trained = Origin(tiny_model_dir, adapter="a", quant={"bits": 4, "type": "nf4"})
    assert memory.allowed(trained, None, "auto", None) == (4,)
    assert memory.allowed(Origin(tiny_model_dir, adapter="a", quant={"bits": 8}), None, "auto", None) == (8, 4)


def test_a_model_that_is_quantised_is_not_quantised_again(tiny_model_dir):
    with pytest.raises(ConfigError, match=r"is quantised already \(gptq\); drop the --load_in flag"):
        memory.allowed(Origin(tiny_model_dir), {"bits": 4}, "auto", "gptq")


def test_a_merge_for_nf4_stays_in_16_bits(tiny_model_dir, monkeypatch):
    def refuses(*_):
        raise ConfigError("was merged with --mode nf4")

    monkeypatch.setattr(memory.lineage, "check_quantisable", refuses)
    assert memory.allowed(Origin(tiny_model_dir), None, "auto", None) == (16,)


def test_a_tier_of_this_machine(tiny_model_dir):
    tier = memory.settle(Origin(tiny_model_dir), 1, max_new_tokens=64)
    assert (tier.quantisation, tier.device_map, tier.need.name) == (None, None, "16-bit")
    with pytest.raises(
        ConfigError, match=r"--memory_gb 0.1: no precision fits 0.1 GB; .* take a smaller model, or --mem"
    ):
        memory.settle(Origin(tiny_model_dir), 0.1, max_new_tokens=64)

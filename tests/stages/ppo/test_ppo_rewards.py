"""What rewards the answers of ppo_training.py: reward models of its own base and of others, verifiable rewards.

sh run_tests.sh tests/stages/ppo/test_ppo_rewards.py
"""

import pytest
import torch

import ppo_training
from bedside import lineage
from tests.stages.files import history
from tests.stages.ppo.runs import first_rewards, flags


def test_a_shared_reward_model_scores_as_one_by_itself(sft, rm, data, tmp_path, monkeypatch, tiny_tokenizer):
    # A text that its template writes again as it was.
    said = tiny_tokenizer("<think>\n\n</think>\n\nRest and drink.<|im_end|>")["input_ids"]

    def drawn(model, prompts, mask, drawing, *args):
        return torch.tensor([said + [drawing.pad] * (drawing.longest - len(said))] * len(prompts))

    monkeypatch.setattr("bedside.ppo.rollout.draw", drawn)
    scored = []
    for share in ("yes", "no"):
        output = tmp_path / share
        ppo_training.main(flags(sft, data, output, "--reward_model_path", rm, "--share_reward_base", share,
                                "--total_episodes", "8", "--response_length", "40"))  # fmt: skip
        scored.append(first_rewards(output)["reward_model"])
        assert lineage.read(output)["inputs"]["rewards"]["reward_model"]["shared"] == (share == "yes")
    assert scored[0] == pytest.approx(scored[1], abs=1e-5) and scored[0] != 0.0


def test_a_reward_model_of_another_base_reads_answers_in_its_own_template(sft, stranger, data, tmp_path):
    output = tmp_path / "out"
    ppo_training.main(flags(sft, data, output, "--reward_model_path", stranger, "--reward_model_weight", "0.5",
                            "--missing_eos_penalty", "None"))  # fmt: skip
    first = history(output)[0]
    assert first["reward"] == pytest.approx(0.5 * first["rewards/reward_model"])
    assert lineage.read(output)["inputs"]["rewards"]["reward_model"]["shared"] is False


def test_verifiable_rewards_alone_and_beside_a_reward_model(sft, rm, data, tmp_path, capsys):
    ppo_training.main(flags(sft, data, tmp_path / "alone", "--total_episodes", "8"))
    assert first_rewards(tmp_path / "alone").keys() == {"accuracy", "format"}
    more = ("--reward_model_path", rm, "--reward_model_weight", "2", "--reward_funcs", "format",
            f"{data.parent}/toy.py:sums", "--reward_weights", "0.5", "3", "--missing_eos_penalty", "0")  # fmt: skip
    ppo_training.main(flags(sft, data, tmp_path / "both", *more, "--total_episodes", "8"))
    found = first_rewards(tmp_path / "both")
    assert found.keys() == {"reward_model", "format", "sums"}
    total = 2 * found["reward_model"] + 0.5 * found["format"] + 3 * found["sums"]
    assert history(tmp_path / "both")[0]["reward"] == pytest.approx(total, abs=1e-5)
    said = capsys.readouterr().err
    assert "rm (an adapter on the policy's base) x 2, format x 0.5, sums x 3" in said
    assert "reward accuracy: gold 1.00, shuffled 0.00" in said, "verifiable rewards test themselves first"

"""Rollouts by a server: what it is asked, when weights are handed over, how far its numbers are from the trainer's.

sh run_tests.sh tests/ppo/test_served.py
"""

import pytest
import torch

from bedside.ppo import rollout
from bedside.ppo.served import Served


class Sampler:
    """Stands for VLLMSampler: notes what it is asked, answers with one token and the stop."""

    def __init__(self):
        self.synced, self.asked, self.closed, self.logps = [], [], 0, []

    def sync(self, model, version):
        self.synced.append(version)
        return version

    def follow(self, handed):
        assert handed == self.synced[-1]

    def complete(self, prompt_ids, longest, temperature, stops, seeds):
        self.asked.append((prompt_ids, longest, temperature, stops, seeds))
        self.logps = [[-0.5, -0.25] for _ in prompt_ids]
        return [[7, 2] for _ in prompt_ids]

    def close(self):
        self.closed += 1


PROMPTS, MASK = torch.tensor([[0, 5, 6], [3, 4, 5]]), torch.tensor([[0, 1, 1], [1, 1, 1]])
DRAWING = rollout.Drawing(4, 0.7, (2,), 0)


def test_answers_are_padded_and_prompts_are_sent_without_padding():
    sampler = Sampler()
    drawn = Served(sampler).draw(None, PROMPTS, MASK, DRAWING, [11, 1 << 40 | 12], 0)
    assert drawn.tolist() == [[7, 2, 0, 0]] * 2
    assert sampler.asked == [([[5, 6], [3, 4, 5]], 4, 0.7, [2], [11, 12])]  # seeds in vLLM's range


def test_weights_are_handed_over_once_a_step_and_again_after_closing():
    sampler = Sampler()
    served = Served(sampler)
    for step in (0, 0, 4):
        served.draw(None, PROMPTS, MASK, DRAWING, [1, 2], step)
    served.close()
    served.draw(None, PROMPTS, MASK, DRAWING, [1, 2], 4)
    assert sampler.synced == [0, 4, 4] and sampler.closed == 1


def test_gaps_are_the_policys_log_probabilities_less_the_servers():
    sampler = Sampler()
    served = Served(sampler)
    served.draw(None, PROMPTS, MASK, DRAWING, [1, 2], 0)
    batch = {"logps": torch.tensor([[-0.4, -0.25, 0.0], [-0.5, -0.5, 0.0]]), "mask": torch.tensor([[1, 1, 0]] * 2)}
    made = rollout.Rollout([batch], [torch.tensor([1, 0])])
    torch.testing.assert_close(served.gaps(made), torch.tensor([0.1, 0.0, 0.0, -0.25]))
    sampler.logps = [[], []]  # a server that does not say
    assert served.gaps(made).tolist() == []


def test_a_row_of_other_length_is_no_gap():
    sampler = Sampler()
    served = Served(sampler)
    served.draw(None, PROMPTS, MASK, DRAWING, [1, 2], 0)
    sampler.logps[0] = [-0.5]
    batch = {"logps": torch.tensor([[-0.4, -0.25]] * 2), "mask": torch.tensor([[1, 1]] * 2)}
    assert served.gaps(rollout.Rollout([batch], [torch.tensor([0, 1])])).tolist() == pytest.approx([0.1, 0.0])

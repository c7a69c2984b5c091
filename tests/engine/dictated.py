"""What the tests of engines share: chats, settings, a model that says what is dictated, and its stream as a page
shows it.
"""

import functools

from bedside.answers import Answer, Sampling
from bedside.thoughts import Delta

GREEDY = Sampling(max_new_tokens=12, temperature=0)
HOT = Sampling(max_new_tokens=24, temperature=1.5, seed=7)
CHAT = [{"role": "user", "content": "Fever?"}]
SHORT = [{"role": "user", "content": "咳嗽怎么办？"}]
LONG = [{"role": "user", "content": "The patient has had a fever and a cough for three days. What should be done?"}]
SYSTEM = [{"role": "system", "content": "Be brief."}]


class Dictated:
    """Stands for a model's `forward`: the likeliest token is the next one dictated, whatever the one prompt, which is
    noted. `breaks` is raised when all has been dictated."""

    def __init__(self, forward, ids, breaks=None):
        self.forward, self.ids, self.breaks = forward, ids, breaks
        self.prompts, self.at = [], 0
        functools.update_wrapper(self, forward)  # `generate` looks at its parameters

    def __call__(self, input_ids=None, **given):
        if input_ids.shape[1] > 1:
            self.prompts.append(input_ids[0].tolist())
            self.at = 0
        if self.at >= len(self.ids) and self.breaks:
            raise self.breaks
        out = self.forward(input_ids=input_ids, **given)
        out.logits[:, -1] = -1e4
        out.logits[:, -1, self.ids[min(self.at, len(self.ids) - 1)]] = 1e4
        self.at += 1
        return out


def run(stream):
    """Deltas and Answer of a stream."""
    *deltas, last = stream
    assert all(isinstance(delta, Delta) for delta in deltas)
    assert isinstance(last, Answer)
    return deltas, last


def put_together(deltas):
    """Thought and answer of deltas, as a page shows them."""
    shown = {"thought": "", "answer": ""}
    for delta in deltas:
        if delta.kind == "was_thought":
            shown = {"thought": shown["answer"], "answer": ""}
        else:
            shown[delta.kind] += delta.text
    return shown["thought"], shown["answer"]

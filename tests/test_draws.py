"""The next tokens of a batch: each row by its own settings, as transformers orders them.

sh run_tests.sh tests/test_draws.py
"""

import torch
from transformers import RepetitionPenaltyLogitsProcessor, TopKLogitsWarper, TopPLogitsWarper

from bedside import draws
from bedside.answers import Sampling
from bedside.draws import Row


def test_numbers_belong_to_their_seed():
    assert draws.numbers(7, 5)[:3] == draws.numbers(7, 3)
    assert draws.numbers(7, 3) != draws.numbers(8, 3)
    assert draws.numbers(-1, 1) != draws.numbers(1, 1)
    assert all(0 <= number < 1 for number in draws.numbers(2**80, 100))


def test_temperature_0_takes_the_likeliest():
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    assert draws.tokens(logits, [Row(Sampling(temperature=0), [], 0.99)] * 2) == [1, 0]


def test_a_draw_takes_each_token_as_often_as_its_probability():
    chances = torch.tensor([0.1, 0.2, 0.3, 0.4])
    rows = [Row(Sampling(temperature=1.0, top_p=1.0), [], (i + 0.5) / 1000) for i in range(1000)]
    found = torch.tensor(draws.tokens(chances.log().expand(1000, 4), rows)).bincount(minlength=4)
    assert found.tolist() == [100, 200, 300, 400]


def test_the_tokens_that_are_left_are_those_of_transformers():
    torch.manual_seed(0)
    logits = torch.randn(4, 50) * 3
    seen = torch.randint(50, (4, 8))
    wishes = [Sampling(0, 0.7, 0.5, 0, 1.0), Sampling(0, 1.3, 1.0, 5, 1.4), Sampling(0, 1.0, 0.9, 9, 0.8),
              Sampling(0, 1.0, 0.01, 0, 1.0)]  # fmt: skip
    for row, wish in enumerate(wishes):
        scores = RepetitionPenaltyLogitsProcessor(wish.repetition_penalty)(seen[row : row + 1], logits[row : row + 1])
        scores = scores / wish.temperature
        if wish.top_k:
            scores = TopKLogitsWarper(wish.top_k)(None, scores)
        if wish.top_p < 1:
            scores = TopPLogitsWarper(wish.top_p)(None, scores)
        cumulated = scores.double().softmax(-1).cumsum(-1)[0]
        numbers = [i / 40 for i in range(40)]
        wanted = torch.searchsorted(cumulated, torch.tensor(numbers).double() * cumulated[-1], right=True).tolist()
        found = [
            draws.tokens(logits, [Row(w, seen[i].tolist(), number) for i, w in enumerate(wishes)])[row]
            for number in numbers
        ]
        assert found == wanted, wish

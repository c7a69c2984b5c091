"""The benchmark of multiple-choice questions makes the questions that it says.

sh run_tests.sh tests/benchmarks/test_bench_choice.py
"""

from benchmarks import bench_choice


def test_options_turn_round_and_the_right_one_goes_with_them():
    made = bench_choice.questions(162)
    first, again = made[0], made[160]
    assert first["question"].startswith("1. ") and again["question"].startswith("161. ")
    assert list(first["options"].values())[0] == list(again["options"].values())[-1]
    assert len({row["id"] for row in made}) == 162
    assert all(row["options"][row["answer_idx"]] == row["answer"] for row in made)

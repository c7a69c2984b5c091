"""Packing: never over capacity, every sample once, and as few rows as best-fit-decreasing gives."""

import random

import numpy as np
import pytest

from bedside.data import samples
from bedside.data.pack import best_fit


def naive(lengths, capacity):
    """Best-fit-decreasing by looking at every bin; the number of bins."""
    spaces = []
    for length in sorted(lengths, reverse=True):
        fitting = [i for i, space in enumerate(spaces) if space >= length]
        if fitting:
            spaces[min(fitting, key=lambda i: spaces[i])] -= length
        else:
            spaces.append(capacity - length)
    return len(spaces)


def fewest(lengths, capacity):
    """The least possible number of bins, by trying everything."""
    best = len(lengths)

    def place(index, spaces):
        nonlocal best
        if len(spaces) >= best:
            return
        if index == len(lengths):
            best = len(spaces)
            return
        for i in range(len(spaces)):
            if spaces[i] >= lengths[index]:
                place(index + 1, spaces[:i] + [spaces[i] - lengths[index]] + spaces[i + 1 :])
        place(index + 1, [*spaces, capacity - lengths[index]])

    place(0, [])
    return best


def test_by_hand():
    bins = lambda *given: [bin.tolist() for bin in best_fit(*given)]  # noqa: E731
    assert bins([5, 3, 2, 6], 8) == [[3, 2], [0, 1]]
    assert bins([], 8) == []
    assert bins([8], 8) == [[0]]
    assert bins([1, 1, 1], 1) == [[0], [1], [2]]


@pytest.mark.parametrize("lengths", [[9], [0], [-1]])
def test_what_fits_nowhere_is_an_error(lengths):
    with pytest.raises(ValueError, match=f"sample 0 has {lengths[0]} tokens, a row holds 8"):
        best_fit(lengths, 8)


def test_against_brute_force():
    rng = random.Random(3)
    for _ in range(300):
        capacity = rng.randint(1, 12)
        lengths = [rng.randint(1, capacity) for _ in range(rng.randint(0, 7))]
        bins = best_fit(lengths, capacity)
        assert sorted(i for group in bins for i in group) == list(range(len(lengths)))
        assert all(sum(lengths[i] for i in group) <= capacity for group in bins)
        assert len(bins) == naive(lengths, capacity)
        assert len(bins) <= 11 / 9 * fewest(lengths, capacity) + 1


def test_twenty_thousand_samples_are_packed_at_once():
    rng = random.Random(0)
    lengths = [min(2048, int(rng.lognormvariate(5.5, 0.8)) + 1) for _ in range(20_000)]
    bins = best_fit(lengths, 2048)
    assert sum(lengths) / (2048 * len(bins)) > 0.99


def samples_of(*made):
    """Samples from `(ids, trained positions)`."""
    ids = np.array([i for some, _ in made for i in some], np.int32)
    trained = np.array([place in places for some, places in made for place in range(len(some))], bool)
    return samples.Samples(ids, trained, np.cumsum([0, *(len(some) for some, _ in made)]))


SAMPLES = samples_of(([1, 2, 3], {1, 2}), ([4, 5, 6, 7, 8], {1, 4}), ([9, 10], {0}))


def test_flat_arrays():
    assert SAMPLES.ids.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert SAMPLES.offsets.tolist() == [0, 3, 8, 10]
    assert np.flatnonzero(SAMPLES.trained).tolist() == [1, 2, 4, 7, 8]
    taken = SAMPLES.take([2, 0])
    assert (taken.ids.tolist(), taken.offsets.tolist()) == ([9, 10, 1, 2, 3], [0, 2, 5])
    assert taken.trained.tolist() == [True, False, False, True, True]
    assert len(SAMPLES.take([])) == 0


def test_an_unpacked_dataset():
    assert samples.to_dataset(SAMPLES).to_dict() == {
        "input_ids": [[1, 2, 3], [4, 5, 6, 7, 8], [9, 10]],
        "labels": [[-100, 2, 3], [-100, 5, -100, -100, 8], [9, -100]],
    }


def test_a_packed_dataset():
    rows = samples.to_dataset(SAMPLES, 6, seed=1).to_dict()
    order = rows["seq_lengths"].index([5])
    assert rows["input_ids"][order] == [4, 5, 6, 7, 8]
    assert rows["labels"][order] == [-100, 5, -100, -100, 8]
    assert rows["input_ids"][1 - order] == [1, 2, 3, 9, 10]
    assert rows["labels"][1 - order] == [-100, 2, 3, 9, -100]
    assert rows["seq_lengths"][1 - order] == [3, 2]


def test_packing_loses_and_invents_no_token():
    rng = random.Random(5)
    made = samples_of(*(([rng.randrange(100) for _ in range(rng.randint(2, 30))], {1}) for _ in range(200)))
    packed = samples.to_dataset(made, 32, seed=9)
    assert sorted(packed.with_format("numpy")["input_ids"][0].tolist() + sum(packed["input_ids"][1:], [])) == sorted(
        made.ids.tolist()
    )
    assert all(
        sum(lengths) == len(ids) <= 32 for lengths, ids in zip(packed["seq_lengths"], packed["input_ids"], strict=True)
    )
    assert packed.to_dict() == samples.to_dataset(made, 32, seed=9).to_dict()
    assert packed.to_dict() != samples.to_dataset(made, 32, seed=8).to_dict()


@pytest.mark.parametrize("directory", [False, True])
def test_a_spool_gives_back_what_was_added_in_any_order(tmp_path, directory):
    spool = samples.Spool(tmp_path / "ids" if directory else None)
    for part in (SAMPLES.take([0, 1]), SAMPLES.take([2])):
        spool.add(part.ids.tobytes(), part.trained.tobytes(), part.lengths())
    made = spool.finished()
    assert (len(made), made.lengths().tolist()) == (3, [3, 5, 2])
    taken = made.take([2, 0, 2])
    assert (taken.ids.tolist(), taken.offsets.tolist()) == ([9, 10, 1, 2, 3, 9, 10], [0, 2, 5, 7])
    assert taken.trained.tolist() == [True, False, False, True, True, True, False]
    assert samples.to_dataset(made, 6, seed=1).to_dict() == samples.to_dataset(SAMPLES, 6, seed=1).to_dict()
    spool.close()
    assert not directory or list((tmp_path / "ids").iterdir()) == []


def test_a_dataset_of_some_samples():
    assert samples.to_dataset(SAMPLES, of=np.array([2, 0])).to_dict()["input_ids"] == [[9, 10], [1, 2, 3]]

"""Packing: which samples share a row. Boundaries are kept, so that samples in a row never see each other."""

from collections.abc import Sequence

import numpy as np


def best_fit(lengths: Sequence[int] | np.ndarray, capacity: int) -> list[np.ndarray]:
    """Best-fit-decreasing bins: arrays of indices into `lengths`, each bin's lengths summing to at most `capacity`.

    Runs in O(n log n + n * capacity / 64): a Python integer is the set of remaining spaces, one bit a size.
    Raises ValueError for a length that fits into no bin.

    >>> [bin.tolist() for bin in best_fit([5, 3, 2, 6], 8)]
    [[3, 2], [0, 1]]
    """
    lengths = np.asarray(lengths, np.int64)
    wrong = np.flatnonzero((lengths <= 0) | (lengths > capacity))
    if len(wrong):
        raise ValueError(f"sample {wrong[0]} has {lengths[wrong[0]]} tokens, a row holds {capacity}")
    longest_first = np.argsort(-lengths, kind="stable")
    bin_of = np.empty(len(lengths), np.int32)
    with_space: list[list[int]] = [[] for _ in range(capacity + 1)]  # remaining space -> bins that have it
    spaces = bins = 0
    for place, length in enumerate(map(int, lengths[longest_first])):
        fitting = spaces >> length
        if fitting:
            space = length + (fitting & -fitting).bit_length() - 1  # the smallest space that is large enough
            chosen = with_space[space].pop()
            if not with_space[space]:
                spaces &= ~(1 << space)
        else:
            space, chosen = capacity, bins
            bins += 1
        bin_of[place] = chosen
        left = space - length
        if left:
            with_space[left].append(chosen)
            spaces |= 1 << left
    by_bin = np.argsort(bin_of, kind="stable")
    ends = np.cumsum(np.bincount(bin_of, minlength=bins))[:-1]
    return np.split(longest_first[by_bin].astype(np.int32), ends) if bins else []

"""Packing: which samples share a row. Boundaries are kept, so that samples in a row never see each other."""

from collections.abc import Sequence


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Best-fit-decreasing bins: lists of indices into `lengths`, each bin's lengths summing to at most `capacity`.

    Runs in O(n log n + n * capacity / 64): a Python integer is the set of remaining spaces, one bit a size.

    >>> best_fit([5, 3, 2, 6], 8)
    [[3, 2], [0, 1]]
    """
    bins: list[list[int]] = []
    with_space: list[list[int]] = [[] for _ in range(capacity + 1)]  # remaining space -> bins that have it
    spaces = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[index]
        if not 0 < length <= capacity:
            raise ValueError(f"sample {index} has {length} tokens, a row holds {capacity}")
        fitting = spaces >> length
        if fitting:
            space = length + (fitting & -fitting).bit_length() - 1  # the smallest space that is large enough
            chosen = with_space[space].pop()
            if not with_space[space]:
                spaces &= ~(1 << space)
        else:
            space, chosen = capacity, len(bins)
            bins.append([])
        bins[chosen].append(index)
        left = space - length
        if left:
            with_space[left].append(chosen)
            spaces |= 1 << left
    return bins

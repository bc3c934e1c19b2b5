"""Palindromes: read input_length digits, predict the next one. The answer is the first digit read.

    input_length = 5, so a palindrome has 6 digits and its half 3:

        half            mirrored
        3   1   4   |   4   1   3
        `------- digits -----'  `-- target, equal to the first digit
          (what is read)

    input_length = 4, so a palindrome has 5 digits; its half has 3 and the middle digit is not repeated:

        3   1   4   |   1   3

    all palindromes of a data set, one a row, uint8, (total_len, input_length + 1):

        +--------------------------+------------+     +------------------+
        | train   (train_portion)  | validation |     | test: fresh ones |
        +--------------------------+------------+     +------------------+
          a seeded permutation of total_len rows        in neither split

The data set is the one of the course exercise: the halves are
numpy.random.default_rng(42).choice(10**half, total_len, replace=False), written with leading zeros.
"""

import numpy as np
import torch

from files import InputError

MAX_INPUT_LENGTH = 1000
MAX_TOTAL_LEN = 1_000_000
TEST_LEN = 10_000
INT64_DIGITS = 18  # 10**18 is the largest power of ten in an int64: beyond it choice() overflows
LISTED_DIGITS = 6  # up to 10**6 halves can be listed at once; beyond, most of them are free and a draw finds one


def half_length(input_length):
    """Digits that fix a palindrome of input_length + 1 digits: ceil((input_length + 1) / 2)."""
    return (input_length + 2) // 2


def sizes(input_length, total_len, train_portion):
    """Rows of (train, validation, test); total_len is cut to the 10**half palindromes that exist.

    The test set has up to TEST_LEN rows and is empty where train and validation hold every palindrome.
    Raises InputError for a portion that leaves a split empty.
    """
    exist = 10 ** half_length(input_length)
    total_len = min(total_len, exist)
    train_len = round(train_portion * total_len)
    if not 0 < train_len < total_len:
        empty = "training" if train_len <= 0 else "validation"
        raise InputError(f"--train-portion {train_portion}: it leaves no palindromes for {empty}")
    return train_len, total_len - train_len, min(exist - total_len, TEST_LEN)


def to_digits(halves, half):
    """Whole numbers (count) -> their decimal digits with leading zeros, uint8 (count, half)."""
    return (halves[:, None] // 10 ** np.arange(half - 1, -1, -1) % 10).astype(np.uint8)


def draw_digits(rng, count, half, taken):
    """Distinct rows of uniform digits, none of them in `taken`: uint8 (count, half).

    For halves too many to list: doubles are rare there, so drawing again until there are enough takes one round or two.
    """
    rows = taken
    while len(rows) < len(taken) + count:
        rows = np.concatenate([rows, rng.integers(0, 10, (count, half), dtype=np.uint8)])
        first = np.unique(rows, axis=0, return_index=True)[1]
        rows = rows[np.sort(first)]  # the order of drawing: sorted rows would favour small first digits
    return rows[len(taken) : len(taken) + count]


def draw_halves(input_length, total_len, data_seed=42):
    """The distinct halves of a data set: uint8 (total_len, half), the exercise's own up to input_length 35."""
    half = half_length(input_length)
    rng = np.random.default_rng(data_seed)
    if half > INT64_DIGITS:
        return draw_digits(rng, total_len, half, taken=np.empty((0, half), np.uint8))
    return to_digits(rng.choice(10**half, total_len, replace=False), half)


def draw_fresh_halves(taken, count, data_seed=42):
    """`count` distinct halves that `taken` (rows, half) does not hold: uint8 (count, half)."""
    half = taken.shape[1]
    rng = np.random.default_rng([data_seed, 1])  # a stream of its own: the data set stays the exercise's
    if half > LISTED_DIGITS:
        return draw_digits(rng, count, half, taken)
    free = np.ones(10**half, bool)
    free[taken @ 10 ** np.arange(half - 1, -1, -1)] = False
    return to_digits(rng.choice(np.flatnonzero(free), count, replace=False), half)


def mirror(halves, input_length):
    """Halves (rows, half) -> palindromes (rows, input_length + 1)."""
    other = halves[:, ::-1]
    return np.concatenate([halves, other if input_length % 2 else other[:, 1:]], axis=1)


def draw(input_length, count, generator, device="cpu"):
    """`count` palindromes drawn anew, every digit of a half uniform: (digits, targets) on `device`, as in `load`.

    generator: a torch.Generator on the CPU. The draws are independent: a palindrome may come again, and it may be one
    that `load` holds in a split or in the test set. Up to input length 11 that is no rare case.
    """
    halves = torch.randint(0, 10, (count, half_length(input_length)), generator=generator, dtype=torch.uint8)
    rows = torch.from_numpy(mirror(halves.numpy(), input_length)).to(device)
    return rows[:, :-1].contiguous(), rows[:, -1].long()


def load(input_length, total_len=10_000, train_portion=0.8, data_seed=42, seed=0, device="cpu"):
    """The three splits, on `device`: {"train": (digits, targets), "validation": ..., "test": ...}.

    digits: uint8 (rows, input_length), values 0 to 9, an eighth of int64's memory: call .long() on a batch.
    targets: int64 (rows), the next digit. `data_seed` draws the palindromes, `seed` splits them.
    Raises InputError as `sizes` does.
    """
    train_len, validation_len, test_len = sizes(input_length, total_len, train_portion)
    halves = draw_halves(input_length, train_len + validation_len, data_seed)
    fresh = draw_fresh_halves(halves, test_len, data_seed)
    order = torch.randperm(len(halves), generator=torch.Generator().manual_seed(seed))
    rows = torch.from_numpy(mirror(halves, input_length))[order].to(device)
    test = torch.from_numpy(mirror(fresh, input_length)).to(device)
    parts = {"train": rows[:train_len], "validation": rows[train_len:], "test": test}
    return {name: (part[:, :-1].contiguous(), part[:, -1].long()) for name, part in parts.items()}

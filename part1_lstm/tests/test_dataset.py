"""The palindromes: the exercise's own, distinct, well spread, and split without overlap."""

import numpy as np
import pytest

import dataset
from utils import InputError

LENGTHS = [1, 2, 3, 5, 7, 8, 12, 25, 35, 36, 37, 100, 1000]


def rows_of(data):
    """Every split as whole palindromes, a list of bytes for each."""
    return {
        name: [bytes(row) + bytes([target]) for row, target in zip(digits.numpy(), targets.tolist(), strict=True)]
        for name, (digits, targets) in data.items()
    }


@pytest.mark.parametrize("input_length", LENGTHS)
def test_rows_are_palindromes_and_no_row_comes_twice(input_length):
    data = dataset.load(input_length, total_len=2000)
    assert [len(targets) for _, targets in data.values()] == list(dataset.sizes(input_length, 2000, 0.8))
    for digits, targets in data.values():
        assert digits.shape == (len(targets), input_length)
        assert (targets == digits[:, 0]).all()
    rows = [row for part in rows_of(data).values() for row in part]
    assert all(row == row[::-1] and len(row) == input_length + 1 and max(row) <= 9 for row in rows)
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize(
    ("input_length", "total_len"), [(1, 4), (3, 50), (4, 1000), (7, 10_000), (10, 10_000), (25, 300), (35, 10_000)]
)
def test_halves_are_the_exercise_s(input_length, total_len):
    half = -(-(input_length + 1) // 2)
    numbers = np.random.default_rng(42).choice(10**half, total_len, replace=False)
    expected = {str(number).zfill(half) for number in numbers.tolist()}
    data = dataset.load(input_length, total_len)
    rows = rows_of({name: data[name] for name in ("train", "validation")})
    found = {"".join(map(str, row[:half])) for part in rows.values() for row in part}
    assert found == expected


@pytest.mark.parametrize("input_length", [25, 36, 1000])
def test_first_digit_is_uniform(input_length):
    for digits, _ in dataset.load(input_length).values():
        share = digits[:, 0].long().bincount(minlength=10) / len(digits)
        assert ((share > 0.07) & (share < 0.13)).all()


@pytest.mark.parametrize(
    ("input_length", "total_len", "expected"),
    [
        (1, 10_000, (8, 2, 0)),
        (3, 10_000, (80, 20, 0)),
        (3, 50, (40, 10, 50)),
        (7, 10_000, (8000, 2000, 0)),
        (8, 10_000, (8000, 2000, 10_000)),
        (1000, 10_000, (8000, 2000, 10_000)),
    ],
)
def test_sizes_are_cut_to_what_exists(input_length, total_len, expected):
    assert dataset.sizes(input_length, total_len, 0.8) == expected


def test_seeds():
    """`seed` deals the same palindromes out anew; `data_seed` draws others."""
    base, same, dealt, drawn = (
        rows_of(dataset.load(25, 500, **seeds)) for seeds in ({}, {}, {"seed": 1}, {"data_seed": 1})
    )
    assert same == base
    assert dealt["train"] != base["train"]
    assert set(dealt["train"] + dealt["validation"]) == set(base["train"] + base["validation"])
    assert dealt["test"] == base["test"]
    assert not set(drawn["train"]) & set(base["train"])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ((0, 100, 0.8), "--input-length 0"),
        ((1001, 100, 0.8), "--input-length 1001"),
        ((5, 0, 0.8), "--total-len 0"),
        ((5, 10**9, 0.8), "--total-len 1000000000"),
        ((5, 100, 0.999), "no palindromes for validation"),
        ((5, 100, 0.001), "no palindromes for training"),
    ],
)
def test_impossible_sizes_are_named(options, named):
    with pytest.raises(InputError, match=named):
        dataset.load(*options)

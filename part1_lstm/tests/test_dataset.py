"""The palindromes: the exercise's own, distinct, well spread, and split without overlap."""

import numpy as np
import pytest
import torch

import dataset


def rows_of(data):
    """Every split as whole palindromes, a list of bytes for each."""
    return {name: [bytes(row) for row in np.column_stack(part).astype("uint8")] for name, part in data.items()}


@pytest.mark.parametrize("input_length", [1, 2, 3, 5, 7, 8, 12, 25, 35, 36, 37, 1000])
def test_rows_are_palindromes_and_no_row_comes_twice(input_length):
    data = dataset.load(input_length, total_len=2000)
    both = min(2000, exist := 10 ** -(-(input_length + 1) // 2))
    wanted = [both * 8 // 10, both * 2 // 10, min(exist - both, 10_000)]
    assert [len(targets) for _, targets in data.values()] == wanted
    for digits, targets in data.values():
        assert digits.shape == (len(targets), input_length)
        assert (targets == digits[:, 0]).all()
    rows = [row for part in rows_of(data).values() for row in part]
    assert all(row == row[::-1] and len(row) == input_length + 1 and max(row) <= 9 for row in rows)
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize(("input_length", "total_len"), [(1, 4), (3, 50), (7, 10_000), (10, 10_000), (35, 300)])
def test_halves_are_the_exercise_s(input_length, total_len):
    half = -(-(input_length + 1) // 2)
    numbers = np.random.default_rng(42).choice(10**half, total_len, replace=False)
    expected = {str(number).zfill(half) for number in numbers.tolist()}
    data = dataset.load(input_length, total_len)
    rows = rows_of({name: data[name] for name in ("train", "validation")})
    assert {"".join(map(str, row[:half])) for part in rows.values() for row in part} == expected


@pytest.mark.parametrize("input_length", [25, 36, 1000])
def test_first_digit_is_uniform(input_length):
    fresh = dataset.draw(input_length, 10_000, torch.Generator().manual_seed(0))
    for digits, _ in [*dataset.load(input_length).values(), fresh]:
        share = digits[:, 0].long().bincount(minlength=10) / len(digits)
        assert ((share > 0.07) & (share < 0.13)).all()


def test_seeds():
    """`seed` deals the same palindromes out anew; `data_seed` draws others."""
    base, dealt, drawn = (rows_of(dataset.load(25, 500, **seeds)) for seeds in ({}, {"seed": 1}, {"data_seed": 1}))
    assert dealt["train"] != base["train"]
    assert set(dealt["train"] + dealt["validation"]) == set(base["train"] + base["validation"])
    assert dealt["test"] == base["test"]
    assert not set(drawn["train"]) & set(base["train"])

"""The files that both parts share are the same in both, so that part 1's tests of them stand for both."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", ["claims.py", "files.py", "runs.py", "utils.py", "report.mplstyle"])
def test_twins(name):
    assert (ROOT / "part1_lstm" / name).read_bytes() == (ROOT / "part2_gan" / name).read_bytes()


def test_neither_part_imports_the_other():
    for part, other in ("part1_lstm", "part2_gan"), ("part2_gan", "part1_lstm"):
        for path in (ROOT / part).rglob("*.py"):
            assert other not in path.read_text(encoding="utf-8"), path

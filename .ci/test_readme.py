"""The front page: short, its links lead somewhere, and its numbers stand in the parts' READMEs, which check them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_size_and_links():
    assert len(README.encode()) <= 9216
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_numbers_of_the_findings_stand_in_the_parts_readmes():
    findings = README[README.index("- **Palindromes") : README.index("![Figure 1")]
    findings += README[README.index("## Findings") : README.index("Data: 1")]
    prose = re.sub(r"\[[^]]*\]\([^)]*\)|^\d\.", " ", findings, flags=re.MULTILINE)
    parts = " ".join((ROOT / part / "README.md").read_text() for part in ("part1_lstm", "part2_gan"))
    known = {number.rstrip(".,") for number in re.findall(r"[\d.][\d,.]*", parts)}
    assert {number.rstrip(".,") for number in re.findall(r"[\d.]*\d[\d,.]*", prose)} - known == set()


def test_files_of_the_map_exist():
    table = README[README.index("## Map") : README.index("Each part is self-contained")]
    for folder, names in re.findall(r"^\| `(part\d_\w+)/([^|]*)\|", table, flags=re.MULTILINE):
        for name in re.findall(r"\w+\.py", names):
            assert (ROOT / folder / name).exists(), name

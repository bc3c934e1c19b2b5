"""Both parts' utils.py are the same but for what differs by design, so that part 1's tests of it stand for both."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Part 2 has more than one data set.
BY_DESIGN = {"add_common_options", "add_folder_options", "choose_folders", "save_figure"}
ONLY_IN_PART_2 = {"TITLES", "subfolder", "label_plainly"}


def statements(part):
    """The top-level statements of a part's utils.py: {name that is defined, else the statement: its text}."""
    body = ast.parse((ROOT / part / "utils.py").read_text(encoding="utf-8")).body
    names = [getattr(node, "name", None) or ast.unparse(getattr(node, "targets", node)) for node in body]
    return dict(zip(names, map(ast.unparse, body), strict=True))


def test_utils_differ_by_design_alone():
    first, second = statements("part1_lstm"), statements("part2_gan")
    assert {name for name in first if first[name] != second.get(name)} == BY_DESIGN
    assert second.keys() - first.keys() == ONLY_IN_PART_2

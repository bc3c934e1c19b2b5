"""Counting the report's statements by the rules of report.py, and writing them down. The same file in both parts."""

import os
import statistics

import files
import utils

SIDES = ("code", "text")


def verdict(truths):
    """What a list of true and false says: {"k", "n", "verdict"}; below five units no verdict, without units None."""
    k, n = sum(truths), len(truths)
    words = "" if n < 5 else "yes" if 6 * k >= 5 * n else "no" if 6 * k <= n else "mixed"
    return {"k": k, "n": n, "verdict": words} if n else None


def count(claims, rows):
    """Every claim with its counts: {id: {"says", "rule", "unit", "code", "text"}}; None where a study was not run."""
    found = {}
    for name, (says, rule, unit, truths) in claims.items():
        found[name] = {"says": says, "rule": rule, "unit": unit}
        for side in SIDES:
            try:
                found[name][side] = truths and verdict([bool(true) for true in truths(rows, side)])
            except (KeyError, IndexError, StopIteration, statistics.StatisticsError):  # or not in full
                found[name][side] = None
    return found


def agreement(found, path):
    """How far the counts have the same majority as those in the repository's claims.json: lines, the sum at the end."""
    lines, total = [], 0
    for name, of in (files.load(path, "claims")["claims"] if path.exists() else {}).items():
        for side in SIDES:
            ours, theirs = found.get(name, {}).get(side), of[side]
            if ours and theirs:
                total += 1
                if (2 * ours["k"] > ours["n"]) != (2 * theirs["k"] > theirs["n"]):
                    counts = f"{ours['k']} of {ours['n']} here, {theirs['k']} of {theirs['n']} in the repository"
                    lines.append(f"{name}, {side}: {counts}")
    return [*lines, f"{utils.HERE.name}: {total - len(lines)} of {total} counts agree with the repository's"]


def write(found, title, text, captions, figures, path):
    """Write title, text, the table of claims and the figures {name: caption} in the folder `figures` as Markdown."""
    lines = [f"# {title}", "", text, "", "| the report says | rule | unit | code | text |", "| --- " * 5 + "|"]
    for of in found.values():
        counts = [f"{c['verdict']} {c['k']} of {c['n']}".strip() if (c := of[side]) else "" for side in SIDES]
        lines.append(f"| {' | '.join([of['says'], of['rule'], of['unit'], *counts])} |")
    for name, caption in captions.items():
        if (figures / f"{name}.png").exists():
            lines += ["", f"![{name}]({os.path.relpath(figures / name, path.parent)}.png)", "", f"*{caption}*"]
    with files.written_whole(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(title, text, claims, captions, load):
    """Count, print, and write OUT_DIR/claims.json and OUT_DIR/report.md; load(folder) gives the rows by study."""
    parser = utils.Parser("Count how often each statement of the report is true.")
    utils.add_folders(parser)
    args = parser.parse_args()
    rows = load(args.out_dir)
    if not any(rows.values()):
        raise files.InputError(f"{args.out_dir}: no study's rows are here; run a study first")
    found = count(claims, rows)
    for name, of in found.items():
        counts = [f"{side} {c['k']} of {c['n']} {c['verdict']}".strip() for side in SIDES if (c := of[side])]
        print(f"{name}: {'; '.join(counts) or 'not counted'}")
    print(*agreement(found, utils.RESULTS / "claims.json"), sep="\n")
    files.save(args.out_dir / "claims.json", {"claims": found, "commit": utils.commit()})
    write(found, title, text, captions, args.figures_dir, args.out_dir / "report.md")

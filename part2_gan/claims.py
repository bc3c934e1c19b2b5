"""Counting the report's statements by the rules of report.py, and writing them down. The same file in both parts."""

import os
import statistics

import files
import utils

SIDES = ("code", "text")


def verdict(truths):
    """What a list of true and false says: {"k", "n", "verdict"}; below five units no verdict, without units None."""
    k, n = sum(truths), len(truths)
    text = "" if n < 5 else "yes" if 6 * k >= 5 * n else "no" if 6 * k <= n else "mixed"
    return {"k": k, "n": n, "verdict": text} if n else None


def count(claims, rows):
    """Every claim with its counts: {id: {"says", "rule", "unit", "code", "text"}}; None where a study was not run."""
    counts = {}
    for name, (says, rule, unit, truths) in claims.items():
        counts[name] = {"says": says, "rule": rule, "unit": unit}
        for side in SIDES:
            try:
                counts[name][side] = truths and verdict([bool(true) for true in truths(rows, side)])
            except (KeyError, IndexError, StopIteration, statistics.StatisticsError):  # or not in full
                counts[name][side] = None
    return counts


def agreement(counts, path):
    """How far the counts have the same majority as those in the repository's claims.json: lines, the sum at the end."""
    lines, total = [], 0
    for name, claim in (files.load(path, "claims")["claims"] if path.exists() else {}).items():
        for side in SIDES:
            ours, theirs = counts.get(name, {}).get(side), claim[side]
            if ours and theirs:
                total += 1
                if (2 * ours["k"] > ours["n"]) != (2 * theirs["k"] > theirs["n"]):
                    here = f"{ours['k']} of {ours['n']} here"
                    lines.append(f"{name}, {side}: {here}, {theirs['k']} of {theirs['n']} in the repository")
    return [*lines, f"{utils.HERE.name}: {total - len(lines)} of {total} counts agree with the repository's"]


def write(counts, title, text, captions, figures, path):
    """Write title, text, the table of claims and the figures {name: caption} in the folder `figures` as Markdown."""
    lines = [f"# {title}", "", text, "", "| the report says | rule | unit | code | text |", "| --- " * 5 + "|"]
    for claim in counts.values():
        sides = [f"{c['verdict']} {c['k']} of {c['n']}".strip() if (c := claim[side]) else "" for side in SIDES]
        lines.append(f"| {' | '.join([claim['says'], claim['rule'], claim['unit'], *sides])} |")
    for name, caption in captions.items():
        if (figures / f"{name}.png").exists():
            lines += ["", f"![{name}]({os.path.relpath(figures / name, path.parent)}.png)", "", f"*{caption}*"]
    with files.written_whole(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(title, text, claims, captions, load):
    """Count, and write OUT_DIR/claims.json and OUT_DIR/report.md; load(folder) gives the rows by study."""
    parser = utils.Parser("Count how often each statement of the report is true.")
    utils.add_folders(parser)
    args = parser.parse_args()
    rows = load(args.out_dir)
    if not any(rows.values()):
        raise files.InputError(f"{args.out_dir}: no study's rows are here; run a study first")
    counts, path = count(claims, rows), args.out_dir / "report.md"
    lines = agreement(counts, utils.RESULTS / "claims.json")  # which the next line may replace
    files.save(args.out_dir / "claims.json", {"claims": counts, "commit": utils.commit()})
    write(counts, title, text, captions, args.figures_dir, path)
    print(path, *lines, sep="\n")

#!/usr/bin/env python3
"""Prints what of the header was called against sandboxd, by generation of the API.

`coverage.py PROGRAM` runs PROGRAM (calls.c) beside a sandboxd of each generation and
holds what it printed against the table of the README's "Every call": a call marked
there must have worked, any other must be said to be missing by the server. A call
of the header that is not in that table, or never was made, is a hole: status 1.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GENERATIONS = ["2026-04-a", "2026-04-b", "current"]
HEADERS = ["error.h", "api.h", "langsmith.h", "langsmith_config.h", "langsmith_snapshots.h", "langsmith_urls.h", "langsmith_legacy.h", "tunnel.h"]
# The first upload is refused once, for sbx_rewind.
FAULT = "--fault=status=503:count=1:path=upload"
# What is worked with needs the other one's answer, so it is not asked where that is missing.
NEEDS = {"sbx_fetch": "sbx_download_url", "sbx_fetch_stat": "sbx_download_url"}


def declared():
    """What is called; a function that gives a private type is named in an option."""
    names = []
    for header in HEADERS:
        with open(os.path.join(ROOT, "src", header)) as f:
            names += re.findall(r"^SBX_API (?!const struct sbxi_)[^;(]*?\b(sbx_\w+)\(", f.read(), re.M)
    return names


def documented():
    """call -> the generations that the README says it works in."""
    with open(os.path.join(ROOT, "README.md")) as f:
        section = f.read().split("\n## Every call\n", 1)[1].split("\n## ", 1)[0]
    table = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 2 + len(GENERATIONS):
            for name in re.findall(r"`(sbx_\w+)`", cells[1]):
                table[name] = {g for g, cell in zip(GENERATIONS, cells[2:]) if cell == "yes"}
    return table


def made(program, generation):
    """call -> the codes it ended with."""
    runner = os.path.join(ROOT, "tests/build/with_sandboxd.py")
    done = subprocess.run([sys.executable, runner, f"--generation={generation}", FAULT, program], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"coverage: {program} ended with {done.returncode} against {generation}")
    codes = {}
    for line in done.stdout.splitlines():
        name, code = line.split("\t")[:2]
        codes.setdefault(name, set()).add(code)
    return codes


def judge(name, expected, codes):
    """What the table shows, and whether it is as it should be."""
    got = codes.get(name, set())
    if expected:
        return ("works", True) if got == {"SBX_OK"} else (" ".join(sorted(got)) or "NOT MADE", False)
    if not got and "SBX_OK" not in codes.get(NEEDS.get(name), {"SBX_OK"}):
        return "-", True
    return ("-", True) if got == {"SBX_ERR_NO_ENDPOINT"} else (" ".join(sorted(got)) or "NOT MADE", False)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    names, table = declared(), documented()
    results = {g: made(os.path.abspath(sys.argv[1]), g) for g in GENERATIONS}
    holes = [f"{name}: not in the README's table" for name in names if name not in table]
    holes += [f"{name}: in the README's table, but not in the header" for name in table if name not in names]
    print(f"{'call':24}" + "".join(f"{g:12}" for g in GENERATIONS))
    for name in names:
        cells = [judge(name, g in table.get(name, set()), results[g]) for g in GENERATIONS]
        holes += [f"{name}: {cell} with {g}" for g, (cell, right) in zip(GENERATIONS, cells) if not right]
        print(f"{name:24}" + "".join(f"{cell:12}" for cell, _ in cells))
    for hole in holes:
        print("HOLE", hole)
    print(f"{len(names)} calls, {len(holes)} holes")
    sys.exit(1 if holes else 0)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Runs test suites, one line each, and closes with `N passed, N failed`.

    run.py [--jobs N] [--limit SECONDS] [--logs DIR] 'NAME|COMMAND'... [--then 'NAME|COMMAND'...]

Suites run side by side; what stands after --then waits for what stands before.
A suite is a shell command. Its output goes to DIR/NAME.log, and is shown when
it fails. How many tests it ran is read from that output (cmocka, Python's
unittest, node --test, or a line `N passed, N failed`); a suite that says nothing
of the kind counts as one test, and one that ends with status 77 as skipped. 'NAME@SECONDS|COMMAND' has a time limit of its own.
"""
import argparse
import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import time

SHOWN_LINES = 80
# AddressSanitizer's map of the memory around: long, and rarely what one needs first.
SHADOW = re.compile(r"(=>|  )0x[0-9a-f]+:|Shadow byte|  [A-Z][\w ]+:\s+[0-9a-f]{2}\b")


def count(log, status):
    """(passed, failed, skipped) by a suite's output and exit status."""
    numbers = lambda pattern: [int(n) for n in re.findall(pattern, log, re.M)]
    passed = failed = skipped = 0
    if status == 77:
        return 0, 0, 1
    own = re.findall(r"^(\d+) passed, (\d+) failed$", log, re.M)
    if own:
        passed, failed = map(int, own[-1])
    elif "[==========]" in log:
        # A group that crashes has no summary: then its finished tests count.
        failed = sum(numbers(r"^\[  FAILED  \] (\d+) test\(s\)"))
        skipped = sum(numbers(r"^\[  SKIPPED \] (\d+) test\(s\)"))
        passed = max(sum(numbers(r"^\[  PASSED  \] (\d+) test\(s\)")), len(re.findall(r"^\[       OK \]", log, re.M)))
    elif re.search(r"^Ran \d+ tests?", log, re.M):
        ran = sum(numbers(r"^Ran (\d+) tests?"))
        failed = sum(numbers(r"^FAILED .*?failures=(\d+)")) + sum(numbers(r"^FAILED .*?errors=(\d+)"))
        skipped = sum(numbers(r"^(?:OK|FAILED) .*?skipped=(\d+)"))
        passed = max(0, ran - failed - skipped)
    elif re.search(r"^(# |. )tests \d+$", log, re.M):
        passed, failed, skipped = (sum(numbers(rf"^(?:# |. ){word} (\d+)$")) for word in ("pass", "fail", "skipped"))
        failed += sum(numbers(r"^(?:# |. )cancelled (\d+)$"))
    elif status == 0:
        passed = 1
    if (status != 0 or passed == 0) and failed == 0:
        failed = 1  # it broke off, or ran nothing
    return passed, failed, skipped


def stop(process):
    """Ends a suite and what it started: first asks, so that it can clean up."""
    for sig, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, sig)
            process.wait(patience)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass


def run(name, command, limit, logs):
    path = os.path.join(logs, re.sub(r"[^\w.=-]+", "_", name) + ".log")
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    began = time.monotonic()
    late = False
    with open(path, "wb") as log:
        process = subprocess.Popen(["sh", "-c", command], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                   env=environment, start_new_session=True)
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            stop(process)
            status, late = 1, True
        except BaseException:
            stop(process)
            raise
    with open(path, encoding="utf-8", errors="replace") as f:
        text = f.read()
    passed, failed, skipped = count(text, status)
    words = f"{passed} passed" + (f", {failed} failed" if failed else "") + (f", {skipped} skipped" if skipped else "")
    line = f"{'FAIL' if failed else 'ok' if passed else 'skip':4}  {name:44}  {words:28}  {time.monotonic() - began:6.1f} s"
    if late:
        line += f"  (stopped after {limit} s)"
    if failed:
        lines = [x for x in text.splitlines() if not SHADOW.match(x)]
        cut = [f"[the first {len(lines) - SHOWN_LINES} lines: {path}]"] if len(lines) > SHOWN_LINES else []
        line += "".join(f"\n      | {x}" for x in cut + lines[-SHOWN_LINES:])
    return line, passed, failed


def main():
    arguments = argparse.ArgumentParser(usage=__doc__)
    arguments.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments.add_argument("--limit", type=int, default=300)
    arguments.add_argument("--logs", default="build/logs")
    options, rest = arguments.parse_known_args()
    os.makedirs(options.logs, exist_ok=True)
    groups = [[]]
    for word in rest:
        if word == "--then":
            groups.append([])
            continue
        head, _, command = word.partition("|")
        name, _, limit = head.partition("@")
        if not command.strip():
            arguments.error(f"not NAME|COMMAND: {word}")
        groups[-1].append((name, command.strip(), int(limit or options.limit)))
    if groups == [[]]:
        sys.exit("run.py: no suite to run")

    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for group in groups:
            for done in concurrent.futures.as_completed([pool.submit(run, *suite, options.logs) for suite in group]):
                line, p, f = done.result()
                passed, failed = passed + p, failed + f
                print(line, flush=True)
    summary = f"{passed} passed, {failed} failed"
    with open(os.path.join(options.logs, "summary"), "w") as f:
        f.write(summary + "\n")
    print(summary)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Instructions a byte, or a frame, of the codecs' workloads, beside the targets.

    run.py            prints the table
    run.py --check    and fails where a target is missed

Each build/count/count_X runs a workload inside a function count_…, whose
instructions callgrind counts, and prints `bytes=N`, `frames=N` for what it went
through. Counts, unlike times, are the same on a busy machine.
"""
import concurrent.futures
import os
import re
import subprocess
import sys

BUILD = os.environ.get("BUILD", "build")
# what, program, workload, unit, target
TARGETS = [
    ("JSON, WebSocket messages of 250 B", "count_json", "ws", "bytes", 3.5),
    ("JSON, 16 KiB with 3 % escapes", "count_json", "big_3", "bytes", 3.0),
    ("JSON, 16 KiB without escapes", "count_json", "big_0", "bytes", 2.0),
    ("a list of 100 sandboxes into structs", "count_model", "list", "bytes", 5),
    ("JSON, the same list, tokens only", "count_json", "list", "bytes", 5),
    ("JSON escaping, 25 % escapes", "count_json", "escape_25", "bytes", 4.0),
    ("JSON escaping, plain text", "count_json", "escape_0", "bytes", 2.0),
    ("WebSocket frames of 64 B", "count_ws", "text64", "frames", 70),
    ("masking, 16 KiB", "count_ws", "mask16k", "bytes", 0.6),
    ("HTTP/1.1 heads of 21 fields", "count_http1", "head", "bytes", 5),
    ("event streams, 16 KiB of base64 an event", "count_sse", "out16k", "bytes", 0.5),
    ("event streams, 64 B of base64 an event", "count_sse", "out64", "frames", 700),
    ("UTF-8, ASCII", "count_text", "utf8_ascii", "bytes", 0.4),
    ("UTF-8, 1 and 2 bytes mixed", "count_text", "utf8_latin", "bytes", 5),
    ("UTF-8, 3 bytes", "count_text", "utf8_cjk", "bytes", 5),
    ("UTF-8, 2 to 4 bytes mixed", "count_text", "utf8_mixed", "bytes", 5),
]
# What has no target: the first row's messages on to the caller's events and as
# tokens alone, and the inputs through libraries that do the like.
OTHERS = [
    ("JSON, WebSocket messages, on to events", "count_json", "events", "bytes"),
    ("JSON, WebSocket messages, tokens only", "count_json", "tokens", "bytes"),
    ("JSON, WebSocket messages of 250 B, jansson", "peer_json", "ws", "bytes"),
    ("JSON, 16 KiB with 3 % escapes, jansson", "peer_json", "big_3", "bytes"),
    ("JSON, 16 KiB without escapes, jansson", "peer_json", "big_0", "bytes"),
    ("JSON, lists of 100 sandboxes, jansson", "peer_json", "list", "bytes"),
    ("WebSocket frames of 64 B, wslay", "peer_ws", "text64", "frames"),
    ("yamux frames of 64 B, read and credited", "count_yamux", "data64", "frames"),
    ("the same, on 1,000 streams", "count_yamux", "data_1000", "frames"),
    ("heads of yamux frames", "count_yamux", "head", "frames"),
]


class Failed(Exception):
    pass


def measure(program, workload, unit):
    """Instructions a unit."""
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=count_*",
         os.path.join(BUILD, "count", program), workload],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    instructions = re.search(r"Collected *: *(\d+)", done.stderr)
    units = re.search(rf"\b{unit}=(\d+)", done.stdout)
    if done.returncode or not instructions or not units or not int(units.group(1)) or not int(instructions.group(1)):
        raise Failed(f"{program} {workload}: no count of {unit} (status {done.returncode})\n{done.stdout}{done.stderr}")
    return int(instructions.group(1)) / int(units.group(1))


def main():
    strict = sys.argv[1:] == ["--check"]
    missed = failed = 0
    rows = TARGETS + ([] if strict else [(*other, None) for other in OTHERS])
    print(f"{'work':44} {'reach':>7}  {'measured':>8}  ok")
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS") or os.cpu_count() or 1)) as pool:
        for (what, _, _, unit, target), result in [(row, pool.submit(measure, *row[1:4])) for row in rows]:
            reach = f"{what:44} {'-' if target is None else format(target, '.2f'):>7}  "
            try:
                value = result.result()
                ok = target is None or value <= target
                missed += not ok
                print(f"{reach}{value:8.2f}  {'' if target is None else 'yes' if ok else 'NO':3}  a {unit[:-1]}", flush=True)
            except (Failed, OSError) as problem:
                failed += 1
                print(f"{reach}{'-':>8}  NO   {problem}", flush=True)
    if strict:
        print(f"{len(rows) - missed - failed} passed, {missed + failed} failed")
    return 1 if failed or strict and missed else 0


if __name__ == "__main__":
    sys.exit(main())

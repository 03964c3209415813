"""Small checks run side by side: a name and a function that returns what is wrong."""
import concurrent.futures
import os
import re
import subprocess
import sys


def command(arguments, **options):
    """Runs a command; what it printed if it failed, None if it worked."""
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **options)
    return None if done.returncode == 0 else " ".join(arguments) + "\n" + done.stdout


def output(arguments):
    return subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True).stdout


def mistakes(text):
    """The errors in a compiler's output, without the places they are reported for."""
    return tuple(re.findall(r"error: .*", text)) or text


def shortened(text, limit=20):
    lines = text.rstrip().splitlines()
    more = [f"[{len(lines) - limit} more lines]"] if len(lines) > limit else []
    return "\n".join(lines[:limit] + more)


def run_all(checks):
    """checks: (name, function) pairs. Prints failures, the same mistake once in
    full, and the closing line; the exit status."""
    failed = 0
    seen = {}
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS") or os.cpu_count() or 1)) as pool:
        for name, result in [(name, pool.submit(function)) for name, function in checks]:
            wrong = result.result()
            if wrong:
                failed += 1
                first = seen.setdefault(mistakes(wrong), name)
                print(f"FAIL {name}" + (f"\n{shortened(wrong)}" if first == name else f": as {first}"), flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed")
    return 1 if failed or not checks else 0


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    return path


def main(checks):
    sys.exit(run_all(checks))

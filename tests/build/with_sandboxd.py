#!/usr/bin/env python3
"""Runs a command beside a sandboxd of its own: `with_sandboxd.py [--tls] [--OPTION=VALUE...] COMMAND...`.

sandboxd ($SANDBOXD, else the one in $BUILD, by default build/ of this
repository, to which a relative path is relative) gets a free port, an API key and a
state directory that goes away afterwards; the command finds LANGSMITH_ENDPOINT
and LANGSMITH_API_KEY in its environment, SANDBOXD_PID too. There is one Docker image,
`example/image:1`, with a file /opt/image/hello ("hello from the image\\n"), and the
stand-ins for BuildKit and Docker are first in every sandbox's PATH. With --tls it speaks
https, by a CA made on the spot: SANDBOXD_CA, which Node's and curl's variables
name as well, and SANDBOXD_CERT and SANDBOXD_KEY, for another sandboxd that the
command may start. Without it these are empty. Options with a value are sandboxd's
(--generation=2026-04-a). Whatever happens,
sandboxd is stopped and no process is left, which is checked. The exit status
is the command's.
"""
import ctypes
import itertools
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PR_SET_CHILD_SUBREAPER = 36
LISTENING = "listening on "


def children():
    """Processes below this one. Orphans count: this process inherits them."""
    own = str(os.getpid())
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                name, _, rest = f.read().partition("(")[2].rpartition(")")
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if parent == own and state != "Z":
            found.append((int(pid), name))
    return found


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def tail(path, lines=40):
    with open(path, errors="replace") as f:
        return "".join(f.readlines()[-lines:])


def started(server, said, seconds=20):
    """The URL that sandboxd prints when it is ready, None if it never does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with open(said) as f:
            for line in f:
                if LISTENING in line and line.endswith("\n"):
                    return line.split(LISTENING)[1].strip()
        if server.poll() is not None:
            return None
        time.sleep(0.02)
    return None


def stop(server, seconds=15):
    """True when it ended cleanly."""
    if server.poll() is None:
        server.terminate()
    try:
        return server.wait(seconds) in (0, -signal.SIGTERM)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
        return False


def make_image(folder):
    """The options for what stands in for images and for building them."""
    os.makedirs(os.path.join(folder, "image/opt/image"))
    with open(os.path.join(folder, "image/opt/image/hello"), "w") as f:
        f.write("hello from the image\n")
    return ["--image", "example/image:1=" + os.path.join(folder, "image"),
            "--tools", os.path.join(ROOT, "examples/sandboxd/tools")]


def make_tls(folder):
    """The variables that tell of a new CA and of a server's certificate."""
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tls"))
    import certs
    certs.make_server(folder)
    ca, cert, key = (os.path.join(folder, name) for name in ("ca.pem", "server.pem", "server.key"))
    return {"SANDBOXD_CA": ca, "SANDBOXD_CERT": cert, "SANDBOXD_KEY": key,
            "NODE_EXTRA_CA_CERTS": ca, "SSL_CERT_FILE": ca, "CURL_CA_BUNDLE": ca}


def main():
    command = sys.argv[1:]
    tls = command[:1] == ["--tls"]
    command = command[tls:]
    passed = list(itertools.takewhile(lambda word: re.match("--[a-z-]+=", word), command))
    command = command[len(passed):]
    if not command:
        sys.exit(__doc__)
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda number, frame: sys.exit(128 + number))
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    work = tempfile.mkdtemp(prefix="sandboxd-")
    said, log = os.path.join(work, "stdout"), os.path.join(work, "log")
    key = "lsv2_" + secrets.token_hex(16)
    program = os.environ.get("SANDBOXD") or os.path.join(ROOT, os.environ.get("BUILD") or "build", "sandboxd")
    wrong = []
    status = 1
    try:
        more = make_tls(work) if tls else dict.fromkeys(("SANDBOXD_CA", "SANDBOXD_CERT", "SANDBOXD_KEY"), "")
        options = ["--tls-cert", more["SANDBOXD_CERT"], "--tls-key", more["SANDBOXD_KEY"]] if tls else []
        with open(said, "w") as out, open(log, "w") as err:
            server = subprocess.Popen([program, "--listen", "127.0.0.1:0", "--api-key", key, "--state", os.path.join(work, "state"), *options, *passed, *make_image(work)],
                                      stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        try:
            url = started(server, said)
            if url is None:
                wrong.append("sandboxd did not start")
            else:
                environment = {k: v for k, v in os.environ.items() if not k.startswith(("LANGSMITH_", "LANGCHAIN_"))}
                environment.update(LANGSMITH_ENDPOINT=url, LANGSMITH_API_KEY=key, SANDBOXD_PID=str(server.pid), NO_PROXY="127.0.0.1", no_proxy="127.0.0.1", **more)
                status = subprocess.call(command, env=environment)
                if server.poll() is not None:
                    wrong.append(f"sandboxd ended on its own, status {server.returncode}")
        finally:
            if not stop(server):
                wrong.append(f"sandboxd did not end cleanly on SIGTERM (status {server.returncode})")
            end = time.monotonic() + 3
            while children() and time.monotonic() < end:
                reap()
                time.sleep(0.02)
            while children():  # what a killed one leaves comes here next
                for pid, name in children():
                    wrong.append(f"left behind: process {pid} ({name})")
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
            reap()
            if wrong:
                print(tail(log), end="", file=sys.stderr)
    except OSError as problem:
        wrong.append(f"{program}: {problem.strerror}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for line in wrong:
        print(f"with_sandboxd: {line}", file=sys.stderr)
    # A signal's number as a shell reports it.
    return 128 - status if status < 0 else status or bool(wrong)


if __name__ == "__main__":
    sys.exit(main())

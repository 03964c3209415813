#!/usr/bin/env python3
"""Makes sandbox.h of the parts in src/.

    amalgamate.py                        writes sandbox.h
    amalgamate.py --check                says whether sandbox.h is up to date
    amalgamate.py --with posix,files     puts transports into the file as well, and what they include
    amalgamate.py --without langsmith    leaves features out (SBX_NO_LANGSMITH 1)
    amalgamate.py -o FILE                writes FILE (- = standard output)

The tables below say what goes where. A file may include only files that stand
before it, by an exact `#include "name.h"`; those lines are dropped. System
includes stay. Nothing else is touched, so a line of sandbox.h is a line of src/.
"""
import argparse
import os
import re
import sys

# The declarations, in order.
PUBLIC = [
    "guide.h", "types.h", "error.h", "transport.h",
    "json.h", "http1.h", "ws.h", "sse.h", "yamux.h",
    "api.h",
    "langsmith_config.h", "langsmith.h",
    "langsmith_snapshots.h",
    "langsmith_urls.h",
    "langsmith_legacy.h",
    "tunnel.h",
]

# The implementation: part -> files, in order. A part's files carry its name.
PRIVATE = [
    ("base", ["base.h"]),
    ("pool", ["pool.h", "pool.c"]),
    ("timer", ["timer.h", "timer.c"]),
    ("text", ["text.h", "text.c"]),
    ("json", ["json_reader.h", "json_member.h", "json.c", "json_fast.c", "json_num.c", "json_write.c"]),
    ("http1", ["http1.c", "http1_write.c"]),
    ("ws", ["ws.c"]),
    ("sse", ["sse.c"]),
    ("yamux", ["yamux.c"]),
    ("model", ["model.h", "model.c", "model_encode.c"]),
    ("link", ["link.h", "link.c"]),
    ("op", ["op.h", "op.c", "op_exchange.c", "op_life.c"]),
    ("client", ["client.h", "client.c", "client_init.c"]),
    ("service", ["service.h", "service.c"]),
    ("langsmith", ["langsmith_stream.h", "langsmith_agent.c", "langsmith_boxes.c", "langsmith_command.c", "langsmith_config.c", "langsmith_execute.c", "langsmith_files.c", "langsmith_legacy.c", "langsmith_model.c", "langsmith_snapshots.c", "langsmith_sse.c", "langsmith_stream.c", "langsmith_urls.c"]),
    ("tunnel", ["tunnel_session.h", "tunnel.c", "tunnel_calls.c"]),
    ("ports", ["ports.c"]),
    ("await", ["await.c"]),
    ("open", ["open.c"]),
]

# transports/sandbox_NAME.h that --with can add, in order.
TRANSPORTS = ["posix", "proxy", "bearssl", "curl", "files", "listen", "tunnel", "context", "build"]

# feature -> files that --without leaves out altogether. Every SBX_NO_NAME that
# the sources know can be named to it; what stands here only saves more.
OPTIONAL = {
    "config": ["langsmith_config.c"],
    "legacy": ["langsmith_legacy.h", "langsmith_legacy.c"],
    "sse": ["sse.h", "sse.c", "langsmith_sse.c"],
    "ssh_agent": ["langsmith_agent.c"],
    "tunnel": ["yamux.h", "yamux.c", "tunnel.h", "tunnel_session.h", "tunnel.c", "tunnel_calls.c"],
}

TOP = """\
/* sandbox.h: client library for cloud code-execution sandboxes.
   Made by amalgamate.py of the files in src/: change those, not this one. */
"""

FEATURES = """\
/* The POSIX transport needs more than strict C99 lets the system headers show;
   a feature-test macro counts only before the first of them. */
#if defined(SANDBOX_IMPLEMENTATION) && defined(__linux__) && !defined(_GNU_SOURCE) && !defined(SBX_SANDBOX_H_INCLUDED)
#define _GNU_SOURCE 1
#endif
"""

# Not SANDBOX_H: Apple's SDK has a <sandbox.h> of its own.
PUBLIC_GUARD = "SBX_SANDBOX_H_INCLUDED"
PRIVATE_GUARD = "SBX_SANDBOX_H_IMPLEMENTED"

NOT_CODE = re.compile(r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)
LOCAL = re.compile(r'\s*#\s*include\s*"')
EXACT = re.compile(r'#include "([A-Za-z0-9_]+\.h)"')
SWITCH = re.compile(r"\bSBX_NO_([A-Z0-9_]+)\b")


class Problem(Exception):
    """What is wrong with the sources, as a message for the one who runs this."""


def read(path, shown):
    try:
        with open(path, "rb") as f:
            text = f.read().decode("utf-8")
    except FileNotFoundError:
        raise Problem(f"{shown}: listed in amalgamate.py, but missing") from None
    except UnicodeDecodeError as e:
        raise Problem(f"{shown}: not UTF-8 ({e.reason} at byte {e.start})") from None
    if "\r" in text:
        raise Problem(f"{shown}:{text[:text.index(chr(13))].count(chr(10)) + 1}: a carriage return")
    if not text.endswith("\n"):
        raise Problem(f"{shown}:{text.count(chr(10)) + 1}: no newline at the end")
    return text


def comment_lines(text):
    """Numbers (from 0) of the lines that begin inside a comment."""
    lines = set()
    for m in NOT_CODE.finditer(text):
        if m.group().startswith("/*"):
            first = text.count("\n", 0, m.start())
            lines.update(range(first + 1, first + m.group().count("\n") + 1))
    return lines


def body(path, shown, earlier):
    """The file without its local includes, each of which must be in `earlier`."""
    text = read(path, shown)
    comments = comment_lines(text)
    out = []
    for i, line in enumerate(text.splitlines(keepends=True)):
        if i in comments or not LOCAL.match(line):
            out.append(line)
            continue
        exact = EXACT.fullmatch(line.rstrip("\n"))
        if not exact:
            raise Problem(f'{shown}:{i + 1}: write it as #include "name.h" and nothing else')
        if exact.group(1) not in earlier:
            raise Problem(f"{shown}:{i + 1}: {exact.group(1)} does not stand before {os.path.basename(path)} in amalgamate.py")
    return "".join(out)


def section(root, folder, names, earlier, dropped=()):
    out = []
    for name in names:
        shown = f"{folder}/{name}"
        text = body(os.path.join(root, folder, name), shown, earlier)
        if name not in dropped:
            out.append(f"\n/* ======== {shown} ======== */\n" + text)
        earlier.add(name)
    return "".join(out)


def check_tables(root):
    """Every source is listed once, and under its own part's name."""
    listed = PUBLIC + [name for _, names in PRIVATE for name in names]
    for name in listed:
        if listed.count(name) > 1:
            raise Problem(f"src/{name}: listed twice in amalgamate.py")
    for part, names in PRIVATE:
        for name in names:
            if not re.fullmatch(re.escape(part) + r"(_\w+)?\.[ch]", name):
                raise Problem(f"src/{name}: a file of part {part} is called {part}.h, {part}.c or {part}_more.c")
    for folder, known in (("src", set(listed)), ("transports", {f"sandbox_{t}.h" for t in TRANSPORTS})):
        path = os.path.join(root, folder)
        for name in sorted(os.listdir(path) if os.path.isdir(path) else []):
            if name.endswith((".c", ".h")) and name not in known:
                raise Problem(f"{folder}/{name}: not listed in amalgamate.py")


def with_parts(root, transports):
    """The transports, and those that they include."""
    wanted = list(transports)
    for name in wanted:  # grows meanwhile
        shown = f"transports/sandbox_{name}.h"
        text = read(os.path.join(root, shown), shown)
        comments = comment_lines(text)
        included = [EXACT.fullmatch(line) for i, line in enumerate(text.splitlines()) if i not in comments]
        wanted += [t for t in TRANSPORTS if t not in wanted and any(m and m.group(1) == f"sandbox_{t}.h" for m in included)]
    return wanted


def amalgamate(root, transports=(), without=()):
    check_tables(root)
    for name in transports:
        if name not in TRANSPORTS:
            raise Problem(f"--with {name}: there is {', '.join(TRANSPORTS) or 'none'}")
    transports = with_parts(root, transports)
    dropped = {name for feature in without for name in OPTIONAL.get(feature, ())}
    private = [name for _, names in PRIVATE for name in names]

    earlier = set()
    declarations = section(root, "src", PUBLIC, earlier, dropped)
    implementation = section(root, "src", private, earlier, dropped)
    earlier.add("sandbox.h")
    extra = section(root, "transports", [f"sandbox_{t}.h" for t in TRANSPORTS if t in transports], earlier)

    known = {switch.lower() for switch in SWITCH.findall(declarations + implementation)}
    for feature in without:
        if feature not in known:
            raise Problem(f"--without {feature}: there is {', '.join(sorted(known)) or 'none'}")
    switches = "".join(f"#undef SBX_NO_{f.upper()}\n#define SBX_NO_{f.upper()} 1\n" for f in sorted(set(without)))

    return (
        TOP + switches + FEATURES
        + f"\n#ifndef {PUBLIC_GUARD}\n#define {PUBLIC_GUARD}\n"
        + declarations
        + f"\n#endif /* {PUBLIC_GUARD} */\n"
        + f"\n#if defined(SANDBOX_IMPLEMENTATION) && !defined({PRIVATE_GUARD})\n#define {PRIVATE_GUARD}\n"
        + implementation
        + f"\n#endif /* SANDBOX_IMPLEMENTATION && !{PRIVATE_GUARD} */\n"
        + extra
    )


def names(text):
    return [name.strip() for name in text.split(",") if name.strip()]


def main(argv=None):
    arguments = argparse.ArgumentParser(description="Makes sandbox.h of the parts in src/.")
    arguments.add_argument("--with", dest="transports", type=names, default=[], metavar="posix,files", help="transports to put into the file")
    arguments.add_argument("--without", type=names, default=[], metavar="langsmith", help="features to leave out")
    arguments.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    arguments.add_argument("--root", default=os.path.dirname(os.path.abspath(__file__)), help=argparse.SUPPRESS)
    arguments.add_argument("-o", dest="output", metavar="FILE", help="where to write (default: sandbox.h beside this script)")
    a = arguments.parse_args(argv)
    output = a.output or os.path.join(a.root, "sandbox.h")
    try:
        made = amalgamate(a.root, a.transports, a.without).encode("utf-8")
        if a.check:
            try:
                with open(output, "rb") as f:
                    there = f.read()
            except FileNotFoundError:
                raise Problem(f"{output}: missing; run amalgamate.py") from None
            if there != made:
                line = next((i for i, (x, y) in enumerate(zip(there.split(b"\n"), made.split(b"\n"))) if x != y), None)
                where = f"{output}:{line + 1}" if line is not None else output
                raise Problem(f"{where}: not what src/ makes; run amalgamate.py and commit the result")
        elif output == "-":
            sys.stdout.buffer.write(made)
        else:
            with open(output + ".new", "wb") as f:
                f.write(made)
            os.replace(output + ".new", output)  # a compiler that reads it now sees one or the other
    except Problem as problem:
        print(f"amalgamate.py: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

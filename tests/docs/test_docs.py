#!/usr/bin/env python3
"""Keeps the documentation true: README.md, and the guide in sandbox.h.

Runs beside sandboxd (with_sandboxd.py): every program that they show is
compiled as a user would and run, every fragment is compiled, and their tables
are compared with the sources.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "build"))
sys.path.insert(0, ROOT)
import amalgamate  # noqa: E402
import checks  # noqa: E402

WARNINGS = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-I.", "-Itransports"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
CC = os.environ.get("CC", "gcc")
CXX = os.environ.get("CXX", "g++")
ENDPOINT = os.environ.get("LANGSMITH_ENDPOINT", "").rstrip("/") + "/v2/sandboxes"
KEY = os.environ.get("LANGSMITH_API_KEY", "")
PIECES = r"({0}: line 1\n{0}: line 2\n{0}: line 3\n{0}: SBX_OK, exit 0\n)"


def interleaved(out):
    """Each of the three commands has all its lines, in order."""
    lines = out.splitlines(keepends=True)
    return all(re.fullmatch(PIECES.format(n), "".join(line for line in lines if line.startswith(n + ":"))) for n in ("one", "two", "three")) and len(lines) == 12


# A program by the name in its first line: (arguments, more sources, what it prints; None = it is compiled only).
PROGRAMS = {
    "first.c": ([], [], r"exit 0: hello from Linux\n"),
    "loop.c": ([], [], interleaved),
    "plain.cpp": ([], [], r"1\n2\n3\n"),
    "modem.c": ([ENDPOINT, KEY], [os.path.join(HERE, "board.c")], r"exit 0, 64 of 3893 bytes\n"),
    "own_test.c": ([], [], None),  # tests/transport/test_own.c runs it
    "guide 1": ([], [], r"exit 0: hello from Linux\n"),
}

# What else a program is compiled with.
FLAGS = {"own_test.c": ["-Itests/transport", "-lcmocka"]}

# What a fragment finds around it.
AROUND = """\
#include "sandbox.h"
#include "sandbox_posix.h"
%s
static inline void on_event(const sbx_event *e) { (void)e; }
int fragment(sbx_client *c, sbx_client_desc desc, sbx_box box, sbx_op op);
int fragment(sbx_client *c, sbx_client_desc desc, sbx_box box, sbx_op op)
{
    sbx_error err;
    sbx_event ev;
    sbx_result result;
    sbx_usage usage;
    (void)c; (void)desc; (void)box; (void)op; (void)err; (void)ev; (void)result; (void)usage;
%s
    return 0;
}
"""


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


README = read("README.md")
HEADER = read("sandbox.h")


def guide():
    text = re.search(r"/\* ---- guide:.*?\*/", HEADER, re.S)
    return text.group() if text else ""


GUIDE = guide()

# The headers of the service's calls.
SERVICE = [f"src/{name}" for name in amalgamate.PUBLIC if name.startswith("langsmith")]


def dedent(block):
    return "\n".join(line[7:] for line in block.rstrip().split("\n")) + "\n"


def blocks():
    """(where, language, text) of all code that is shown."""
    found = [(f"README block {i + 1}", m.group(1), m.group(2)) for i, m in enumerate(re.finditer(r"^```(c|cpp)\n(.*?)^```$", README, re.S | re.M))]
    # In the guide code is indented by 7; blank lines may stand inside.
    for i, m in enumerate(re.finditer(r"(?:^ {7,}\S.*\n(?:\n(?= {7,}\S))*)+", GUIDE, re.M)):
        text = dedent(m.group())
        found.append((f"guide block {i + 1}", "cpp" if "= {};" in text else "c", text))
    return found


def program_name(where, text, order):
    named = re.match(r"/\* (\S+\.c)\b|// (\S+\.cpp)\b", text)
    return named.group(1) or named.group(2) if named else f"{where.split()[0]} {order}"


class Docs:
    def __init__(self, folder):
        self.folder = folder
        self.checks = []

    def write(self, name, text):
        return checks.write(os.path.join(self.folder, name.replace(" ", "_")), text)

    def compile(self, source, language, out, extra=(), sanitize=True):
        compiler, standard = (CXX, "-std=c++11") if language == "cpp" else (CC, "-std=c99")
        how = ["-o", out, "-pthread"] if out else ["-fsyntax-only"]
        return checks.command([compiler, standard, *WARNINGS, *(SANITIZE if sanitize and out else []), source, *extra, *how], cwd=ROOT)

    def run(self, program, arguments, wanted):
        try:
            done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        except subprocess.TimeoutExpired as late:
            return f"{os.path.basename(program)}: not done after 60 s\nprinted: {late.stdout}\nerrors: {late.stderr}"
        fits = wanted(done.stdout) if callable(wanted) else re.fullmatch(wanted, done.stdout)
        if done.returncode or done.stderr or not fits:
            return f"{os.path.basename(program)}: exit {done.returncode}\nprinted: {done.stdout}\nerrors: {done.stderr}"
        return None

    def program(self, name, language, text):
        arguments, more, wanted = PROGRAMS[name]
        source = self.write(f"{name}.{'cc' if language == 'cpp' else 'c'}", text)
        objects = []

        def check():
            for m in more:
                objects.append(os.path.join(self.folder, os.path.basename(m) + ".o"))
                wrong = checks.command([CC, "-std=gnu11", "-Wall", "-Wextra", "-Werror", *SANITIZE, "-c", m, "-o", objects[-1]])
                if wrong:
                    return wrong
            out = source + ".out"
            return self.compile(source, language, out, objects + FLAGS.get(name, [])) or (self.run(out, arguments, wanted) if wanted is not None else None)
        return check

    def fragment(self, where, language, text):
        system = "#include <cstdio>" if language == "cpp" else "#include <stdio.h>\n#include <poll.h>"
        body = re.sub(r"^(?=.)", "    ", text, flags=re.M)
        # The three lines that come before everything.
        if "#define SANDBOX_IMPLEMENTATION" in text:
            return lambda: self.compile(self.write(where + ".c", text + "int main(void) { return 0; }\n"), "c", None)
        inits = "sbx_client_init" in text
        source = self.write(f"{where}.{'cc' if language == 'cpp' else 'c'}",
                            ("#define _GNU_SOURCE 1\n" if language == "c" else "") + ("#define SANDBOX_IMPLEMENTATION\n" if inits else "") + AROUND % (system, body) +
                            ("int main(void) { sbx_client_desc d; sbx_box b; sbx_op o; memset(&d, 0, sizeof d); memset(&b, 0, sizeof b); memset(&o, 0, sizeof o);"
                             " d.transport = &sbx_posix; return fragment(NULL, d, b, o); }\n" if inits else ""))

        def check():
            if not inits:
                return self.compile(source, language, None)
            out = source + ".out"
            return self.compile(source, language, out, sanitize=False) or self.run(out, [], "")  # the memory given is enough
        return check

    def add_code(self):
        seen = set()
        order = {}
        for where, language, text in blocks():
            if re.search(r"\bint main\(", text):
                kind = where.split()[0]
                order[kind] = order.get(kind, 0) + 1
                name = program_name(where, text, order[kind])
                seen.add(name)
                self.checks.append((f"program {name}", self.program(name, language, text) if name in PROGRAMS else lambda name=name: f"{name} is not known to tests/docs"))
            else:
                self.checks.append((f"fragment {where}", self.fragment(where, language, text)))
        self.checks.append(("programs", lambda: None if seen == set(PROGRAMS) else f"missing: {sorted(set(PROGRAMS) - seen)}"))


# ---------------------------------------------------------------------- tables

def code_only(text):
    return re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)


def rows(first_cell):
    """The rows of README's table whose head begins so: lists of cells."""
    found = re.search(rf"^\| {re.escape(first_cell)} \|.*\n\|[ -|]*\n((?:\|.*\n)+)", README, re.M)
    if not found:
        return []
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in found.group(1).splitlines()]


def names_in(cells):
    return re.findall(r"`(\w+)`", cells)


def difference(what, wanted, shown):
    missing, extra = sorted(set(wanted) - set(shown)), sorted(set(shown) - set(wanted))
    if missing or extra:
        return f"{what}: missing {missing}, not in the sources {extra}"
    twice = sorted({s for s in shown if shown.count(s) > 1})
    return f"{what}: twice {twice}" if twice else None


def check_errors():
    codes = ["SBX_" + m for m in re.findall(r"^ *X\((\w+),", read("src/error.h"), re.M)]
    shown = [name for row in rows("code") for name in names_in(row[0])]
    unsaid = [row[0] for row in rows("code") if not row[1]]
    return difference("error table", codes, shown) or (f"no meaning: {unsaid}" if unsaid else None)


def check_unreturned():
    """Codes said to be returned by no call, and only they, stand in no source."""
    used = " ".join(read("src/" + name) for name in os.listdir(os.path.join(ROOT, "src")) if name.endswith(".c"))
    used += " ".join(read("transports/" + name) for name in os.listdir(os.path.join(ROOT, "transports")))
    never = [row[0].strip("`") for row in rows("code") if not re.search(rf"\b{row[0].strip('`')}\b", used)]
    said = [row[0].strip("`") for row in rows("code") if "no call of this version" in row[2]]
    return difference("codes that no call returns", [n for n in never if n != "SBX_OK"], said)


def desc_fields():
    """name -> (default, least) of the description's numbers, from sbx_client_init."""
    header = code_only(read("src/api.h"))
    body = re.search(r"typedef struct sbx_client_desc \{(.*?)\} sbx_client_desc;", header, re.S).group(1)
    fields = re.findall(r"\bu?int32_t (\w+);", body)
    source = code_only(read("src/client_init.c"))
    numbers = re.findall(r"SBXI_SETTING\((\w+), (\d+), \d+, (\w+)\)", source)
    least = {name: least for name, least, _ in numbers}
    defaults = {name: default for name, _, default in numbers}
    defaults.update(re.findall(r"SBXI_SETTING_MS\((\w+), (\w+)\)", source))
    return {f: (defaults.get(f), least.get(f)) for f in fields}


def number(text):
    return {"SBX_FOREVER": "none"}.get(text, f"{int(text):,}" if text and text.isdigit() else text)


def check_limits():
    fields = desc_fields()
    shown = {row[0].strip("`"): row for row in rows("field")}
    wrong = difference("limits table", fields, list(shown))
    if wrong:
        return wrong
    for name, (default, least) in fields.items():
        # 0 stands for the default, so 1 is the least that can be asked for.
        wanted = (number(default), number(str(max(1, int(least)))) if least else "")
        if wanted != (shown[name][1], shown[name][2]):
            return f"{name}: README says {shown[name][1:3]}, the sources {wanted}"
    return None


def check_header_defaults():
    """The comment beside each field of the description names its default and least value."""
    header = read("src/api.h")
    body = re.search(r"typedef struct sbx_client_desc \{(.*?)\} sbx_client_desc;", header, re.S).group(1)
    for name, (default, least) in desc_fields().items():
        line = next(line for line in body.splitlines() if re.search(rf"\b{name};", line))
        said = "no limit" if default == "SBX_FOREVER" else number(default)
        if not re.search(rf": {re.escape(said)}(?![\d,]*\d)", line):
            return f"{name}: its comment does not say {said}"
        if least and int(least) > 1 and f"at least {number(least)}" not in line:
            return f"{name}: its comment does not say at least {number(least)}"
    return None


def public_functions():
    """What is called; a function that gives a private type is named in an option."""
    return re.findall(r"^SBX_API (?!const struct sbxi_)[^;(]*?\b(sbx_\w+)\(", code_only("".join(map(read, ["src/error.h", "src/api.h", *SERVICE])) + read("src/tunnel.h")), re.M)


def check_calls():
    return difference("table of calls", public_functions(), [name for row in rows("for") for name in names_in(row[1])])


def check_comments():
    """Each public function, or the group it stands in, has a comment before it."""
    for path in ("src/api.h", *SERVICE, "src/tunnel.h", "src/error.h", "src/types.h", "src/transport.h"):
        before = ""
        for i, line in enumerate(read(path).splitlines(), 1):
            if re.match(r"SBX_API |static inline ", line) and not (before.endswith("*/") or before.startswith("SBX_API ")):
                return f"{path}:{i}: {line}: no comment before it"
            if line.strip():
                before = line.strip()
    return None


def check_macros():
    """The guide's configuration table is what the sources honour."""
    honoured = set()
    folder = os.path.join(ROOT, "src")
    for name in sorted(os.listdir(folder)):
        if name == "guide.h":
            continue
        for line in code_only(read("src/" + name)).splitlines():
            if not re.match(r"\s*#\s*(ifn?def|define)\b", line):
                honoured.update(re.findall(r"\bSBX_(?:NO_\w+|FREESTANDING|SMALL)\b", line))
    table = re.search(r"Macros, 0 or 1.*?\n\n((?: {5}\S.*\n)+)", GUIDE)
    return difference("configuration macros", honoured, re.findall(r"^ {5}(SBX_\w+)", table.group(1), re.M) if table else [])


def check_paths():
    """Files, make targets and anchors that README names are there."""
    makefile = read("Makefile") + "".join(read(os.path.relpath(os.path.join(d, f), ROOT)) for top in ("examples", "tests") for d, _, fs in os.walk(os.path.join(ROOT, top)) for f in fs if f.endswith(".mk"))
    targets = set(re.findall(r"^([\w.-]+(?: [\w.-]+)*) *::?(?!=)", makefile, re.M))
    targets = {t for line in targets for t in line.split()}
    wrong = [p for p in re.findall(r"`((?:src|transports|tests|examples|bench)/[\w./-]+)`", README) if not os.path.exists(os.path.join(ROOT, p))]
    wrong += [f"make {t}" for t in re.findall(r"(?:`|^)make ([\w-]+)", README, re.M) if t not in targets]
    anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", README, re.M)}
    wrong += ["#" + a for a in re.findall(r"\]\(#([^)]*)\)", README) if a not in anchors]
    return f"not there: {wrong}" if wrong else None


TYPES = {"(the client)": "sizeof(sbx_client) + 15", "max_ops": "sizeof(sbxi_op) + SBXI_TIMER_BYTES", "max_links": "sizeof(sbxi_link)",
         "max_requests": "sizeof(sbxi_block)", "max_owned": "sizeof(sbxi_owned)"}


def check_small_sizes(folder, small):
    """The 32-bit column, by arrays that cannot be declared when it is too low."""
    arrays = "".join(f"extern char fits_{i}[{TYPES[name]} <= {limit} ? 1 : -1]; /* {name} */\n" for i, (name, limit) in enumerate(small.items()))
    source = checks.write(os.path.join(folder, "sizes32.c"), '#define SBX_NO_MALLOC 1\n#define SANDBOX_IMPLEMENTATION\n#include "sandbox.h"\n' + arrays)
    return checks.command(["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-std=c99", "-I.", "-fsyntax-only", source], cwd=ROOT)


def check_sizes(folder):
    """What the guide and README say that a field costs is enough."""
    table = re.search(r"one of +64-bit.*?\n((?: {5}.*\n)+)", GUIDE)
    lines = re.findall(r"^ {5}(\(the client\)|\w+) +([\d,]+) +([\d,]+)", table.group(1), re.M)
    said = {m[0]: int(m[1].replace(",", "")) for m in lines}
    small = {m[0]: int(m[2].replace(",", "")) for m in lines}
    source = checks.write(os.path.join(folder, "sizes.c"), """
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_posix.h"
#include <stdio.h>
int main(void)
{
    sbx_client_desc d;
%s    memset(&d, 0, sizeof d);
    d.endpoint = "http://127.0.0.1:8080/v2/sandboxes";
    d.transport = &sbx_posix;
    printf("defaults %%lu\\n", (unsigned long)sbx_client_size(&d));
    return 0;
}
""" % "".join(f'    printf("{name} %lu\\n", (unsigned long)({size}));\n' for name, size in TYPES.items()))
    wrong = checks.command([CC, "-std=c99", "-I.", "-Itransports", source, "-o", source + ".out", "-pthread"], cwd=ROOT)
    if wrong:
        return wrong
    real = {k.rsplit(" ", 1)[0]: int(k.rsplit(" ", 1)[1]) for k in checks.output([source + ".out"]).splitlines()}
    defaults = real.pop("defaults")
    if set(said) != set(real):
        return f"the guide's table has {sorted(said)}, not {sorted(real)}"
    for name, size in real.items():
        if size > said[name]:
            return f"{name}: {size} bytes, the guide says {said[name]} at most"
        if f"{said[name]:,}" not in README:
            return f"{name}: README does not say {said[name]:,}"
    if shutil.which("arm-none-eabi-gcc"):
        wrong = check_small_sizes(folder, small)
        if wrong:
            return wrong
    if not 200 * 1024 < defaults <= 225 * 1024:
        return f"the defaults need {defaults} bytes, not about 220 KiB"
    return None


def check_same_program():
    """The guide's first program is README's, comments apart."""
    first = [code_only(text).split() for _, _, text in blocks() if "hello from $(uname)" in text]
    return None if len(first) == 2 and first[0] == first[1] else "the first programs of README and guide differ"


def check_claims(folder):
    out = os.path.join(folder, "claims")
    return (checks.command([CC, "-std=c99", *WARNINGS, *SANITIZE, os.path.join(HERE, "claims.c"), "-o", out, "-pthread"], cwd=ROOT)
            or checks.command([out]))


def main():
    if not os.environ.get("LANGSMITH_ENDPOINT"):
        sys.exit("run it beside a server: tests/build/with_sandboxd.py python3 tests/docs/test_docs.py")
    with tempfile.TemporaryDirectory() as folder:
        docs = Docs(folder)
        docs.add_code()
        docs.checks += [
            ("error table", check_errors), ("codes never returned", check_unreturned), ("limits table", check_limits),
            ("defaults in the header", check_header_defaults), ("table of calls", check_calls), ("comments", check_comments),
            ("configuration macros", check_macros), ("paths, targets, anchors", check_paths),
            ("sizes", lambda: check_sizes(folder)), ("same first program", check_same_program), ("claims", lambda: check_claims(folder)),
        ]
        status = checks.run_all(docs.checks)
    sys.exit(status)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Code size and deepest stack of sandbox.h, for x86-64 and Cortex-M4.

Size: sandbox.h's implementation is compiled into one object with a section a
function, each program in tests/size/ into another, and both are linked with
--gc-sections. The linker's map says which sections of sandbox.h's object were
kept: code and constants of those are summed. The program itself, libc and
libgcc are left out (the last two are shown beside it). "all" is the whole
object, linked without --gc-sections.

"trimmed" leaves out besides what a program can do without by a switch
(SBX_NO_ALLOC, _CONFIG, _DATES, _EXECUTE, _LEGACY, _OWNED, _PORTS, _SSE, _SSH_AGENT, _TRACE, _TUNNEL, _URLS); its client does the
same as the other's.

Parts: the symbols of the linked programs by the file of src/ that defines
them (those inside a function: as the debug information has it). Functions that
were inlined count where they went; texts have no symbol and stand last.

Stack: gcc's call graph with frame sizes (-fcallgraph-info=su); the deepest
chain below a public function. Calls into libc and libgcc count 0. A call
through a pointer reaches the transport, the trace hook or the allocator (0: add
your own) from the parts link, client, open and ports and from the sink, a row's
hook from the part op: there it is taken to be the deepest private function that
nobody calls directly, once a chain; POINTERS has the others. Functions that were inlined are part of
their caller's frame.

Memory: what the client's fixed memory holds for one of each thing, by sizeof.

Fails when a program does not link or pulls in printf, strtod or malloc on the
Cortex-M4, when there is writable data or a frame without a bound, or when a frame on the
Cortex-M4 is above 256 bytes.
"""
import glob
import os
import re
import subprocess
import sys

BUILD = os.environ.get("BUILD", "build")
# Only an operation calls a row's hooks.
HOOKED = re.compile(r"sbxi_op_|sbxi_dec_|sbxi_model_")
# Other pointers: who calls by them, and whom. Those are nobody else's hooks.
POINTERS = [
    (re.compile(r"sbxi_level_begin"), re.compile(r"sbxi_\w+_begin$")),        # a shape's begin
    (re.compile(r"sbx_run$"), re.compile(r"sbxi_run_http$")),                 # a way to run a command
    (re.compile(r"sbx_create$"), re.compile(r"sbxi_mounts_bad$")),            # of the typed configuration
    (re.compile(r"sbxi_(message|deliver|stream)"), re.compile(r"sbxi_(agent_\w+|sse_decoded)$")), # what a message may hold
]
ARM = os.environ.get("ARM", "arm-none-eabi-")
FRAME_LIMIT = 256
FORBIDDEN = re.compile(r"_?v?(f|s|sn|as|d)?i?printf(_r)?|_?strto(d|f|ld)(_l|_r)?|_?(m|c|re)alloc(_r)?|_?free(_r)?")
COMMON = ["-std=c99", "-g", "-ffunction-sections", "-fdata-sections", "-fno-asynchronous-unwind-tables", "-fno-pic", "-I."]
BARE = ["-mcpu=cortex-m4", "-mthumb", "-Os", "-DSBX_SMALL=1", "-DSBX_FREESTANDING=1", "-DSBX_NO_MALLOC=1"]
TRIMMED = [f"-DSBX_NO_{feature}=1" for feature in ("ALLOC", "CONFIG", "DATES", "EXECUTE", "LEGACY", "OWNED", "PORTS", "SSE", "SSH_AGENT", "TRACE", "TUNNEL", "URLS")]
FULL, SMALLEST = "Cortex-M4 -Os, no error text", "the same, trimmed"
# name, compiler prefix, flags, linker flags
VARIANTS = [
    (FULL, ARM, BARE + ["-DSBX_NO_ERROR_TEXT=1"], ["--specs=nano.specs", "--specs=nosys.specs"]),
    (SMALLEST, ARM, BARE + ["-DSBX_NO_ERROR_TEXT=1"] + TRIMMED, ["--specs=nano.specs", "--specs=nosys.specs"]),
    ("Cortex-M4 -Os", ARM, BARE + ["-DSBX_NO_ERROR_TEXT=0"], ["--specs=nano.specs", "--specs=nosys.specs"]),
    ("x86-64 -Os, SBX_SMALL=1", "", ["-Os", "-DSBX_SMALL=1"], ["-no-pie"]),
    ("x86-64 -O2, SBX_SMALL=0", "", ["-O2", "-DSBX_SMALL=0"], ["-no-pie"]),
]
PROGRAMS = [("json", "json.c"), ("http1", "http1.c"), ("ws", "ws.c"), ("sse", "sse.c"), ("yamux", "yamux.c"), ("client", "client.c"), ("all", "none.c")]


class Failed(Exception):
    pass


def call(arguments):
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    missing = sorted(set(re.findall(r"undefined reference to [`'](\w+)'", done.stdout)))
    if missing:
        raise Failed("does not link without " + ", ".join(missing))
    if done.returncode:
        raise Failed(" ".join(arguments) + "\n" + done.stdout)
    return done.stdout


def mapped(path):
    """(section, size, object) of each input section that was kept."""
    with open(path) as f:
        text = f.read().split("Linker script and memory map", 1)[1]
    return [(name, int(size, 16), where) for name, size, where in
            re.findall(r"^ (\.[\w.$]+)\s+0x[0-9a-f]+\s+(0x[0-9a-f]+) (\S.*)$", text, re.M)]


def link(prefix, flags, linker, folder, name, source):
    """(code and constants, libc and libgcc, what is wrong)"""
    program = os.path.join(folder, name)
    target = program + ".o"
    call([prefix + "gcc", *COMMON, *flags, "-c", "-o", target, os.path.join("tests/size", source)])
    call([prefix + "gcc", *flags, *linker, "-nostartfiles", "-Wl,-e,main", *([] if name == "all" else ["-Wl,--gc-sections"]),
          f"-Wl,-Map={program}.map", "-o", program, target, os.path.join(folder, "sandbox.o")])
    own = others = 0
    wrong = []
    for section, size, where in mapped(program + ".map"):
        if not size or not section.startswith((".text", ".rodata", ".data", ".bss")):
            continue
        if where.endswith("sandbox.o"):
            own += size
            if section.startswith((".data", ".bss")):
                wrong.append(f"{name}: writable data, {section} of {size} bytes")
        elif not where.endswith(target):
            others += size
    if prefix:
        for line in call([prefix + "nm", program]).splitlines():
            symbol = line.split()[-1]
            if FORBIDDEN.fullmatch(symbol):
                wrong.append(f"{name}: pulls in {symbol}")
    return own, others, wrong


def folder_of(variant):
    return os.path.join(BUILD, "size", re.sub(r"\W+", "_", variant))


def borders():
    """((first line, file of src/) in sandbox.h from the last to the first, {name: file of its definition})."""
    with open("sandbox.h") as f:
        text = f.read()
    files, defined = [], {}
    for mark in re.finditer(r"^/\* =+ src/(\S+) =+ \*/\n(.*?)(?=^/\* =+ src/|\Z)", text, re.M | re.S):
        files.insert(0, (text.count("\n", 0, mark.start()) + 1, mark.group(1)))
        for name in re.findall(r"^[A-Za-z][^\n;=]*?\b(sbxi?_\w+)(?:\[[^\n]*\] =|\([^\n]*\)\n\{| = \{)", mark.group(2), re.M):
            defined[name] = mark.group(1)
    return files, defined


def parts(variant, program, own, files, defined):
    """Bytes by file of a program that was linked; texts are what is left of its sum."""
    sizes = {}
    path = os.path.join(folder_of(variant), program)
    for size, kind, name, line in re.findall(r"^\w+ (\w+) (\w) (\S+)\t\S*sandbox\.h:(\d+)$", call([ARM + "nm", "-S", "-l", path]), re.M):
        if kind in "tTrR":
            file = defined.get(name.split(".")[0]) or next(name for first, name in files if first <= int(line))
            sizes[file] = sizes.get(file, 0) + int(size, 16)
    sizes["texts, padding"] = own - sum(sizes.values())
    return sizes


def print_parts(sums):
    """sums: (variant, program) -> bytes of code and constants."""
    files, defined = borders()
    columns = [parts(variant, program, own, files, defined) for (variant, program), own in sums.items()]
    print("\nCortex-M4 -Os, no error text, bytes by file" + "".join(f"{name:>16}" for name in ("client", "client, trimmed", "all", "all, trimmed")))
    names = sorted({name for column in columns for name in column}, key=lambda name: (name.startswith("texts"), -columns[0].get(name, 0)))
    for name in names:
        print(f"{name:43}" + "".join(f"{column.get(name, 0):16,}" for column in columns))


def print_switches(sums):
    """What each switch alone leaves out of a program and of the whole."""
    name, prefix, flags, linker = VARIANTS[0]
    wrong = []
    print("\nCortex-M4 -Os, no error text, bytes that a switch alone leaves out" + "".join(f"{program:>10}" for program in ("client", "all")))
    for switch in TRIMMED:
        folder = folder_of(name + switch)
        os.makedirs(folder, exist_ok=True)
        cells = ""
        try:
            call([prefix + "gcc", *COMMON, *flags, switch, "-c", "-o", os.path.join(folder, "sandbox.o"), os.path.join(folder_of(name), "sandbox.c")])
            for program, source in (("client", "client.c"), ("all", "none.c")):
                own, _, _ = link(prefix, [*flags, switch], linker, folder, program, source)
                cells += f"{sums[name, program] - own:10,}"
        except Failed as failed:
            wrong.append(f"{switch}: {failed}")
        print(f"{switch[2:-2]:66}{cells}")
    return wrong


class Graph:
    """Frames and calls as gcc wrote them into a .ci file."""

    def __init__(self, path):
        self.frames, self.calls, self.wrong, self.notes, called = {}, {}, [], [], set()
        with open(path) as f:
            text = f.read()
        for title, label in re.findall(r'^node: { title: "([^"]*)" label: "([^"]*)"', text, re.M):
            size = re.search(r"\\n(\d+) bytes \(([\w,]+)\)", label)
            if size:
                self.frames[title] = int(size.group(1))
                if size.group(2) == "dynamic":  # not: dynamic,bounded
                    self.wrong.append(f"{self.shown(title)}: the size of its frame is not known")
        for source, target in re.findall(r'^edge: { sourcename: "([^"]*)" targetname: "([^"]*)"', text, re.M):
            self.calls.setdefault(source, set()).add(target)
            if source != target:
                called.add(target)
        # Private, and not called directly: somebody has its address.
        self.pointed_at = [f for f in self.frames if ":" in f and f not in called]
        self.known = {}

    @staticmethod
    def shown(title):
        return title.split(":")[-1]

    def deepest(self, title, indirect=True, above=()):
        """(bytes, chain) of the deepest chain from this function on."""
        if title == "__indirect_call":
            caller = self.shown(above[-1]) if above else ""
            own = [callee for callers, callee in POINTERS if callers.match(caller)]
            if own:
                hooks = [f for f in self.pointed_at if any(c.match(self.shown(f)) for c in own)]
            elif indirect and HOOKED.match(caller):
                # A row's way to run is called by sbxi_op_run, and by nobody else.
                hooks = [f for f in self.pointed_at if not any(c.match(self.shown(f)) for _, c in POINTERS) and (caller == "sbxi_op_run" or not f.endswith("_run"))]
            else:
                return 0, ()
            size, chain = max((self.deepest(f, False, above) for f in hooks), default=(0, ()))
            return size, ("(pointer)", *chain)
        if title not in self.frames:
            return 0, ()
        if title in above:
            self.notes.append("recursion, counted once: " + " > ".join(map(self.shown, above[above.index(title):] + (title,))))
            return 0, ()
        if (title, indirect) not in self.known:
            calls = sorted(self.calls.get(title, ()))
            below = max((self.deepest(t, indirect, above + (title,)) for t in calls), default=(0, ()))
            self.known[title, indirect] = (self.frames[title] + below[0], (f"{self.shown(title)} {self.frames[title]}", *below[1]))
        return self.known[title, indirect]


THINGS = ["client", "operation", "connection", "transport", "request", "owned"]


def memory(prefix, flags, folder):
    """Bytes of client memory by thing."""
    compiled = os.path.join(folder, "memory.o")
    call([prefix + "gcc", *COMMON, "-D_GNU_SOURCE", *flags, "-w", "-c", "-o", compiled, os.path.join("tests", "size", "memory.c")])
    sizes = re.findall(r"^\w+ (\w+) \w memory_(\w+)$", call([prefix + "nm", "-S", compiled]), re.M)
    return {thing: int(size, 16) for size, thing in sizes}


def print_memory():
    print("\nclient memory, bytes" + " " * 14 + "".join(f"{t:>11}" for t in THINGS) + "   an idle open command")
    for variant, prefix, flags in (("Cortex-M4", ARM, BARE), ("x86-64, POSIX transport", "", [])):
        folder = os.path.join(BUILD, "size")
        held = memory(prefix, flags, folder)
        idle = held["operation"] + held["connection"] + held["transport"]
        print(f"{variant:34}" + "".join(f"{held[t]:11,}" for t in THINGS) + f"   {idle}")
    print("beside: receive and send buffers, request_bytes a request, the transport's context, URL and headers")


def main():
    wrong, notes, sums = [], [], {}
    print(f"{'code + constants, bytes':34}" + "".join(f"{name:>9}" for name, _ in PROGRAMS) + "   libc, libgcc of client")
    stacks = []
    for variant, prefix, flags, linker in VARIANTS:
        folder = folder_of(variant)
        os.makedirs(folder, exist_ok=True)
        source = os.path.join(folder, "sandbox.c")
        with open(source, "w") as f:
            f.write('#define SANDBOX_IMPLEMENTATION\n#include "sandbox.h"\n')
        cells, beside = [], ""
        try:
            call([prefix + "gcc", *COMMON, *flags, "-fcallgraph-info=su", "-c", "-o", os.path.join(folder, "sandbox.o"), source])
        except Failed as failed:
            wrong.append(f"{variant}: {failed}")
            continue
        for name, program in PROGRAMS:
            if name == "sse" and "-DSBX_NO_SSE=1" in flags:
                cells.append(f"{'-':>9}")
                continue
            try:
                own, others, problems = link(prefix, flags, linker, folder, name, program)
                wrong += [f"{variant}: {p}" for p in problems]
                sums[variant, name] = own
                cells.append(f"{own:9,}")
                if name == "client":
                    beside = f"   {others:,}" if prefix else "   (shared)"
            except Failed as failed:
                cells.append(f"{'-':>9}")
                wrong.append(f"{variant}: {name}: {failed}")
        print(f"{variant:34}" + "".join(cells) + beside)
        graph = Graph(glob.glob(os.path.join(folder, "*.ci"))[0])
        public = [f for f in graph.frames if ":" not in f]
        stacks.append((variant, max((graph.deepest(f) for f in public), default=(0, ()))))
        wrong += [f"{variant}: {w}" for w in dict.fromkeys(graph.wrong)]
        notes += [f"{variant}: {n}" for n in dict.fromkeys(graph.notes)]
        if prefix:
            wrong += [f"{variant}: {graph.shown(f)}: a frame of {size} bytes" for f, size in graph.frames.items() if size > FRAME_LIMIT]
    shown = [(variant, program) for program in ("client", "all") for variant in (FULL, SMALLEST)]
    if all(which in sums for which in shown):
        print_parts({which: sums[which] for which in shown})
        wrong += print_switches(sums)
    print("\ndeepest stack, bytes (function and its frame, outermost first)")
    for variant, (size, chain) in stacks:
        print(f"{variant:34}{size:9,}   {' > '.join(chain)}")
    try:
        print_memory()
    except Failed as failed:
        wrong.append(f"memory: {failed}")
    for line in notes:
        print(f"note {line}")
    for line in wrong:
        print(f"FAIL {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""What the library leaves in an object file: `symbols.py gcc|clang`.

Every global symbol begins with sbx_ or sbxi_; there is no writable data, initialised or not (position-independent code may keep
constant pointers in .data.rel.ro, which is read-only once loaded); and the
freestanding configuration calls nothing but mem* and str*.
"""
import glob
import os
import re
import sys

import checks

BUILD = os.environ.get("BUILD", "build")
CORTEX = ["SBX_SMALL=1", "SBX_FREESTANDING=1", "SBX_NO_MALLOC=1", "SBX_NO_ERROR_TEXT=1"]
PLAIN = r"(mem[a-z]+|str(?!to)[a-z]+)"
# bcmp: what clang makes of memcmp() == 0 where the system has it.
COMPILERS_OWN = r"(bcmp|_GLOBAL_OFFSET_TABLE_|__stack_chk_fail|__ubsan_\w+)"


def writable(object_file, pic):
    """Sections with writable contents."""
    wrong = []
    for line in checks.output(["objdump", "-h", "-w", object_file]).splitlines():
        fields = line.split(None, 7)
        if len(fields) < 8 or not fields[0].isdigit():
            continue
        name, size, flags = fields[1], int(fields[2], 16), fields[7]
        if size == 0 or "ALLOC" not in flags or "READONLY" in flags:
            continue
        if pic and name.startswith(".data.rel.ro"):
            continue
        wrong.append(f"{name}: {size} bytes of writable data")
    return wrong


def look(object_file, pic, allowed_calls):
    wrong = writable(object_file, pic)
    for line in checks.output(["nm", "-g", object_file]).splitlines():
        kind, name = line.split()[-2:]
        if kind in "Uwv":
            if allowed_calls and not re.fullmatch(f"{allowed_calls}|{COMPILERS_OWN}", name):
                wrong.append(f"calls {name}")
        elif not name.startswith(("sbx_", "sbxi_")):
            wrong.append(f"defines {name}")
    return "\n".join(wrong) or None


def compile_and_look(compiler, source, name, flags, switches, pic, allowed_calls):
    def check():
        target = os.path.join(BUILD, "symbols", compiler, re.sub(r"\W+", "_", name) + ".o")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        mode = ["-fPIC"] if pic else ["-fno-pic"]
        arguments = [os.environ.get(compiler.upper(), compiler), "-std=c99", *mode, *flags, *(f"-D{s}" for s in switches), "-c", "-o", target, source]
        return checks.command(arguments) or look(target, pic, allowed_calls)
    return name, check


def build(compiler):
    folder = os.path.join(BUILD, "symbols", compiler)
    implement = "#define SANDBOX_IMPLEMENTATION\n#include \"sandbox.h\"\n"
    units = [("sandbox.h", checks.write(os.path.join(folder, "sandbox.c"), implement))]
    for transport in sorted(glob.glob("transports/sandbox_*.h")):
        name = os.path.basename(transport)
        units.append((name, checks.write(os.path.join(folder, name[:-1] + "c"), implement + f'#include "{name}"\n')))
    found = []
    for pic in (False, True):
        for unit, source in units:
            for switches in ([], ["SBX_SMALL=1"]):
                name = f"{compiler} {unit} {'pic' if pic else 'non-pic'} {' '.join(switches)}"
                found.append(compile_and_look(compiler, source, name, ["-O2", "-I.", "-Itransports"], switches, pic, None))
        name = f"{compiler} sandbox.h {'pic' if pic else 'non-pic'} freestanding"
        found.append(compile_and_look(compiler, units[0][1], name, ["-Os", "-I."], CORTEX, pic, PLAIN))
    for part in sorted(glob.glob("src/*.c")):
        found.append(compile_and_look(compiler, part, f"{compiler} {part}", ["-O2", "-Isrc"], ["SBXI_SPLIT=1"], False, None))
    return found


if __name__ == "__main__":
    checks.main(build(sys.argv[1]))

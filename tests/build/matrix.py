#!/usr/bin/env python3
"""Compiles everything a user may compile, without a warning: `matrix.py gcc|clang|arm`.

Strict C99, C11, C++11, C++17 and C++20, with each configuration switch; declarations
alone, the implementation, both in one unit, the parts one by one, the
transports, bundled and trimmed files, and the examples. gcc warns of more when
it optimises: it does so for C99 and C++17, as it comes and with all switches.
The rest is only parsed.
"""
import glob
import os
import sys

import checks

BUILD = os.environ.get("BUILD", "build")
WARNINGS = ["-Wall", "-Wextra", "-pedantic", "-Werror"]
STANDARDS = ["c99", "c11", "c++11", "c++17", "c++20"]
CORTEX = ["SBX_SMALL=1", "SBX_FREESTANDING=1", "SBX_NO_MALLOC=1", "SBX_NO_ERROR_TEXT=1"]
# What a program can leave out; each alone, and all of it as small as it gets.
FEATURES = [f"SBX_NO_{feature}=1" for feature in ("ALLOC", "CONFIG", "DATES", "EXECUTE", "LEGACY", "OWNED", "PORTS", "SSE", "SSH_AGENT", "TRACE", "TUNNEL", "URLS")]
CONFIGURATIONS = [[]] + [[switch] for switch in CORTEX + FEATURES] + [CORTEX, CORTEX + FEATURES]
TRANSPORT_SWITCHES = {"bearssl": [["SBX_BEARSSL_MINIMAL=1", "SBX_BEARSSL_NO_FILES=1"], ["SBX_NO_ERROR_TEXT=1"]],
                      "posix": [["SBX_POSIX_POLL=1"], ["SBX_POSIX_NO_THREADS=1"]],
                      "proxy": [["SBX_PROXY_NO_ENVIRONMENT=1"], ["SBX_NO_ERROR_TEXT=1"]],
                      "tunnel": [["SBX_TUNNEL_POLL=1"], ["SBX_NO_TUNNEL=1"], ["SBX_NO_ERROR_TEXT=1"]]}

DECLARE = '#include "sandbox.h"\n'
IMPLEMENT = "#define SANDBOX_IMPLEMENTATION\n" + DECLARE


class Matrix:
    def __init__(self, name):
        self.name = name
        self.dir = os.path.join(BUILD, "matrix", name)
        self.compiler = {"arm": "arm-none-eabi-gcc"}.get(name) or os.environ.get(name.upper(), name)
        self.machine = ["-mcpu=cortex-m4", "-mthumb"] if name == "arm" else []
        self.checks = []

    def flags(self, standard, includes=(".",), switches=()):
        language = "c++" if "++" in standard else "c"
        return [self.compiler, *self.machine, f"-std={standard}", "-x", language, *WARNINGS,
                *(f"-I{i}" for i in includes), *(f"-D{s}" for s in switches)]

    def add(self, what, standard, file, includes=(".",), switches=()):
        """A file that must compile."""
        optimised = standard in ("c99", "c++17") and len(switches) in (0, len(CORTEX), len(CORTEX + FEATURES))
        if self.name != "clang" and optimised:
            how = ["-c", "-Os" if "SBX_SMALL=1" in switches else "-O2", "-o", "/dev/null"]
        else:
            how = ["-fsyntax-only"]
        arguments = self.flags(standard, includes, switches) + how + [file]
        name = " ".join([self.name, standard, what, *switches])
        self.checks.append((name, lambda: checks.command(arguments)))

    def unit(self, name, text):
        return checks.write(os.path.join(self.dir, name), text)

    def add_two_units(self, implementing, using):
        """One unit has the implementation, another (perhaps in the other language) calls it."""
        def check():
            implement = self.unit(f"{implementing}-{using}/implement.c", IMPLEMENT)
            use = self.unit(f"{implementing}-{using}/use.c", DECLARE + "int main(void) { return sbx_code_name(SBX_OK) ? 0 : 1; }\n")
            program = os.path.join(os.path.dirname(use), "program")
            objects = []
            for standard, file in ((implementing, implement), (using, use)):
                objects.append(file[:-1] + "o")
                wrong = checks.command(self.flags(standard) + ["-c", "-o", objects[-1], file])
                if wrong:
                    return wrong
            return checks.command([self.compiler, "-o", program, *objects]) or checks.command([program])
        self.checks.append((f"{self.name} two units: {implementing}, used by {using}", check))

    def build(self):
        standards = STANDARDS if self.name != "arm" else ["c99", "c11"]
        declare = self.unit("declare.c", DECLARE + DECLARE)
        implement = self.unit("implement.c", IMPLEMENT)
        both = self.unit("both.c", DECLARE + IMPLEMENT + DECLARE)
        private = self.unit("private.c", "#define SBX_API static\n" + DECLARE + IMPLEMENT)
        for standard in standards:
            self.add("declarations", standard, declare)
            for switches in CONFIGURATIONS:
                self.add("implementation", standard, implement, switches=switches)
            self.add("declared, then implemented", standard, both)
            for part in sorted(glob.glob("src/*.c")):
                for switches in ([], CORTEX, CORTEX + FEATURES):
                    self.add(part, standard, part, ["src"], ["SBXI_SPLIT=1", *switches])
        # Private to one file: what that file does not call is unused, and that is no mistake.
        self.checks.append((f"{self.name} c99 SBX_API static",
                            lambda: checks.command(self.flags("c99") + ["-Wno-unused-function", "-c", "-O1", "-o", "/dev/null", private])))
        for header in sorted(glob.glob("src/*.h")):
            alone = self.unit(os.path.join("alone", os.path.basename(header) + ".c"), f'#include "{os.path.basename(header)}"\n')
            self.add(f"{header} alone", "c11", alone, ["src"], ["SBXI_SPLIT=1"])
        if self.name != "arm":
            self.build_hosted()
        return self.checks

    def build_hosted(self):
        self.add_two_units("c99", "c99")
        self.add_two_units("c99", "c++17")
        self.add_two_units("c++11", "c99")
        transports = sorted(os.path.basename(t)[len("sandbox_"):-2] for t in glob.glob("transports/sandbox_*.h"))
        for transport in transports:
            line = f'#include "sandbox_{transport}.h"\n'
            declare = self.unit(f"{transport}_declare.c", DECLARE + line)
            implement = self.unit(f"{transport}_implement.c", IMPLEMENT + line)
            both = self.unit(f"{transport}_both.c", DECLARE + line + IMPLEMENT + line)
            for standard in STANDARDS:
                self.add(f"{transport} declarations", standard, declare, [".", "transports"])
                for switches in [[]] + TRANSPORT_SWITCHES.get(transport, []):
                    self.add(f"{transport} implementation", standard, implement, [".", "transports"], switches)
                # Strict C hides what a transport needs unless asked before the first system header.
                self.add(f"{transport} declared, then implemented", standard, both, [".", "transports"], ["_GNU_SOURCE"] if "++" not in standard else [])
        made = [("bundle", ["--with", ",".join(transports)]), ("tunnel", ["--with", "posix,tunnel"])]
        made += [("trimmed", ["--without", "malloc,error_text,config,legacy,ssh_agent"])]
        for name, options in made:
            folder = os.path.join(self.dir, name)
            os.makedirs(folder, exist_ok=True)
            wrong = checks.command([sys.executable, "amalgamate.py", *options, "-o", os.path.join(folder, "sandbox.h")])
            self.checks.append((f"{self.name} amalgamate.py {' '.join(options)}", lambda wrong=wrong: wrong))
            if not wrong:
                for standard in STANDARDS:
                    self.add(name, standard, os.path.join(self.dir, "implement.c"), [folder])
        for example in sorted(glob.glob("examples/*.c") + glob.glob("examples/*.cpp")):
            for standard in ("c99", "c11") if example.endswith(".c") else ("c++11", "c++17"):
                self.add(example, standard, example, [".", "transports"])


if __name__ == "__main__":
    checks.main(Matrix(sys.argv[1]).build())

#!/usr/bin/env python3
"""amalgamate.py on small trees of its own."""
import io
import os
import subprocess
import sys
import tempfile
import unittest
from contextlib import redirect_stderr

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
sys.dont_write_bytecode = True
import amalgamate  # noqa: E402

PUBLIC = {"a.h": "#ifndef A_H\n#define A_H\n#include <stddef.h>\nint sbx_a(void);\n#endif\n", "b.h": '#include "a.h"\nint sbx_b(void);\n'}
PRIVATE = {
    "base.h": '#include "a.h"\n#define SBX_NO_EXTRA 0\n',
    "one.h": '#include "base.h"\n',
    "one.c": '#include "one.h"\n#include "base.h"\nint sbx_a(void) { return 1; }\n',
    "one_more.c": '#include "one.h"\n/* one\n#include "nowhere.h"\n*/ int sbx_b(void) { return 2; }\n',
    "extra.c": '#include "one.h"\nint sbx_extra(void) { return 3; }\n',
}


class Tree(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        for name, text in {**PUBLIC, **PRIVATE}.items():
            self.put("src/" + name, text)
        self.put("transports/sandbox_net.h", '#include "sandbox.h"\nint sbx_net;\n')
        self.put("transports/sandbox_top.h", '#include "sandbox_net.h"\nint sbx_top;\n')
        self.table(PUBLIC=["a.h", "b.h"], TRANSPORTS=["net", "top"], OPTIONAL={"extra": ["extra.c"]},
                   PRIVATE=[("base", ["base.h"]), ("one", ["one.h", "one.c", "one_more.c"]), ("extra", ["extra.c"])])

    def put(self, path, text):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(text.encode())

    def get(self, path):
        with open(os.path.join(self.root, path)) as f:
            return f.read()

    def table(self, **tables):
        for name, value in tables.items():
            before = getattr(amalgamate, name)
            self.addCleanup(setattr, amalgamate, name, before)
            setattr(amalgamate, name, value)

    def make(self, *arguments):
        return amalgamate.amalgamate(self.root, *arguments)

    def refused(self, message, *arguments):
        with self.assertRaises(amalgamate.Problem) as caught:
            self.make(*arguments)
        self.assertEqual(str(caught.exception), message)

    def run_main(self, *arguments):
        """(status, what it said)"""
        said = io.StringIO()
        with redirect_stderr(said):
            return amalgamate.main(["--root", self.root, *arguments]), said.getvalue()


class Made(Tree):
    def test_order_and_borders(self):
        made = self.make()
        files = [line.split()[2] for line in made.splitlines() if line.startswith("/* ======== ")]
        self.assertEqual(files, ["src/a.h", "src/b.h", "src/base.h", "src/one.h", "src/one.c", "src/one_more.c", "src/extra.c"])
        self.assertLess(made.index("sbx_b(void);"), made.index("#if defined(SANDBOX_IMPLEMENTATION) && !defined(SBX_SANDBOX_H_IMPLEMENTED)"))

    def test_code_stays_as_it_is(self):
        made = self.make()
        for name, text in {**PUBLIC, **PRIVATE}.items():
            kept = "".join(line for line in text.splitlines(True) if not line.startswith('#include "') or "nowhere" in line)
            self.assertIn(f"/* ======== src/{name} ======== */\n{kept}", made)

    def test_same_every_time(self):
        self.assertEqual(self.make(), self.make())
        self.assertNotIn(self.root, self.make())
        self.assertNotIn("\r", self.make())

    def test_include_in_a_string_is_text(self):
        self.put("src/b.h", 'static const char *s = "\\"/*";\n#include "a.h"\nstatic const char *t = "*/";\n')
        self.assertNotIn('#include "a.h"', self.make())

    def test_compiles_included_twice(self):
        self.put("sandbox.h", self.make())
        self.put("x.c", '#include "sandbox.h"\n#define SANDBOX_IMPLEMENTATION\n#include "sandbox.h"\n#include "sandbox.h"\n'
                        "int main(void) { return sbx_a() + sbx_b() == 3 ? 0 : 1; }\n")
        program = os.path.join(self.root, "x")
        subprocess.run([os.environ.get("CC", "cc"), "-std=c99", "-pedantic-errors", "-o", program, program + ".c"], check=True)
        subprocess.run([program], check=True)


class Refused(Tree):
    def test_include_of_a_later_file(self):
        self.put("src/a.h", 'int x;\n#include "b.h"\n')
        self.refused("src/a.h:2: b.h does not stand before a.h in amalgamate.py")

    def test_public_header_needing_a_private_one(self):
        self.put("src/b.h", '#include "base.h"\n')
        self.refused("src/b.h:1: base.h does not stand before b.h in amalgamate.py")

    def test_unknown_include(self):
        self.put("src/one.c", '\n\n#include "nowhere.h"\n')
        self.refused("src/one.c:3: nowhere.h does not stand before one.c in amalgamate.py")

    def test_include_that_is_not_exact(self):
        for line in ('#include "a.h" /* why */', ' #include "a.h"', '# include "a.h"', '#include "./a.h"', '#include "../src/a.h"', '#include  "a.h"'):
            self.put("src/one.c", line + "\n")
            self.refused('src/one.c:1: write it as #include "name.h" and nothing else')

    def test_missing_file(self):
        os.remove(os.path.join(self.root, "src/one_more.c"))
        self.refused("src/one_more.c: listed in amalgamate.py, but missing")

    def test_file_that_is_not_listed(self):
        self.put("src/two.c", "\n")
        self.refused("src/two.c: not listed in amalgamate.py")

    def test_transport_that_is_not_listed(self):
        self.put("transports/sandbox_new.h", "\n")
        self.refused("transports/sandbox_new.h: not listed in amalgamate.py")

    def test_file_listed_twice(self):
        self.table(PUBLIC=["a.h", "b.h", "a.h"])
        self.refused("src/a.h: listed twice in amalgamate.py")

    def test_file_named_after_another_part(self):
        self.table(PRIVATE=[("base", ["base.h", "one.h", "one.c", "one_more.c", "extra.c"])])
        self.refused("src/one.h: a file of part base is called base.h, base.c or base_more.c")

    def test_carriage_return_and_missing_newline(self):
        self.put("src/one.c", "int x;\r\n")
        self.refused("src/one.c:1: a carriage return")
        self.put("src/one.c", "int x;\nint y;")
        self.refused("src/one.c:2: no newline at the end")


class Options(Tree):
    def test_with_transports_in_declared_order(self):
        made = self.make(["top", "net"])
        self.assertLess(made.index("sbx_extra"), made.index("sbx_net;"))
        self.assertLess(made.index("sbx_net;"), made.index("sbx_top;"))
        self.assertNotIn("#include \"", made.replace('#include "nowhere.h"', ""))

    def test_with_a_transport_that_needs_another(self):
        self.assertEqual(self.make(["top"]), self.make(["net", "top"]))
        self.put("transports/sandbox_top.h", '#include "sandbox.h"\n/*\n#include "sandbox_net.h"\n*/\nint sbx_top;\n')
        self.assertNotIn("sbx_net;", self.make(["top"]))

    def test_with_a_transport_that_needs_a_later_one(self):
        self.put("transports/sandbox_net.h", '#include "sandbox_top.h"\n')
        self.put("transports/sandbox_top.h", "int sbx_top;\n")
        self.refused("transports/sandbox_net.h:1: sandbox_top.h does not stand before sandbox_net.h in amalgamate.py", ["net"])

    def test_with_an_unknown_transport(self):
        self.refused("--with pigeon: there is net, top", ["pigeon"])

    def test_without(self):
        made = self.make([], ["extra"])
        self.assertIn("#define SBX_NO_EXTRA 1\n", made)
        self.assertNotIn("sbx_extra", made)
        self.assertNotIn("#define SBX_NO_EXTRA 1\n", self.make())

    def test_without_an_unknown_feature(self):
        self.refused("--without gravity: there is extra", [], ["gravity"])


class CommandLine(Tree):
    def test_check(self):
        where = os.path.join(self.root, "sandbox.h")
        status, said = self.run_main("--check")
        self.assertEqual((status, said), (1, f"amalgamate.py: {where}: missing; run amalgamate.py\n"))
        self.assertEqual(self.run_main(), (0, ""))
        self.assertEqual(self.run_main("--check"), (0, ""))
        self.put("src/a.h", PUBLIC["a.h"].replace("sbx_a", "sbx_c"))
        line = self.get("sandbox.h").split("\n").index("int sbx_a(void);") + 1
        status, said = self.run_main("--check")
        self.assertEqual((status, said), (1, f"amalgamate.py: {where}:{line}: not what src/ makes; run amalgamate.py and commit the result\n"))
        self.assertIn("sbx_a(void);", self.get("sandbox.h"), "--check writes nothing")

    def test_check_sees_a_shorter_file(self):
        self.run_main()
        with open(os.path.join(self.root, "sandbox.h"), "a") as f:
            f.write("x\n")
        self.assertEqual(self.run_main("--check")[0], 1)

    def test_output(self):
        other = os.path.join(self.root, "other.h")
        self.assertEqual(self.run_main("-o", other, "--without", "extra", "--with", "net,top"), (0, ""))
        self.assertEqual(self.get("other.h"), self.make(["net", "top"], ["extra"]))
        self.assertFalse(os.path.exists(os.path.join(self.root, "sandbox.h")))

    def test_a_problem_leaves_the_file_alone(self):
        self.run_main()
        before = self.get("sandbox.h")
        self.put("src/one.c", '#include "nowhere.h"\n')
        self.assertEqual(self.run_main()[0], 1)
        self.assertEqual(self.get("sandbox.h"), before)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""examples/anchors/pem_to_c.c: what it prints compiles, and is what a client reads from the same files."""
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CC = os.environ.get("CC", "gcc")

COMPARE = r"""
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_bearssl.h"
#include "anchors.h"
#include <stdio.h>

static unsigned at, wrong;

static bool same(void *user, const br_x509_trust_anchor *a)
{
    const br_x509_trust_anchor *b = &mine[at];

    (void)user;
    wrong += at >= (unsigned)mine_n || a->flags != b->flags || !sbxi_bearssl_same_anchor(a, b) ||
             (a->pkey.key_type == BR_KEYTYPE_EC ? a->pkey.key.ec.curve != b->pkey.key.ec.curve
                                                : memcmp(a->pkey.key.rsa.e, b->pkey.key.rsa.e, a->pkey.key.rsa.elen) != 0);
    at++;
    return true;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        wrong += sbx_bearssl_pem(argv[i], same, NULL) != SBX_OK;
    printf("%u of %u\n", at, (unsigned)mine_n);
    return wrong || at != (unsigned)mine_n || !at;
}
"""


class Anchors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.tool = cls.compile("pem_to_c", os.path.join(ROOT, "examples", "anchors", "pem_to_c.c"))
        subprocess.run([sys.executable, os.path.join(ROOT, "tests", "tls", "certs.py"), cls.folder.name], check=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    @classmethod
    def compile(cls, name, source):
        program = cls.path(name)
        subprocess.run([CC, "-std=c99", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-pedantic", "-Werror", "-I" + ROOT, "-I" + os.path.join(ROOT, "transports"),
                        "-I" + cls.folder.name, "-o", program, source, "-lbearssl"], check=True)
        return program

    def tool_on(self, *arguments):
        return subprocess.run([self.tool, *arguments], capture_output=True, text=True)

    def test_same_as_read(self):
        files = [self.path("ca.pem"), self.path("rsa.pem")]
        made = self.tool_on("mine", *files)
        self.assertEqual((made.returncode, made.stderr), (0, ""))
        self.assertIn("BR_KEYTYPE_RSA", made.stdout)
        self.assertIn("BR_KEYTYPE_EC", made.stdout)
        with open(self.path("anchors.h"), "w") as f:
            f.write(made.stdout)
        with open(self.path("compare.c"), "w") as f:
            f.write(COMPARE)
        subprocess.run([self.compile("compare", self.path("compare.c")), *files], check=True, stdout=subprocess.DEVNULL)

    def test_refuses(self):
        self.assertEqual(self.tool_on().returncode, 2)
        self.assertEqual(self.tool_on("1st", self.path("ca.pem")).returncode, 2)
        self.assertEqual(self.tool_on("a;b", self.path("ca.pem")).returncode, 2)
        missing = self.tool_on("mine", self.path("missing.pem"))
        self.assertEqual(missing.returncode, 1)
        self.assertIn("missing.pem", missing.stderr)
        self.assertEqual(self.tool_on("mine", self.path("ca.pem").replace("ca.pem", "right.key")).returncode, 1)


if __name__ == "__main__":
    unittest.main()

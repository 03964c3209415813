#!/usr/bin/env python3
"""The switches that leave a feature out: what asks for it is refused, the rest works."""
import os
import subprocess
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
FEATURES = [f"SBX_NO_{feature}=1" for feature in ("ALLOC", "CONFIG", "DATES", "EXECUTE", "LEGACY", "OWNED", "PORTS", "SSE", "SSH_AGENT", "TRACE", "TUNNEL", "URLS")]


class Switches(unittest.TestCase):
    def test_each_and_all(self):
        for switches in [[]] + [[feature] for feature in FEATURES] + [FEATURES]:
            with self.subTest(switches=switches), tempfile.TemporaryDirectory() as folder:
                program = os.path.join(folder, "program")
                subprocess.run([os.environ.get("GCC", "gcc"), "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}",
                                *(f"-D{s}" for s in switches), "-o", program, os.path.join(HERE, "switches.c")], check=True)
                self.assertEqual(subprocess.run([program]).returncode, 0)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""run.py: what it reads from a suite's output, and what it does with its end."""
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
import run  # noqa: E402

CMOCKA = """\
[==========] Running 3 test(s).
[ RUN      ] a
[       OK ] a
[ RUN      ] b
[       OK ] b
"""


class Count(unittest.TestCase):
    def test_cmocka(self):
        self.assertEqual(run.count(CMOCKA + "[==========] 3 test(s) run.\n[  PASSED  ] 3 test(s).\n", 0), (3, 0, 0))
        self.assertEqual(run.count(CMOCKA + "[  PASSED  ] 2 test(s).\n[  FAILED  ] 1 test(s), listed below:\n[  FAILED  ] c\n", 1), (2, 1, 0))
        self.assertEqual(run.count(CMOCKA + "[  PASSED  ] 2 test(s).\n[  SKIPPED ] 1 test(s), listed below:\n", 0), (2, 0, 1))

    def test_two_groups(self):
        self.assertEqual(run.count((CMOCKA + "[  PASSED  ] 3 test(s).\n") * 2, 0), (6, 0, 0))

    def test_crash_in_the_middle(self):
        self.assertEqual(run.count(CMOCKA + "[ RUN      ] c\nAddressSanitizer: ...\n", 1), (2, 1, 0))

    def test_all_passed_but_the_status(self):
        self.assertEqual(run.count(CMOCKA + "[  PASSED  ] 3 test(s).\nLeakSanitizer: ...\n", 23), (3, 1, 0))

    def test_no_test_ran(self):
        self.assertEqual(run.count("[==========] Running 0 test(s).\n[  PASSED  ] 0 test(s).\n", 0), (0, 1, 0))

    def test_unittest(self):
        self.assertEqual(run.count("Ran 7 tests in 0.1s\n\nOK\n", 0), (7, 0, 0))
        self.assertEqual(run.count("Ran 7 tests in 0.1s\n\nOK (skipped=2)\n", 0), (5, 0, 2))
        self.assertEqual(run.count("Ran 7 tests in 0.1s\n\nFAILED (failures=1, errors=2, skipped=1)\n", 1), (3, 3, 1))

    def test_node(self):
        tap = "TAP version 13\n# tests 9\n# suites 0\n# pass 6\n# fail 1\n# cancelled 1\n# skipped 1\n# todo 0\n"
        self.assertEqual(run.count(tap, 1), (6, 2, 1))
        self.assertEqual(run.count("\u2139 tests 2\n\u2139 pass 2\n\u2139 fail 0\n\u2139 skipped 0\n", 0), (2, 0, 0))

    def test_skipped(self):
        self.assertEqual(run.count("Node is missing\n", 77), (0, 0, 1))

    def test_own_line(self):
        self.assertEqual(run.count("1 passed, 1 failed\n12 passed, 3 failed\n", 1), (12, 3, 0))
        self.assertEqual(run.count("12 passed, 0 failed\n", 1), (12, 1, 0))

    def test_nothing_known(self):
        self.assertEqual(run.count("fine\n", 0), (1, 0, 0))
        self.assertEqual(run.count("not fine\n", 3), (0, 1, 0))


class Runner(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def run_suites(self, *suites):
        done = subprocess.run([sys.executable, os.path.join(HERE, "run.py"), "--logs", self.folder, *suites], stdout=subprocess.PIPE, text=True)
        return done.returncode, done.stdout

    def test_sum_and_log(self):
        status, said = self.run_suites("good|echo hello", "bad/one|echo because; exit 1")
        self.assertEqual(status, 1)
        self.assertEqual(said.splitlines()[-1], "1 passed, 1 failed")
        self.assertIn("| because", said)
        self.assertNotIn("hello", said)
        with open(os.path.join(self.folder, "good.log")) as f:
            self.assertEqual(f.read(), "hello\n")
        with open(os.path.join(self.folder, "summary")) as f:
            self.assertEqual(f.read(), "1 passed, 1 failed\n")

    def test_all_good(self):
        self.assertEqual(self.run_suites("a|true", "b|true")[0], 0)

    def test_nothing_to_run_is_no_success(self):
        self.assertNotEqual(self.run_suites()[0], 0)

    def test_order(self):
        mark = os.path.join(self.folder, "mark")
        self.assertEqual(self.run_suites(f"a|sleep 0.2; touch {mark}", "--then", f"b|test -e {mark}")[0], 0)

    def test_time_limit_ends_the_suite_and_its_children(self):
        pids = os.path.join(self.folder, "pids")
        status, said = self.run_suites(f"slow@1|sleep 60 & echo $! >{pids}; wait")
        self.assertEqual(status, 1)
        self.assertIn("stopped after 1 s", said)
        with open(pids) as f:
            pid = f.read().strip()
        try:
            with open(f"/proc/{pid}/stat") as f:
                self.assertEqual(f.read().rpartition(")")[2].split()[0], "Z", "dead, if not yet buried by init")
        except FileNotFoundError:
            pass


if __name__ == "__main__":
    unittest.main()

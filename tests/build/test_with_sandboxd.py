#!/usr/bin/env python3
"""with_sandboxd.py beside programs that only look like sandboxd."""
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
READY = 'echo "sandboxd listening on http://127.0.0.1:4711"\n'


class WithSandboxd(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def run_beside(self, sandboxd, *command):
        """(status, stdout, stderr); sandboxd is a shell script."""
        program = os.path.join(self.folder, "sandboxd")
        with open(program, "w") as f:
            f.write("#!/bin/sh\n" + sandboxd)
        os.chmod(program, 0o755)
        environment = dict(os.environ, SANDBOXD=program, TMPDIR=self.folder, LANGSMITH_TENANT_ID="x", LANGCHAIN_API_KEY="x")
        done = subprocess.run([sys.executable, os.path.join(HERE, "with_sandboxd.py"), *command],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith("sandboxd-")], [], "the state directory is gone")
        return done.returncode, done.stdout, done.stderr

    def gone(self, pid):
        with self.assertRaises(ProcessLookupError):
            os.kill(pid, 0)

    def test_command_and_environment(self):
        status, out, err = self.run_beside(READY + "exec sleep 60\n", "sh", "-c", "echo $LANGSMITH_ENDPOINT ${LANGSMITH_API_KEY%%_*} $LANGSMITH_TENANT_ID$LANGCHAIN_API_KEY $SANDBOXD_PID")
        self.assertEqual((status, err), (0, ""))
        endpoint, key, pid = out.split()
        self.assertEqual((endpoint, key), ("http://127.0.0.1:4711", "lsv2"))
        self.gone(int(pid))

    def test_arguments(self):
        status, out, _ = self.run_beside(f'echo "$@" >{self.folder}/arguments\n' + READY + "exec sleep 60\n", "cat", os.path.join(self.folder, "arguments"))
        words = out.split()
        self.assertEqual((status, words[:3], words[4]), (0, ["--listen", "127.0.0.1:0", "--api-key"][:3], "--state"))

    def test_tls(self):
        try:
            import cryptography
        except ImportError:
            self.skipTest("Debian's python3-cryptography is needed")
        # As sandboxd would: a certificate with the key that fits.
        script = f'echo "$@" >{self.folder}/arguments\ngrep -q "BEGIN CERTIFICATE" "${{8}}" && grep -q "PRIVATE KEY" "${{10}}" || exit 1\n' + READY.replace("http:", "https:") + "exec sleep 60\n"
        status, out, err = self.run_beside(script, "--tls", "sh", "-c", f"cat {self.folder}/arguments; echo $SANDBOXD_CERT $SANDBOXD_KEY; grep -c BEGIN $SANDBOXD_CA; [ $NODE_EXTRA_CA_CERTS = $SANDBOXD_CA ] && echo $LANGSMITH_ENDPOINT")
        self.assertEqual((status, err), (0, ""))
        arguments, files, n, endpoint = out.splitlines()
        self.assertEqual(arguments.split()[6:10:2] + arguments.split()[7:10:2], ["--tls-cert", "--tls-key", *files.split()])
        self.assertEqual((n, endpoint), ("1", "https://127.0.0.1:4711"))

    def test_status_of_the_command(self):
        self.assertEqual(self.run_beside(READY + "exec sleep 60\n", "sh", "-c", "exit 7")[0], 7)
        self.assertEqual(self.run_beside(READY + "exec sleep 60\n", "sh", "-c", "kill -9 $$")[0], 137)

    def test_does_not_start(self):
        status, out, err = self.run_beside("echo no bubblewrap >&2; exit 3\n", "echo", "ran")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("no bubblewrap", err)
        self.assertIn("with_sandboxd: sandboxd did not start", err)

    def test_is_found_from_anywhere(self):
        environment = {k: v for k, v in os.environ.items() if k != "SANDBOXD"}
        root = os.path.dirname(os.path.dirname(HERE))
        for build, where in (("no-such-build", os.path.join(root, "no-such-build")), (self.folder, self.folder), ("", os.path.join(root, "build"))):
            done = subprocess.run([sys.executable, os.path.join(HERE, "with_sandboxd.py"), "true"],
                                  stderr=subprocess.PIPE, text=True, env=dict(environment, BUILD=build), cwd=self.folder)
            if done.returncode:
                self.assertIn(f"with_sandboxd: {where}/sandboxd: No such file", done.stderr)
            else:
                self.assertEqual(build, "")  # it is built here, and started

    def test_is_missing(self):
        environment = dict(os.environ, SANDBOXD=os.path.join(self.folder, "none"))
        done = subprocess.run([sys.executable, os.path.join(HERE, "with_sandboxd.py"), "true"], stderr=subprocess.PIPE, text=True, env=environment)
        self.assertEqual(done.returncode, 1)
        self.assertIn("No such file", done.stderr)

    def test_ends_on_its_own(self):
        status, _, err = self.run_beside(READY + "sleep 0.1; exit 0\n", "sleep", "0.5")
        self.assertEqual(status, 1)
        self.assertIn("ended on its own, status 0", err)

    def test_fails_on_sigterm(self):
        status, _, err = self.run_beside("trap 'exit 9' TERM\n" + READY + "while :; do sleep 0.05; done\n", "true")
        self.assertEqual(status, 1)
        self.assertIn("did not end cleanly on SIGTERM (status 9)", err)

    def test_leaves_a_process_behind(self):
        pids = os.path.join(self.folder, "pids")
        # In a session of its own, and orphaned before sandboxd ends.
        status, _, err = self.run_beside(f"(setsid sleep 60 & echo $! >{pids})\n" + READY + "exec sleep 60\n", "true")
        with open(pids) as f:
            pid = int(f.read())
        self.assertEqual(status, 1)
        self.assertIn(f"left behind: process {pid} (sleep)", err)
        self.gone(pid)

    def test_is_stopped_when_interrupted(self):
        pids = os.path.join(self.folder, "pids")
        status, _, _ = self.run_beside(READY + f"echo $$ >{pids}; exec sleep 60\n", "sh", "-c", "kill -TERM $PPID; sleep 60")
        self.assertEqual(status, 143)
        with open(pids) as f:
            self.gone(int(f.read()))


if __name__ == "__main__":
    unittest.main()

// Commands, through the official client.
import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import {
  LangSmithCommandTimeoutError,
  LangSmithDataplaneNotConfiguredError,
  LangSmithResourceNotFoundError,
  LangSmithSandboxConnectionError,
  LangSmithSandboxError,
  LangSmithSandboxOperationError,
  LangSmithValidationError,
  Sandbox,
} from "langsmith/sandbox";
import { sleep, startServer, until } from "./helper.mjs";

const numbers = (n) => Array.from({ length: n }, (_, i) => `${i + 1}\n`).join("");

describe("run", () => {
  let server, client, box;

  before(async () => {
    server = await startServer("--ring-bytes", "65536");
    client = server.client();
    box = await client.createSandbox({ name: "runner" });
  });
  after(async () => {
    await box.delete();
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
  });

  it("returns stdout, stderr and the exit code", async () => {
    assert.deepEqual(await box.run("printf out; printf err >&2; exit 7"), {
      stdout: "out",
      stderr: "err",
      exit_code: 7,
    });
    assert.deepEqual(await box.run("true"), { stdout: "", stderr: "", exit_code: 0 });
    assert.deepEqual(await box.run("kill -TERM $$"), { stdout: "", stderr: "", exit_code: 143 });
    assert.deepEqual(await box.run("no-such-program-here"), {
      stdout: "",
      stderr: "/bin/bash: line 1: no-such-program-here: command not found\n",
      exit_code: 127,
    });
  });

  it("speaks the HTTP fallback", async () => {
    assert.deepEqual(await box._runHttp("cat; printf 'a\\0b\\377\\n'; echo err >&2; exit 3", { env: { X: "1" } }), {
      stdout: "a\0b\ufffd\n",
      stderr: "err\n",
      exit_code: 3,
    });
    assert.equal((await box._runHttp("echo $X; pwd", { env: { X: "1" }, cwd: "/tmp" })).stdout, "1\n/tmp\n");
    assert.equal((await box._runHttp("echo $0", { shell: "/bin/sh" })).stdout, "/bin/sh\n");
    assert.equal(
      (await box._runHttp("echo $Y; pwd", { runConfig: { work_dir: "/var", env_vars: { Y: "2" } } })).stdout,
      "2\n/var\n",
    );
    await assert.rejects(box._runHttp("sleep 20", { timeout: 0.3 }), (e) => {
      assert.ok(e instanceof LangSmithSandboxError);
      assert.match(e.message, /timeout/);
      return true;
    });
    await assert.rejects(box._runHttp("x", { shell: "/no/shell" }), (e) => {
      assert.ok(e instanceof LangSmithSandboxOperationError);
      assert.equal(e.operation, "command");
      assert.equal(e.message, "cannot start the command: shell: No such file or directory");
      return true;
    });
  });

  it("honours env, cwd, shell and run_config, and their layers", async () => {
    assert.equal((await box.run("echo $A-$B", { env: { A: "1", B: "x y" } })).stdout, "1-x y\n");
    assert.equal((await box.run("pwd", { cwd: "/usr/bin" })).stdout, "/usr/bin\n");
    assert.equal((await box.run("pwd")).stdout, "/root\n");
    assert.equal((await box.run("echo $0", { shell: "/bin/sh" })).stdout, "/bin/sh\n");
    const rc = { work_dir: "/tmp", env_vars: { A: "rc" } };
    assert.equal((await box.run("pwd; echo $A", { runConfig: rc })).stdout, "/tmp\nrc\n");
    const layered = await client.createSandbox({
      runConfig: { work_dir: "/var/tmp", env_vars: { A: "box", B: "box" } },
    });
    assert.equal((await layered.run("pwd; echo $A $B")).stdout, "/var/tmp\nbox box\n");
    assert.equal(
      (await layered.run("pwd; echo $A $B", { runConfig: { env_vars: { A: "command" } } })).stdout,
      "/var/tmp\ncommand box\n",
    );
    await layered.delete();
    await assert.rejects(box.run("x", { runConfig: rc, cwd: "/" }), LangSmithValidationError);
    await assert.rejects(box.run("pwd", { cwd: "/missing" }), (e) => {
      assert.ok(e instanceof LangSmithSandboxOperationError);
      assert.equal(e.errorType, "CommandError");
      assert.equal(e.message, "cannot start the command: working directory: No such file or directory");
      return true;
    });
  });

  it("closes stdin by default", async () => {
    assert.deepEqual(await box.run("cat; echo end"), { stdout: "end\n", stderr: "", exit_code: 0 });
  });

  it("streams through callbacks", async () => {
    const out = [];
    const err = [];
    const result = await box.run("for i in 1 2 3; do echo o$i; echo e$i >&2; sleep 0.05; done", {
      onStdout: (s) => out.push(s),
      onStderr: (s) => err.push(s),
    });
    assert.equal(out.join(""), "o1\no2\no3\n");
    assert.equal(err.join(""), "e1\ne2\ne3\n");
    assert.ok(out.length > 1, "output must arrive while the command runs");
    assert.deepEqual(result, { stdout: "o1\no2\no3\n", stderr: "e1\ne2\ne3\n", exit_code: 0 });
  });

  it("gives a handle with id, pid, offsets and ordered chunks", async () => {
    const handle = await box.run("printf abc; sleep 0.1; printf 'dé'; exit 4", { wait: false });
    assert.match(handle.commandId, /^[0-9a-f-]{36}$/);
    assert.ok(handle.pid > 1);
    const chunks = [];
    for await (const chunk of handle) chunks.push(chunk);
    assert.deepEqual(chunks, [
      { stream: "stdout", data: "abc", offset: 0 },
      { stream: "stdout", data: "dé", offset: 3 },
    ]);
    assert.equal(handle.lastStdoutOffset, 6);
    assert.equal(handle.lastStderrOffset, 0);
    assert.deepEqual(await handle.result, { stdout: "abcdé", stderr: "", exit_code: 4 });
  });

  it("delivers large output complete and in order", async () => {
    const result = await box.run("seq 1 300000");
    assert.equal(result.stdout.length, 1988895);
    assert.equal(result.stdout, numbers(300000));
  });

  it("takes input and closes it", async () => {
    const handle = await box.run("read a; echo got:$a; cat; echo end", { wait: false, closeInput: false });
    handle.sendInput("first\n");
    handle.sendInput("second ü\n");
    handle.closeInput();
    assert.throws(() => handle.sendInput("late"), LangSmithSandboxOperationError);
    assert.deepEqual(await handle.result, { stdout: "got:first\nsecond ü\nend\n", stderr: "", exit_code: 0 });
    const big = "x".repeat(1 << 20);
    const counter = await box.run("wc -c", { wait: false, closeInput: false });
    counter.sendInput(big);
    counter.closeInput();
    assert.equal((await counter.result).stdout, `${1 << 20}\n`);
  });

  it("kills the whole process tree", async () => {
    const handle = await box.run(
      "sleep 987 & setsid sleep 987 & (setsid setsid nohup sleep 987 >/dev/null 2>&1 &) ; echo ready; sleep 987",
      { wait: false },
    );
    for await (const chunk of handle) {
      assert.equal(chunk.data, "ready\n");
      break;
    }
    await until(async () => (await box.run("pgrep -c -x sleep")).stdout === "4\n");
    const again = await box.reconnect(handle.commandId, { stdoutOffset: 6 });
    const result = again.result;
    await sleep(100);
    again.kill();
    assert.deepEqual(await result, { stdout: "", stderr: "", exit_code: 137 });
    await until(async () => (await box.run("pgrep -c -x sleep")).stdout === "0\n"); // a killed process takes a moment to go
  });

  it("ends a command at its timeout, after its output", async () => {
    const out = [];
    await assert.rejects(box.run("echo partial; sleep 60", { timeout: 1, onStdout: (s) => out.push(s) }), (e) => {
      assert.ok(e instanceof LangSmithCommandTimeoutError);
      assert.equal(e.errorType, "CommandTimeout");
      return true;
    });
    assert.deepEqual(out, ["partial\n"]);
    assert.equal((await box.run("pgrep -c -x sleep")).stdout, "0\n");
    assert.equal((await box.run("sleep 0.2; echo fine", { timeout: 0 })).stdout, "fine\n", "0 means none");
  });

  it("kills a command that nobody watches after idle_timeout_seconds", async () => {
    const handle = await box.run("echo on; sleep 61", { wait: false, idleTimeout: 1 });
    for await (const chunk of handle) {
      assert.equal(chunk.data, "on\n");
      break; // leaving the loop closes the socket
    }
    assert.equal((await box.run("pgrep -c -x sleep")).stdout, "1\n");
    await until(async () => (await box.run("pgrep -c -x sleep")).stdout === "0\n", 5000);
    const ended = await box.reconnect(handle.commandId);
    assert.deepEqual(await ended.result, { stdout: "on\n", stderr: "", exit_code: 137 });
  });

  it("kills on disconnect only when asked to", async () => {
    for (const killOnDisconnect of [false, true]) {
      const handle = await box.run("echo on; sleep 1.5; echo off", { wait: false, killOnDisconnect });
      for await (const chunk of handle) {
        assert.equal(chunk.data, "on\n");
        break;
      }
      await until(async () => (await box.run("pgrep -c -x sleep")).stdout === (killOnDisconnect ? "0\n" : "1\n"));
      const back = await box.reconnect(handle.commandId);
      assert.deepEqual(await back.result, {
        stdout: killOnDisconnect ? "on\n" : "on\noff\n",
        stderr: "",
        exit_code: killOnDisconnect ? 137 : 0,
      });
    }
  });

  it("keeps a finished command for ttl_seconds", async () => {
    const short = await box.run("echo done", { wait: false, ttlSeconds: 0 });
    assert.equal((await short.result).stdout, "done\n");
    await until(async () => {
      try {
        await (await box.reconnect(short.commandId)).result;
        return false;
      } catch (e) {
        assert.ok(e instanceof LangSmithSandboxOperationError);
        assert.equal(e.errorType, "SessionExpired");
        assert.equal(e.operation, "reconnect");
        return true;
      }
    });
    const kept = await box.run("echo done", { wait: false, ttlSeconds: -1 });
    await kept.result;
    await sleep(200);
    assert.equal((await (await box.reconnect(kept.commandId)).result).stdout, "done\n");
  });

  it("reconnects from offsets", async () => {
    const handle = await box.run("printf 12345; printf abc >&2; sleep 0.5; printf 67890", { wait: false });
    const seen = new Set();
    for await (const chunk of handle) {
      if (seen.add(chunk.stream).size === 2) break;
    }
    assert.equal(handle.lastStdoutOffset, 5);
    const tail = await box.reconnect(handle.commandId, { stdoutOffset: 3, stderrOffset: 1 });
    assert.deepEqual(await tail.result, { stdout: "4567890", stderr: "bc", exit_code: 0 });
    const once = await handle.reconnect();
    const stderr = "abc".slice(handle.lastStderrOffset);
    assert.deepEqual(await once.result, { stdout: "67890", stderr, exit_code: 0 });
    await assert.rejects(
      box.reconnect("00000000-0000-7000-8000-000000000000").then((h) => h.result),
      (e) => {
        assert.ok(e instanceof LangSmithSandboxOperationError);
        assert.equal(e.errorType, "CommandNotFound");
        return true;
      },
    );
  });

  it("is idempotent in command_id", async () => {
    const commandId = "11111111-2222-7333-8444-555555555555";
    const command = "echo x >> /root/counter; cat /root/counter";
    assert.equal((await box.run(command, { commandId })).stdout, "x\n");
    assert.equal((await box.run(command, { commandId })).stdout, "x\n");
    assert.equal((await box.run("wc -l < /root/counter")).stdout, "1\n");
  });

  it("gives a terminal", async () => {
    const result = await box.run("tty; stty size; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo $TERM; echo e >&2", {
      pty: true,
    });
    assert.deepEqual(result, { stdout: "/dev/pts/0\r\n24 80\r\nxterm-256color\r\ne\r\n", stderr: "", exit_code: 0 });
    const shell = await box.run("stty -echo; read line; echo \"<$line>\"; cat", { pty: true, wait: false });
    shell.closeInput(); // does nothing under a terminal
    await sleep(200);
    shell.sendInput("hello\n");
    shell.sendInput("\x04");
    assert.equal((await shell.result).stdout, "<hello>\r\n");
  });

  it("does not wait for background processes", async () => {
    const result = await box.run("(sleep 30; echo late) & echo now");
    assert.equal(result.stdout, "now\n");
    assert.equal((await box.run("pkill -x sleep; echo $?")).stdout, "0\n", "it goes on running");
  });

  it("takes a long command and a large environment", async () => {
    const long = "x".repeat(100000);
    const env = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`V${i}`, "v".repeat(10000)]));
    const result = await box.run(`: ${long}; echo $((${Object.keys(env).map((k) => "${#" + k + "}").join("+")}))`, { env });
    assert.deepEqual(result, { stdout: "200000\n", stderr: "", exit_code: 0 });
    await assert.rejects(box.run(`: ${"x".repeat(200000)}`), (e) => {
      assert.equal(e.message, "cannot start the command: shell: Argument list too long");
      return true;
    });
  });

  it("runs many at once", async () => {
    const results = await Promise.all(Array.from({ length: 60 }, (_, i) => box.run(`echo ${i}; sleep 0.2`)));
    assert.deepEqual(
      results.map((r) => r.stdout),
      Array.from({ length: 60 }, (_, i) => `${i}\n`),
    );
  });

  it("reports an unknown sandbox, a bad key and a missing URL", async () => {
    const gone = new Sandbox({ name: "g", dataplane_url: `${server.url}/dataplane/unknown` }, client);
    await assert.rejects(gone.run("x"), (e) => {
      assert.ok(e instanceof LangSmithSandboxConnectionError);
      assert.match(e.message, /HTTP 404/);
      return true;
    });
    await assert.rejects(gone.read("/x"), LangSmithResourceNotFoundError);
    const intruder = new Sandbox({ name: "i", dataplane_url: box.dataplane_url }, server.client({ apiKey: "no" }));
    await assert.rejects(intruder.run("x"), /HTTP 401/);
    await assert.rejects(intruder.read("/x"), (e) => {
      assert.ok(e instanceof LangSmithSandboxError);
      assert.equal(e.message, "The API key is not valid");
      return true;
    });
    await assert.rejects(new Sandbox({ name: "n" }, client).run("x"), LangSmithDataplaneNotConfiguredError);
  });

  it("ends running commands when the sandbox is stopped or deleted", async () => {
    const doomed = await client.createSandbox();
    let handle = await doomed.run("echo up; sleep 99", { wait: false });
    let ended = assert.rejects(handle.result, (e) => {
      assert.equal(e.errorType, "SessionExpired");
      return true;
    });
    await doomed.stop();
    await ended;
    handle = await doomed.run("echo up; sleep 99", { wait: false });
    ended = assert.rejects(handle.result, LangSmithSandboxError);
    await doomed.delete();
    await ended;
  });
});

describe("run, over connections that break", () => {
  const broken = async (fault, command, options, expected) => {
    const server = await startServer("--fault", fault);
    try {
      const box = await server.client().createSandbox();
      const result = await box.run(command, options);
      assert.deepEqual(result, expected);
    } finally {
      await server.stop();
    }
  };
  const expected = { stdout: numbers(60000), stderr: "", exit_code: 0 };
  /* What the client's handle of a command sleeps meanwhile: a back-off is 8 s at
     most, its limits are 10 s and more. */
  const sleeps = async (run) => {
    const real = globalThis.setTimeout;
    const asked = [];
    globalThis.setTimeout = (f, ms, ...rest) => {
      if (ms <= 8000 && new Error().stack.includes("command_handle")) asked.push(ms);
      return real(f, ms, ...rest);
    };
    try {
      await run();
    } finally {
      globalThis.setTimeout = real;
    }
    return asked;
  };

  it("resumes by offset after resets", async () => {
    assert.equal((await sleeps(() => broken("drop-ws-after=70000:count=3", "seq 1 60000", {}, expected))).length, 3);
  });
  it("resumes at once after close code 1001", async () => {
    assert.deepEqual(await sleeps(() => broken("close-ws-after=70000:count=4", "seq 1 60000", {}, expected)), []);
  });
  it("repeats an execute that was refused or cut before started", async () => {
    await broken("status=503:count=1:path=/execute/ws", "echo once >> f; cat f", {}, {
      stdout: "once\n",
      stderr: "",
      exit_code: 0,
    });
    await broken("close-ws-after=0:code=1000:count=1", "echo once >> f; cat f", {}, {
      stdout: "once\n",
      stderr: "",
      exit_code: 0,
    });
  });
});

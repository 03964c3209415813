// The wire itself: what the official client does not show, or never sends.
import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import WebSocket from "ws";
import { KEY, Stream, execute, request, sleep, startServer, until, wsUrl } from "./helper.mjs";

const residentMiB = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024;

describe("execute/ws", () => {
  let server, client, box, dp;

  before(async () => {
    server = await startServer("--max-message", "1200000");
    client = server.client();
    box = await client.createSandbox();
    dp = box.dataplane_url;
  });
  after(async () => {
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
  });

  it("sends started, output, exit, and closes with 1000", async () => {
    const s = new Stream(dp, execute("printf hi", { command_id: "0123456789abcdef0123456789abcdef" }));
    assert.equal(await s.closed, 1000);
    const pid = s.messages[0].pid;
    assert.ok(Number.isInteger(pid) && pid > 1);
    assert.deepEqual(s.messages, [
      { type: "started", command_id: "0123456789abcdef0123456789abcdef", pid },
      { type: "stdout", data: "hi", offset: 0 },
      { type: "exit", exit_code: 0 },
    ]);
  });

  it("makes an id when none is given", async () => {
    const s = new Stream(dp, execute("true"));
    await s.closed;
    assert.match(s.messages[0].command_id, /^[0-9a-f-]{36}$/);
  });

  it("never splits a character", async () => {
    const s = new Stream(dp, execute("printf 'x\\303'; sleep 0.2; printf '\\251\\360\\237'; sleep 0.2; printf '\\230\\200'"));
    await s.closed;
    assert.deepEqual(s.of("stdout"), [
      { type: "stdout", data: "x", offset: 0 },
      { type: "stdout", data: "é", offset: 1 },
      { type: "stdout", data: "\u{1F600}", offset: 3 },
    ]);
  });

  it("replaces bad bytes and counts offsets in raw bytes", async () => {
    const s = new Stream(
      dp,
      execute("printf 'a\\377b\\355\\240\\200'; sleep 0.2; printf 'c\\300\\257\\0\\001\"\\\\\\n\\342\\202'"),
    );
    await s.closed;
    assert.deepEqual(s.of("stdout"), [
      { type: "stdout", data: "a\ufffdb\ufffd\ufffd\ufffd", offset: 0 },
      { type: "stdout", data: 'c\ufffd\ufffd\0\x01"\\\n', offset: 6 },
      { type: "stdout", data: "\ufffd", offset: 14 },
    ]);
  });

  it("numbers long output without holes, in bounded messages", async () => {
    const s = new Stream(dp, execute("head -c 3000000 /dev/zero | tr '\\0' x"));
    await s.closed;
    let at = 0;
    for (const m of s.of("stdout")) {
      assert.equal(m.offset, at);
      assert.ok(m.data.length <= 65536);
      at += m.data.length;
    }
    assert.equal(at, 3000000);
  });

  it("attaches to a running command, from the start, twice at once", async () => {
    const first = new Stream(dp, execute("echo one; sleep 0.6; echo two", { command_id: "shared" }));
    await first.wait((m) => m.type === "stdout");
    const second = new Stream(dp, execute("echo never", { command_id: "shared" }));
    const third = new Stream(dp, { type: "reconnect", command_id: "shared", stdout_offset: 4, stderr_offset: 0 });
    await Promise.all([first.closed, second.closed, third.closed]);
    assert.equal(first.text(), "one\ntwo\n");
    assert.equal(second.text(), "one\ntwo\n");
    assert.equal(third.text(), "two\n");
    for (const s of [first, second, third]) {
      assert.equal(s.messages[0].type, "started");
      assert.equal(s.messages[0].command_id, "shared");
      assert.deepEqual(s.messages.at(-1), { type: "exit", exit_code: 0 });
    }
  });

  it("resizes a terminal, and starts the shell itself without a command", async () => {
    const s = new Stream(dp, { type: "execute", pty: true, timeout_seconds: 20, shell: "/bin/sh" });
    await s.wait((m) => m.type === "started");
    s.send({ type: "resize", cols: 132, rows: 43 });
    s.send({ type: "input", data: "stty size\n" });
    await until(() => s.text().includes("43 132\r\n"));
    s.send({ type: "input", data: "exit 5\n" });
    assert.equal(await s.closed, 1000);
    assert.deepEqual(s.messages.at(-1), { type: "exit", exit_code: 5 });
  });

  it("takes input right behind execute, in fragments, with any character", async () => {
    const s = new Stream(dp, execute("od -An -tx1 -v | tr -d ' \\n'", { close_stdin: false }));
    await new Promise((resolve) => s.ws.on("open", resolve));
    const message = JSON.stringify({ type: "input", data: 'a\0é"\u{1F600}' });
    for (const [i, c] of [...Buffer.from(message)].entries())
      s.ws.send(Buffer.from([c]), { binary: false, fin: i === Buffer.byteLength(message) - 1 });
    s.send({ type: "unknown", x: 1 });
    s.send({ type: "close_stdin" });
    assert.equal(await s.closed, 1000);
    assert.equal(s.text(), "6100c3a922f09f9880");
  });

  it("kills a command that does not read its input", async () => {
    const s = new Stream(dp, execute("sleep 77", { close_stdin: false }));
    await s.wait((m) => m.type === "started");
    s.send({ type: "input", data: "y".repeat(1000000) });
    s.send({ type: "kill" });
    assert.equal(await s.closed, 1000);
    assert.deepEqual(s.messages.at(-1), { type: "exit", exit_code: 137 });
  });

  it("kills one that is not started yet", async () => {
    const s = new Stream(dp, execute("sleep 78"));
    s.ws.on("open", () => s.send({ type: "kill" }));
    await s.closed;
    assert.deepEqual(s.messages.at(-1), { type: "exit", exit_code: 137 });
  });

  it("delivers partial output before a CommandTimeout, and again on reconnect", async () => {
    const s = new Stream(dp, execute("echo part; sleep 60", { timeout_seconds: 0.5, command_id: "late" }));
    assert.equal(await s.closed, 1000);
    const again = new Stream(dp, { type: "reconnect", command_id: "late", stdout_offset: 0, stderr_offset: 0 });
    await again.closed;
    for (const x of [s, again]) {
      assert.deepEqual(
        x.messages.map((m) => m.type),
        ["started", "stdout", "error"],
      );
      assert.equal(x.messages[2].error_type, "CommandTimeout");
      assert.equal(x.text(), "part\n");
    }
  });

  it("refuses bad first messages", async () => {
    const cases = [
      ["{oops", /JSON object/],
      ['"text"', /JSON object/],
      [{ type: "input", data: "x" }, /first message/],
      [{ type: "reconnect" }, /command_id/],
      [{ type: "execute" }, /command is required/],
      [execute(5), /command must be a string/],
      [execute("x", { timeout_seconds: "1" }), /timeout_seconds must be a number/],
      [execute("x", { env: { A: 1 } }), /value of A must be a string/],
      [execute("x", { env: {}, run_config: {} }), /cannot be combined/],
      [execute("x", { cwd: "/", run_config: {} }), /cannot be combined/],
      [execute("x", { command_id: "" }), /command_id/],
    ];
    for (const [first, why] of cases) {
      const s = new Stream(dp, first);
      assert.equal(await s.closed, 1008, JSON.stringify(first));
      assert.equal(s.messages.length, 1);
      assert.equal(s.messages[0].type, "error");
      assert.equal(s.messages[0].error_type, "InvalidRequest");
      assert.match(s.messages[0].error, why);
    }
    const http = await request(`${dp}/execute`, {
      method: "POST",
      json: { command: "x", cwd: "/", run_config: { work_dir: "/" } },
    });
    assert.equal(http.status, 400);
    assert.deepEqual(http.json, {
      detail: { error: "InvalidRequest", message: "run_config cannot be combined with env or cwd" },
    });
  });

  it("answers upgrades that are none with plain HTTP errors", async () => {
    assert.equal((await request(`${dp}/execute/ws`)).status, 426);
    assert.equal((await request(`${dp}/execute/ws`, { key: null })).status, 401);
    assert.equal((await request(`${server.url}/dataplane/unknown/execute/ws`)).status, 404);
    const status = (url, key) =>
      new Promise((resolve) => {
        const ws = new WebSocket(wsUrl(url), { headers: { "X-Api-Key": key } });
        ws.on("unexpected-response", (_, res) => resolve(res.statusCode));
        ws.on("error", () => {});
      });
    assert.equal(await status(`${dp}/execute/ws`, "bad"), 401);
    assert.equal(await status(`${server.url}/dataplane/unknown/execute/ws`, KEY), 404);
  });

  it("closes with 1009 on a message above --max-message", async () => {
    const s = new Stream(dp, execute("cat", { close_stdin: false }));
    await s.wait((m) => m.type === "started");
    s.send({ type: "input", data: "z".repeat(1300000) });
    assert.equal(await s.closed, 1009);
  });

  it("slows a command down to its reader, in bounded memory, and loses nothing", async () => {
    const s = new Stream(dp, execute("head -c 60000000 /dev/zero | tr '\\0' y; echo >/tmp/written"));
    await s.wait((m) => m.type === "stdout");
    s.ws._socket.pause();
    await sleep(700);
    const before = residentMiB(server.child.pid);
    assert.ok(before < 40, `the server uses ${before} MiB while its reader is paused`);
    assert.equal((await box.run("ls /tmp/written 2>/dev/null")).stdout, "");
    s.ws._socket.resume();
    assert.equal(await s.closed, 1000);
    let at = 0;
    for (const m of s.of("stdout")) {
      assert.equal(m.offset, at);
      at += m.data.length;
    }
    assert.equal(at, 60000000);
  });

  it("uses no processor time for idle commands and leaks no descriptors", async () => {
    const count = () => readFileSync(`/proc/${server.child.pid}/stat`, "utf8").split(" ");
    const { readdirSync } = await import("node:fs");
    const fds = () => readdirSync(`/proc/${server.child.pid}/fd`).length;
    await until(() => fds() < 60);
    const before = fds();
    const streams = Array.from({ length: 100 }, () => new Stream(dp, execute("sleep 50", { kill_on_disconnect: true })));
    await Promise.all(streams.map((s) => s.wait((m) => m.type === "started")));
    await sleep(300);
    const t0 = count();
    await sleep(1000);
    const t1 = count();
    const ticks = Number(t1[13]) + Number(t1[14]) - Number(t0[13]) - Number(t0[14]);
    assert.ok(ticks <= 2, `${ticks} clock ticks in an idle second`);
    for (const s of streams) s.ws.terminate();
    await until(() => fds() <= before + 2);
    await until(async () => (await box.run("pgrep -c -x sleep")).stdout === "0\n");
  });
});

describe("execute/ws, other settings", () => {
  it("starts at the earliest byte it holds when asked for an older one", async () => {
    const server = await startServer("--ring-bytes", "4096");
    const box = await server.client().createSandbox();
    const first = new Stream(box.dataplane_url, execute("echo begin; sleep 0.5; seq 1 20000; echo end >&2", { command_id: "c" }));
    await first.wait((m) => m.type === "stdout");
    first.ws.terminate();
    await sleep(1000);
    const whole = Array.from({ length: 20000 }, (_, i) => `${i + 1}\n`).join("");
    const s = new Stream(box.dataplane_url, { type: "reconnect", command_id: "c", stdout_offset: 6, stderr_offset: 2 });
    await s.closed;
    assert.equal(s.of("stdout")[0].offset, 6 + whole.length - 4096);
    assert.equal(s.text(), whole.slice(-4096));
    assert.deepEqual(s.of("stderr"), [{ type: "stderr", data: "d\n", offset: 2 }]);
    const beyond = new Stream(box.dataplane_url, { type: "reconnect", command_id: "c", stdout_offset: 10 ** 9, stderr_offset: 4 });
    await beyond.closed;
    assert.deepEqual(
      beyond.messages.map((m) => m.type),
      ["started", "exit"],
    );
    await server.stop();
  });

  it("forgets the oldest finished commands above --kept-bytes", async () => {
    const server = await startServer("--kept-bytes", "200000");
    const box = await server.client().createSandbox();
    for (let i = 0; i < 4; i++)
      await new Stream(box.dataplane_url, execute("head -c 80000 /dev/zero", { command_id: `k${i}` })).closed;
    const old = new Stream(box.dataplane_url, { type: "reconnect", command_id: "k0" });
    await old.closed;
    assert.equal(old.messages[0].error_type, "SessionExpired");
    const recent = new Stream(box.dataplane_url, { type: "reconnect", command_id: "k3" });
    await recent.closed;
    assert.equal(recent.text().length, 80000);
    await server.stop();
  });

  it("pings, and drops a peer that stays silent", async () => {
    const server = await startServer("--ws-ping", "1");
    const box = await server.client().createSandbox();
    const url = `${wsUrl(box.dataplane_url)}/execute/ws`;
    const deaf = new WebSocket(url, { headers: { "X-Api-Key": KEY }, autoPong: false });
    deaf.on("open", () => deaf.send(JSON.stringify(execute("sleep 20"))));
    let pings = 0;
    deaf.on("ping", () => pings++);
    deaf.on("error", () => {});
    const alive = new Stream(box.dataplane_url, execute("sleep 6; echo ok"));
    assert.equal(await new Promise((resolve) => deaf.on("close", resolve)), 1006); // not the command's end
    assert.ok(pings >= 3, `${pings} pings`);
    assert.equal(await alive.closed, 1000);
    assert.equal(alive.text(), "ok\n");
    await server.stop();
  });

  it("tells clients with 1001 that it ends", async () => {
    const server = await startServer();
    const box = await server.client().createSandbox();
    const s = new Stream(box.dataplane_url, execute("sleep 30"));
    await s.wait((m) => m.type === "started");
    await server.stop();
    assert.equal(await s.closed, 1001);
  });

  it("accepts everything without --api-key", async () => {
    const server = await startServer("--api-key", "");
    assert.equal((await request(`${server.base}/boxes`, { key: null })).status, 200);
    await server.stop();
  });
});

// Commands over server-sent events, which no official client for Node speaks:
// the requests are written out, the events are read by their grammar.
import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { KEY, Stream, execute, request, sleep, startServer, until } from "./helper.mjs";

// One response. Its events as they come, until it ends; comments are counted.
class Events {
  constructor(response) {
    Object.assign(this, { response, events: [], comments: 0, data: { stdout: [], stderr: [] }, next: null });
  }
  static async open(url, body, { key = KEY, signal } = {}) {
    const headers = { "Content-Type": "application/json", "X-Api-Key": key };
    return new Events(await fetch(url, { method: "POST", headers, body: JSON.stringify(body), signal }));
  }
  async *read() {
    const decoder = new TextDecoder("utf-8", { fatal: true });
    let text = "";
    for await (const piece of this.response.body) {
      text += decoder.decode(piece, { stream: true });
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
        const event = this.take(text.slice(0, end));
        if (event) yield event;
      }
    }
    this.rest = text;
  }
  take(block) {
    const fields = {};
    for (const line of block.split("\n")) {
      const colon = line.indexOf(":");
      if (colon === 0) this.comments++;
      else fields[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
    }
    if (!fields.event) return null;
    const event = { type: fields.event, ...JSON.parse(fields.data) };
    if (event.data !== undefined) event.bytes = Buffer.from(event.data, "base64");
    this.events.push(event);
    return event;
  }
  async all() {
    for await (const event of this.read()) void event;
    return this;
  }
  of(type) {
    return this.events.filter((e) => e.type === type);
  }
  bytes(stream = "stdout") {
    return Buffer.concat(this.of(stream).map((e) => e.bytes));
  }
  get last() {
    return this.events.at(-1);
  }
}

describe("execute/stream", () => {
  let server, client, box, dp;

  before(async () => {
    server = await startServer("--ring-bytes", "100000", "--sse-heartbeat", "1");
    client = server.client();
    box = await client.createSandbox({ name: "by name" });
    dp = box.dataplane_url;
  });
  after(async () => {
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
  });

  const start = (command, more = {}) => Events.open(`${dp}/execute/stream/start`, { command, ...more });
  const resume = (command_id, stdout_offset = 0, stderr_offset = 0) =>
    Events.open(`${dp}/execute/stream/resume`, { command_id, stdout_offset, stderr_offset });
  const refusal = async (events) => ({ status: events.response.status, ...(await events.response.json()) });

  // As a client does it: every ack_required, and every end without a word, is followed by a resume.
  const follow = async (command, more = {}, take = () => {}) => {
    const at = { stdout: 0, stderr: 0 };
    let events = await start(command, more);
    const id = more.command_id;
    for (let responses = 1; ; responses++) {
      let last;
      for await (last of events.read()) {
        if (!last.bytes) continue;
        assert.equal(last.offset, at[last.type]);
        at[last.type] += last.bytes.length;
        take(last);
      }
      if (last.type !== "ack_required") return { last, at, responses };
      assert.deepEqual([last.stdout_offset, last.stderr_offset], [at.stdout, at.stderr]);
      events = await resume(id, at.stdout, at.stderr);
    }
  };

  it("sends started, output byte for byte, the ends, and exit", async () => {
    const events = await (await start("printf 'a\\377\\000\\342\\202b'; printf e >&2; exit 7", { command_id: "c-1" })).all();
    assert.equal(events.response.status, 200);
    assert.equal(events.response.headers.get("content-type"), "text/event-stream");
    assert.deepEqual(events.bytes(), Buffer.from([0x61, 0xff, 0, 0xe2, 0x82, 0x62]));
    assert.deepEqual(events.bytes("stderr"), Buffer.from("e"));
    assert.equal(events.events[0].type, "started");
    assert.equal(events.events[0].command_id, "c-1");
    assert.ok(events.events[0].pid > 1);
    assert.deepEqual(
      events.of("stream_end").sort((a, b) => (a.stream < b.stream ? 1 : -1)),
      [
        { type: "stream_end", stream: "stdout", offset: 6 },
        { type: "stream_end", stream: "stderr", offset: 1 },
      ],
    );
    assert.deepEqual(events.last, { type: "exit", exit_code: 7 });
    assert.equal(events.rest, "");
  });

  it("takes words, an environment, a directory and the whole standard input", async () => {
    const words = await (await start(["printf", "<%s>", "a b", "$HOME", ""])).all();
    assert.equal(words.bytes().toString(), "<a b><$HOME><>");
    const where = await (await start("echo $V; pwd; readlink /proc/$$/exe", { env: { V: "v" }, cwd: "/tmp", shell: "/bin/sh" })).all();
    assert.match(where.bytes().toString(), /^v\n\/tmp\n\S*(dash|sh)\n$/);
    const input = Buffer.alloc(300000, Uint8Array.from({ length: 256 }, (_, i) => i));
    const digest = createHash("sha256").update(input).digest("hex");
    const fed = await (await start("sha256sum", { stdin: input.toString("base64") })).all();
    assert.equal(fed.bytes().toString(), `${digest}  -\n`);
    assert.equal((await (await start("cat; echo closed")).all()).bytes().toString(), "closed\n");
  });

  it("starts nothing twice: a known id attaches", async () => {
    const first = await start("echo x >> /root/count; sleep 0.3; echo end", { command_id: "once" });
    const second = await start("echo x >> /root/count", { command_id: "once" });
    await Promise.all([first.all(), second.all()]);
    assert.equal(first.bytes().toString(), "end\n");
    assert.equal(second.bytes().toString(), "end\n");
    assert.equal((await (await resume("once")).all()).last.exit_code, 0);
    assert.equal((await box.run("wc -l < /root/count")).stdout, "1\n");
  });

  it("loses nothing, however much is printed, and waits for acks", async () => {
    const hash = createHash("sha256");
    const { last, at, responses } = await follow(
      "head -c 3000000 /dev/zero | openssl enc -aes-128-ctr -nosalt -k x -pbkdf2 | tee >(sha256sum >&2)",
      { command_id: "much" },
      (e) => e.type === "stdout" && hash.update(e.bytes),
    );
    assert.deepEqual(last, { type: "exit", exit_code: 0 });
    assert.equal(at.stdout, 3000000);
    assert.ok(responses > 3000000 / 100000, `${responses} responses`);
    const sum = await box.run("head -c 3000000 /dev/zero | openssl enc -aes-128-ctr -nosalt -k x -pbkdf2 | sha256sum");
    assert.equal(`${hash.digest("hex")}  -\n`, sum.stdout);
  });

  it("pauses a command whose output nobody acknowledges, and drops none of it", async () => {
    const command = "for i in $(seq 60); do printf '%9999d\\n' $i; echo $i > /root/progress; done";
    const events = await (await start(command, { command_id: "paused" })).all();
    assert.equal(events.last.type, "ack_required");
    let before = "";
    await until(async () => {
      const now = (await box.run("cat /root/progress")).stdout;
      const same = now === before;
      before = now;
      await sleep(100);
      return same;
    });
    assert.ok(Number(before) < 30, `it went on to ${before}`);
    const parts = [];
    let at = 0;
    for (let r = await resume("paused", 0); ; r = await resume("paused", at)) {
      await r.all();
      parts.push(r.bytes());
      at += r.bytes().length;
      if (r.last.type !== "ack_required") break;
    }
    const lines = Buffer.concat(parts).toString().trimEnd().split("\n").map(Number);
    assert.deepEqual(lines, Array.from({ length: 60 }, (_, i) => i + 1));
  });

  it("sends again what was not acknowledged, and says what is gone", async () => {
    await (await start("printf 123456; printf abc >&2", { command_id: "again" })).all();
    let r = await (await resume("again", 0, 0)).all();
    assert.equal(r.bytes().toString(), "123456");
    r = await (await resume("again", 4, 1)).all();
    assert.equal(r.bytes().toString(), "56");
    assert.equal(r.bytes("stderr").toString(), "bc");
    assert.equal(r.of("stdout")[0].offset, 4);
    r = await (await resume("again", 3, 1)).all();
    assert.deepEqual(r.events.map((e) => [e.type, e.error_type]), [["error", "ReadOffsetUnavailable"]]);
    r = await (await resume("again", 7, 1)).all();
    assert.deepEqual(r.events.map((e) => [e.type, e.error_type]), [["error", "InvalidOffset"]]);
    r = await (await start("x", { command_id: "again" })).all();
    assert.equal(r.last.error_type, "ReadOffsetUnavailable");
    r = await (await resume("again", 6, 3)).all();
    assert.deepEqual(r.last, { type: "exit", exit_code: 0 });
  });

  it("keeps a silent response alive with comments", async () => {
    const events = await start("sleep 2.5; echo end");
    await events.all();
    assert.ok(events.comments >= 1);
    assert.equal(events.bytes().toString(), "end\n");
  });

  it("goes on with a command whose client left, and kills it when nobody comes back", async () => {
    const abort = new AbortController();
    const events = await Events.open(
      `${dp}/execute/stream/start`,
      { command: "echo on; sleep 71; echo off", command_id: "left", idle_timeout_seconds: 1 },
      { signal: abort.signal },
    );
    for await (const e of events.read()) if (e.type === "stdout") break;
    abort.abort();
    await until(async () => (await box.run("pgrep -c -f '^sleep 71'")).stdout === "0\n");
    const back = await (await resume("left", 3)).all();
    assert.deepEqual(back.last, { type: "exit", exit_code: 137 });
  });

  it("ends with the error of a command", async () => {
    let r = await (await start("echo some; sleep 30", { timeout_seconds: 1 })).all();
    assert.equal(r.bytes().toString(), "some\n");
    assert.equal(r.last.type, "error");
    assert.equal(r.last.error_type, "CommandTimeout");
    r = await (await start("x", { cwd: "/nowhere" })).all();
    assert.deepEqual(r.events.map((e) => e.type).filter((t) => t !== "stream_end"), ["error"]);
    assert.equal(r.last.error, "cannot start the command: working directory: No such file or directory");
  });

  it("refuses what it does not have", async () => {
    const cases = [
      [start("x", { pty: true }), 409, "PTYUnsupported"],
      [start("x", { kill_on_disconnect: true }), 400, "InvalidRequest"],
      [start("x", { stdin: "&" }), 400, "InvalidRequest"],
      [start("x", { cwd: "/", run_config: { work_dir: "/" } }), 400, "InvalidRequest"],
      [start([]), 400, "InvalidRequest"],
      [start(["a", 1]), 400, "InvalidRequest"],
      [start(undefined), 400, "InvalidRequest"],
      [resume("never"), 404, "CommandNotFound"],
      [resume(undefined), 400, "InvalidRequest"],
      [resume("paused", -1), 400, "InvalidRequest"],
    ];
    for (const [events, status, error] of cases) {
      const answer = await refusal(await events);
      assert.deepEqual([answer.status, answer.error], [status, error], answer.message);
    }
    assert.equal((await Events.open(`${dp}/execute/stream/start`, {}, { key: "no" })).response.status, 401);
    assert.equal((await request(`${dp}/execute/stream/start`)).status, 405);
    assert.equal((await request(`${server.url}/dataplane/none/execute/stream/start`, { method: "POST", json: {} })).status, 404);
  });

  it("keeps to one way of streaming a command", async () => {
    const ws = new Stream(dp, execute("echo ws", { command_id: "by-ws" }));
    await ws.closed;
    assert.equal((await refusal(await resume("by-ws"))).error, "TransportMismatch");
    assert.equal((await refusal(await start("x", { command_id: "by-ws" }))).status, 409);
    await (await start("echo sse", { command_id: "by-sse" })).all();
    const other = new Stream(dp, { type: "reconnect", command_id: "by-sse", stdout_offset: 0, stderr_offset: 0 });
    await other.closed;
    assert.equal(other.messages[0].error_type, "TransportMismatch");
  });

  it("is found under the control plane's address, too, by name and by id", async () => {
    for (const at of [box.name, box.id]) {
      for (const root of [server.base, `${server.url}/api/v2/sandboxes`]) {
        const url = `${root}/${encodeURIComponent(at)}/execute/stream`;
        const command_id = `${at} ${root.length}`;
        const r = await (await Events.open(`${url}/start`, { command: "echo here", command_id })).all();
        assert.equal(r.bytes().toString(), "here\n");
        assert.equal((await (await Events.open(`${url}/resume`, { command_id })).all()).bytes().toString(), "here\n");
      }
    }
  });

  it("serves many at once", async () => {
    const all = Array.from({ length: 100 }, (_, i) => start(`sleep 0.5; echo ${i}`).then((r) => r.all()));
    assert.deepEqual(
      (await Promise.all(all)).map((r) => r.bytes().toString()),
      all.map((_, i) => `${i}\n`),
    );
  });
});

describe("execute/stream, over connections that break", () => {
  for (const fault of ["drop-ws-after=5000:count=2", "close-ws-after=5000:count=2"]) {
    it(`goes on from what came: ${fault}`, async () => {
      const server = await startServer("--fault", `${fault}:path=/execute/stream/`);
      try {
        const dp = (await server.client().createSandbox()).dataplane_url;
        const parts = [];
        let at = 0;
        let url = `${dp}/execute/stream/start`;
        let last;
        for (let i = 0; i < 3; i++) {
          const events = await Events.open(url, { command: "seq 1 3000", command_id: "c", stdout_offset: at });
          await events.all().catch(() => {});
          parts.push(events.bytes());
          at += events.bytes().length;
          last = events.last;
          assert.equal(last?.type === "exit", i === 2);
          url = `${dp}/execute/stream/resume`;
        }
        const expected = Array.from({ length: 3000 }, (_, i) => `${i + 1}\n`).join("");
        assert.equal(Buffer.concat(parts).toString(), expected);
      } finally {
        await server.stop();
      }
    });
  }

  it("says when the server goes away", async () => {
    const server = await startServer();
    const dp = (await server.client().createSandbox()).dataplane_url;
    const events = await Events.open(`${dp}/execute/stream/start`, { command: "echo on; sleep 60" });
    const seen = [];
    for await (const e of events.read()) {
      seen.push(e.type);
      if (e.type === "stdout") void server.stop();
    }
    assert.deepEqual(seen.slice(0, 2), ["started", "stdout"]);
    assert.equal(events.last.error_type, "ServerShuttingDown");
  });
});

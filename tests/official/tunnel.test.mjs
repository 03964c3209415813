// TCP through /tunnel. The official client for Node has no tunnel: yamux is
// written out here, from its specification, frame by frame.
import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import WebSocket from "ws";
import { KEY, request, sleep, startServer, until, wsUrl } from "./helper.mjs";

const [DATA, WINDOW, PING, GO_AWAY] = [0, 1, 2, 3];
const [SYN, ACK, FIN, RST] = [1, 2, 4, 8];
const residentMiB = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024;

const frame = (type, flags, id, value, data = Buffer.alloc(0)) => {
  const head = Buffer.alloc(12);
  head.writeUInt8(type, 1);
  head.writeUInt16BE(flags, 2);
  head.writeUInt32BE(id, 4);
  head.writeUInt32BE(value, 8);
  return Buffer.concat([head, data]);
};
const dataFrame = (id, data, flags = 0) => frame(DATA, flags, id, data.length, Buffer.from(data));
const connect = (port, version = 1) => Buffer.from([version, port >> 8, port & 255]);

class Session {
  constructor(dataplane, { key = KEY } = {}) {
    Object.assign(this, { rest: Buffer.alloc(0), streams: new Map(), frames: [], id: 1, waiters: [] });
    this.ws = new WebSocket(`${wsUrl(dataplane)}/tunnel`, { headers: { "X-Api-Key": key } });
    this.ws.on("message", (data) => this.take(data));
    this.opened = new Promise((resolve, reject) => this.ws.on("open", resolve).on("error", reject));
    this.closed = new Promise((resolve) => this.ws.on("close", (code) => resolve((this.code = code)) || this.wake()));
    this.opened.catch(() => {});
  }
  static async open(dataplane) {
    const session = new Session(dataplane);
    await session.opened;
    return session;
  }
  send(...parts) {
    this.ws.send(Buffer.concat(parts));
  }
  take(data) {
    this.rest = Buffer.concat([this.rest, data]);
    while (this.rest.length >= 12) {
      const h = this.rest;
      const [version, type, flags] = [h[0], h[1], h.readUInt16BE(2)];
      const [id, value] = [h.readUInt32BE(4), h.readUInt32BE(8)];
      const length = type === DATA ? value : 0;
      if (h.length < 12 + length) break;
      assert.equal(version, 0);
      this.one({ type, flags, id, value, data: h.subarray(12, 12 + length) });
      this.rest = h.subarray(12 + length);
    }
    this.wake();
  }
  one(f) {
    if (f.type === PING || f.type === GO_AWAY) this.frames.push(f);
    const s = this.streams.get(f.id);
    if (!s) return;
    if (f.type === WINDOW) s.window += f.value;
    s.ack ||= Boolean(f.flags & ACK);
    s.fin ||= Boolean(f.flags & FIN);
    s.rst ||= Boolean(f.flags & RST);
    if (!f.data.length) return;
    assert.ok((s.allowed -= f.data.length) >= 0, "more than the window allows");
    s.keep ? s.parts.push(Buffer.from(f.data)) : 0;
    s.got += f.data.length;
    s.credit(f.data.length);
  }
  wake() {
    this.waiters = this.waiters.filter((w) => !w());
  }
  async until(check, what = String(check)) {
    if (check()) return;
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`never: ${what}`)), 20000);
      this.waiters.push(() => (check() || this.code !== undefined) && (clearTimeout(timer), resolve(), true));
    });
    assert.ok(check(), `the session closed (${this.code}) before ${what}`);
  }
  // The SYN rides on the first frame, which carries the header.
  stream(port, { credit = true, keep = true, header = connect(port) } = {}) {
    const session = this;
    const s = {
      id: (this.id += 2) - 2,
      window: 262144,
      allowed: 262144,
      parts: [],
      got: 0,
      ack: false,
      fin: false,
      rst: false,
      keep,
      consumed: 0,
      credit(n) {
        this.consumed += n;
        if (!credit || this.consumed < 131072) return;
        session.send(frame(WINDOW, 0, this.id, this.consumed));
        this.allowed += this.consumed;
        this.consumed = 0;
      },
      bytes() {
        return Buffer.concat(this.parts);
      },
      text() {
        return this.bytes().subarray(1).toString();
      },
      async write(data) {
        for (let at = 0; at < data.length; ) {
          await session.until(() => this.window > 0, "room in the window");
          const n = Math.min(this.window, data.length - at, 65536);
          this.window -= n;
          session.send(dataFrame(this.id, data.subarray(at, at + n)));
          at += n;
        }
      },
      end() {
        session.send(frame(WINDOW, FIN, this.id, 0));
      },
      ended() {
        return session.until(() => this.fin || this.rst, `the end of stream ${this.id}`);
      },
      async status() {
        await session.until(() => this.got || this.rst, `the status of stream ${this.id}`);
        return this.bytes()[0];
      },
    };
    this.streams.set(s.id, s);
    s.window -= header.length;
    this.send(dataFrame(s.id, header, SYN));
    return s;
  }
}

describe("tunnel", () => {
  let server, client, box, dp, session;

  before(async () => {
    server = await startServer("--deny-port", "7", "--ws-ping", "1");
    client = server.client();
    box = await client.createSandbox();
    dp = box.dataplane_url;
    await box.write("/root/tcp.py", readFileSync(new URL("tcp.py", import.meta.url)));
    await box.run("setsid python3 /root/tcp.py 5000 > /root/tcp.log 2>&1 &");
    session = await Session.open(dp);
    await until(async () => (await session.stream(5000).status()) === 0);
  });
  after(async () => {
    session.ws.terminate();
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
  });

  const said = async (file) => {
    let text;
    await until(async () => (text = (await box.run(`cat /root/${file}`)).stdout));
    return text;
  };

  it("connects to a port, echoes, and half-closes both ways", async () => {
    const s = session.stream(5000);
    await s.write(Buffer.from("echo\nhello"));
    await session.until(() => s.got === 6);
    assert.ok(s.ack);
    assert.equal(s.fin, false);
    s.end();
    await s.ended();
    assert.deepEqual([s.text(), s.fin, s.rst], ["hello", true, false]);
    const counted = session.stream(5000);
    await counted.write(Buffer.concat([Buffer.from("count\n"), Buffer.alloc(1000000)]));
    counted.end();
    await counted.ended();
    assert.equal(counted.text(), "1000000", "what ends one way still goes the other");
  });

  it("delivers all that comes after the service ended its half", async () => {
    const s = session.stream(5000);
    await s.write(Buffer.from("first\n"));
    await s.ended();
    assert.equal(s.text(), "bye");
    await s.write(Buffer.alloc(1000000));
    s.end();
    assert.equal(await said("first"), "1000000");
  });

  it("answers a byte for what it cannot do", async () => {
    const refused = async (options, port = 9) => {
      const s = session.stream(port, options);
      const status = await s.status();
      await s.ended();
      s.end();
      return [status, s.got, s.fin];
    };
    assert.deepEqual(await refused(), [2, 1, true]);
    assert.deepEqual(await refused({}, 7), [1, 1, true]);
    assert.deepEqual(await refused({}, 0), [1, 1, true]);
    assert.deepEqual(await refused({ header: connect(5000, 2) }), [3, 1, true]);
    const cut = session.stream(5000, { header: Buffer.from([1]) });
    cut.end();
    await cut.ended();
    assert.equal(cut.got, 0);
  });

  it("takes the header in pieces, frames in pieces, and a SYN of its own", async () => {
    const s = session.stream(5000, { header: Buffer.alloc(0) });
    const bytes = Buffer.concat([dataFrame(s.id, connect(5000).subarray(0, 1)), dataFrame(s.id, connect(5000).subarray(1)), dataFrame(s.id, "echo\nabc")]);
    for (const byte of bytes) session.send(Buffer.from([byte]));
    await session.until(() => s.got === 4);
    s.end();
    await s.ended();
    assert.equal(s.text(), "abc");
  });

  it("passes resets both ways", async () => {
    let s = session.stream(5000);
    await s.write(Buffer.from("reset\n"));
    await s.ended();
    assert.equal(s.rst, true);
    s = session.stream(5000);
    await s.write(Buffer.from("told\n"));
    await s.status();
    session.send(frame(WINDOW, RST, s.id, 0));
    assert.equal(await said("told"), "reset");
  });

  it("sends no more than the window, and stops one stream only", async () => {
    const slow = session.stream(5000, { credit: false });
    await slow.write(Buffer.from("source 64\n"));
    await session.until(() => slow.got === 262144);
    const s = session.stream(5000, { keep: false });
    s.parts.push(Buffer.from([0]));
    await s.write(Buffer.from("source 1600\n"));
    await s.ended();
    assert.equal(s.got, 1 + 1600 * 65536);
    assert.equal(slow.got, 262144);
    session.send(frame(WINDOW, 0, slow.id, 64 * 65536));
    slow.allowed += 64 * 65536;
    await slow.ended();
    const expected = Buffer.alloc(64 * 65536, Uint8Array.from({ length: 256 }, (_, i) => i));
    assert.ok(slow.bytes().subarray(1).equals(expected));
  });

  it("credits only what the service took", async () => {
    const s = session.stream(5000);
    await s.write(Buffer.from("hold\n"));
    await s.status();
    let sent = 0;
    const all = (async () => {
      for (; sent < 32 << 20; sent += 65536) await s.write(Buffer.alloc(65536));
      s.end();
    })();
    let before;
    await until(async () => before === (before = sent) || (await sleep(300)));
    assert.ok(sent < 16 << 20, `${sent} bytes went to a service that does not read`);
    assert.ok(residentMiB(server.child.pid) < 64);
    await box.run("touch /root/go");
    await all;
    await s.ended();
    assert.equal(s.text(), String(32 << 20));
  });

  it("answers pings, and sends its own", async () => {
    session.send(frame(PING, SYN, 0, 0xdeadbeef));
    await session.until(() => session.frames.some((f) => f.type === PING && f.flags === ACK && f.value === 0xdeadbeef));
    await session.until(() => session.frames.some((f) => f.type === PING && f.flags === SYN));
  });

  it("carries 1,000 streams at once", async () => {
    const all = Array.from({ length: 1000 }, (_, i) => {
      const s = session.stream(5000);
      s.word = `<${i}>`;
      s.write(Buffer.from(`echo\n${s.word}`));
      return s;
    });
    await session.until(() => all.every((s) => s.got > s.word.length), "1,000 echoes");
    all.forEach((s) => s.end());
    await Promise.all(all.map((s) => s.ended()));
    for (const s of all) assert.deepEqual([s.text(), s.rst], [s.word, false]);
  });

  it("refuses a stream too many, and goes on", async () => {
    const full = await Session.open(dp);
    const all = Array.from({ length: 4097 }, () => full.stream(0, { header: Buffer.alloc(0) }));
    await full.until(() => all.at(-1).rst);
    assert.ok(all.slice(0, -1).every((s) => s.ack && !s.rst));
    full.send(frame(WINDOW, RST, all[0].id, 0));
    const s = full.stream(5000);
    assert.equal(await s.status(), 0);
    full.ws.terminate();
  });

  it("ends a session that breaks the protocol", async () => {
    const cases = [
      [Buffer.from([1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0])],
      [frame(9, 0, 0, 0)],
      [frame(WINDOW, SYN, 2, 0)],
      [frame(WINDOW, SYN, 0, 0)],
      [frame(WINDOW, SYN, 1, 0), frame(WINDOW, SYN, 1, 0)],
      [frame(WINDOW, SYN, 1, 0), frame(DATA, 0, 1, 262145)],
      [frame(WINDOW, SYN, 1, 0xffffffff)],
      [dataFrame(1, connect(5000), SYN | FIN), dataFrame(1, "more")],
      [frame(PING, SYN, 1, 0)],
    ];
    for (const frames of cases) {
      const bad = await Session.open(dp);
      bad.send(...frames);
      assert.equal(await bad.closed, 1002, frames.map((f) => f.toString("hex")).join(" "));
      assert.deepEqual(bad.frames.filter((f) => f.type === GO_AWAY).map((f) => f.value), [1]);
    }
    const text = await Session.open(dp);
    text.ws.send("text");
    assert.equal(await text.closed, 1003);
  });

  it("lets streams end after a GoAway, then closes", async () => {
    const leaving = await Session.open(dp);
    const s = leaving.stream(5000);
    await s.write(Buffer.from("echo\nstill"));
    leaving.send(frame(GO_AWAY, 0, 0, 0));
    await leaving.until(() => s.got === 6);
    s.end();
    assert.equal(await leaving.closed, 1000);
    assert.equal(s.text(), "still");
  });

  it("ends the connections of a session that is lost", async () => {
    await box.run("rm -f /root/told");
    const lost = await Session.open(dp);
    const s = lost.stream(5000);
    await s.write(Buffer.from("told\n"));
    await s.status();
    lost.ws.terminate();
    assert.match(await said("told"), /^(end|reset)$/);
  });

  it("asks for the key, and for a sandbox", async () => {
    await assert.rejects(new Session(dp, { key: "no" }).opened, /401/);
    await assert.rejects(new Session(`${server.url}/dataplane/none`).opened, /404/);
    assert.equal((await request(`${dp}/tunnel`)).status, 426);
  });

  it("wakes a stopped sandbox", async () => {
    const other = await client.createSandbox();
    await other.stop();
    const s = (await Session.open(other.dataplane_url)).stream(5000);
    assert.equal(await s.status(), 2);
    assert.equal((await client.getSandboxStatus(other.name)).status, "ready");
  });

  it("says goodbye when the server ends", async () => {
    const other = await startServer();
    const leaving = await Session.open((await other.client().createSandbox()).dataplane_url);
    assert.equal(await leaving.stream(9).status(), 2);
    await other.stop();
    assert.equal(await leaving.closed, 1001);
    assert.deepEqual(leaving.frames.map((f) => [f.type, f.value]), [[GO_AWAY, 0]]);
  });
});

// Files and searches, through the official client.
import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import {
  LangSmithResourceNotFoundError,
  LangSmithSandboxError,
  LangSmithSandboxOperationError,
  LangSmithValidationError,
} from "langsmith/sandbox";
import { request, startServer } from "./helper.mjs";

const text = (bytes) => new TextDecoder().decode(bytes);
const HTTP_DATE = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT$/;

describe("files", () => {
  let server, client, box;

  before(async () => {
    server = await startServer();
    client = server.client();
    box = await client.createSandbox({ name: "files" });
  });
  after(async () => {
    await box.delete();
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
  });

  it("writes and reads text, bytes, nothing, and names of all kinds", async () => {
    const every = Uint8Array.from({ length: 256 }, (_, i) => i);
    const cases = [
      ["/tmp/a.txt", "hello ü \u{1F600}\n"],
      ["/root/bin", every],
      ["relative.txt", "in the home directory"],
      ["/tmp/empty", ""],
      ["/a/new/deep/directory/file", "made its directories"],
      ["/tmp/name with + % & ? # ü", "odd name"],
      ["/tmp/trailing\r\n--boundary", "\r\n--\r\n------\r\n"],
    ];
    for (const [path, content] of cases) {
      await box.write(path, content);
      const bytes = await box.read(path);
      assert.deepEqual(bytes, typeof content === "string" ? new TextEncoder().encode(content) : content, path);
    }
    assert.equal((await box.run("cat /root/relative.txt")).stdout, "in the home directory");
    assert.equal((await box.run("cat 'name with + % & ? # ü'", { cwd: "/tmp" })).stdout, "odd name");
  });

  it("carries 8 MiB both ways", async () => {
    const big = new Uint8Array(randomBytes(8 << 20));
    await box.write("/root/big.bin", big);
    const back = await box.read("/root/big.bin");
    assert.equal(Buffer.compare(back, big), 0);
    assert.equal((await box.run("stat -c %s /root/big.bin")).stdout, `${8 << 20}\n`);
  });

  it("takes an upload that waits for 100 Continue, in small pieces", async () => {
    const http = await import(box.dataplane_url.startsWith("https:") ? "node:https" : "node:http");
    const { KEY } = await import("./helper.mjs");
    const head = '--Part7\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n\r\n';
    const body = Buffer.concat([Buffer.from(head), Buffer.alloc(200000, "ab"), Buffer.from("\r\n--Part7--\r\n")]);
    const status = await new Promise((resolve, reject) => {
      const r = http.request(`${box.dataplane_url}/upload?path=/tmp/slow`, {
        method: "POST",
        headers: {
          "X-Api-Key": KEY,
          "Content-Type": "multipart/form-data; boundary=Part7",
          "Content-Length": body.length,
          Expect: "100-continue",
        },
      });
      r.on("error", reject);
      r.on("response", (res) => {
        res.resume();
        resolve(res.statusCode);
      });
      r.on("continue", async () => {
        for (let i = 0; i < body.length; i += 9973) {
          r.write(body.subarray(i, i + 9973));
          await new Promise((done) => setImmediate(done));
        }
        r.end();
      });
    });
    assert.equal(status, 200);
    assert.equal(text(await box.read("/tmp/slow")), "ab".repeat(100000));
  });

  it("keeps the old content when an upload breaks off", async () => {
    const { KEY, until } = await import("./helper.mjs");
    await box.write("/root/cut/file", "old");
    const u = new URL(box.dataplane_url);
    const net = await import(u.protocol === "https:" ? "node:tls" : "node:net");
    const socket = net.connect(Number(u.port), "127.0.0.1");
    socket.write(
      `POST ${u.pathname}/upload?path=/root/cut/file HTTP/1.1\r\nHost: x\r\nX-Api-Key: ${KEY}\r\n` +
        "Content-Type: multipart/form-data; boundary=Part7\r\nContent-Length: 100000\r\n\r\n" +
        '--Part7\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n\r\nnew content',
    );
    await until(async () => (await box.run("ls -A /root/cut | wc -l")).stdout === "2\n");
    socket.destroy();
    await until(async () => (await box.run("ls -A /root/cut")).stdout === "file\n");
    assert.equal(text(await box.read("/root/cut/file")), "old");
  });

  it("replaces content, keeps mode, follows symlinks, leaves no temporary file", async () => {
    await box.run("mkdir /root/r; cd /root/r; echo old > f; chmod 750 f; ln -s f link; ln f hard");
    await box.write("/root/r/link", "new");
    assert.equal((await box.run("cat f; stat -c %a f; readlink link; cat hard; ls -A", { cwd: "/root/r" })).stdout,
      "new750\nf\nold\nf\nhard\nlink\n");
  });

  it("reports what cannot be read or written", async () => {
    await assert.rejects(box.read("/no/such/file"), (e) => {
      assert.ok(e instanceof LangSmithResourceNotFoundError);
      assert.equal(e.resourceType, "file");
      assert.equal(e.message, "/no/such/file: No such file or directory");
      return true;
    });
    await assert.rejects(box.read("/tmp"), (e) => {
      assert.ok(e instanceof LangSmithSandboxOperationError);
      assert.equal(e.operation, "read");
      return true;
    });
    await box.run("mkfifo /tmp/fifo; echo x > /tmp/locked; chmod 000 /tmp/locked");
    await assert.rejects(box.read("/tmp/fifo"), LangSmithSandboxOperationError);
    await assert.rejects(box.read("/dev/zero"), LangSmithSandboxOperationError);
    await assert.rejects(box.read("/tmp/locked"), (e) => {
      assert.equal(e.errorType, "PermissionDenied");
      return true;
    });
    await assert.rejects(box.write("/usr/bin/new", "x"), (e) => {
      assert.equal(e.errorType, "PermissionDenied");
      return true;
    });
    for (const path of ["/tmp", "/tmp/", "/tmp/fifo", "/dev/null", "/tmp/a.txt/below"]) {
      await assert.rejects(box.write(path, "x"), (e) => {
        assert.ok(e instanceof LangSmithSandboxOperationError, path);
        assert.equal(e.operation, "write");
        return true;
      });
    }
    assert.equal((await request(`${box.dataplane_url}/download`)).status, 422);
    assert.equal((await request(`${box.dataplane_url}/download?path=%00`)).status, 422);
    const raw = await request(`${box.dataplane_url}/upload?path=/tmp/raw`, { method: "POST", body: "no form" });
    assert.equal(raw.status, 422);
    assert.deepEqual(raw.json.detail[0].loc, ["body", "file"]);
    const form = new FormData();
    form.append("other", "value");
    assert.equal((await request(`${box.dataplane_url}/upload?path=/tmp/f2`, { method: "POST", body: form })).status, 422);
    await assert.rejects(box.read("/tmp/f2"), LangSmithResourceNotFoundError);
    assert.equal((await box.run("ls -A /tmp | grep -c upload-")).stdout, "0\n");
  });

  it("stats", async () => {
    await box.write("/tmp/data.json", '{"a":1}');
    const stat = await box.stat("/tmp/data.json");
    assert.equal(stat.size_bytes, 7);
    assert.equal(stat.content_type, "application/json");
    assert.match(stat.etag, /^"[^"]+"$/);
    assert.match(stat.last_modified, HTTP_DATE);
    assert.ok(Math.abs(Date.parse(stat.last_modified) - Date.now()) < 60000);
    assert.deepEqual(await box.stat("/tmp/data.json"), stat);
    await box.write("/tmp/data.json", '{"a":2}');
    assert.notEqual((await box.stat("/tmp/data.json")).etag, stat.etag);
    await assert.rejects(box.stat("/tmp/none"), (e) => {
      assert.ok(e instanceof LangSmithResourceNotFoundError);
      assert.equal(e.message, "File '/tmp/none' not found in sandbox 'files'");
      return true;
    });
  });

  it("reads ranges", async () => {
    await box.write("/tmp/r", "0123456789");
    const { etag, last_modified } = await box.stat("/tmp/r");
    const range = async (o) => {
      const c = await box.readRange("/tmp/r", o);
      assert.equal(c.etag, etag);
      return [text(c.content), c.start, c.total_bytes, c.partial, c.unchanged];
    };
    assert.deepEqual(await range({ start: 2, end: 4 }), ["234", 2, 10, true, false]);
    assert.deepEqual(await range({ start: 7 }), ["789", 7, 10, true, false]);
    assert.deepEqual(await range({ start: 0, end: 0 }), ["0", 0, 10, true, false]);
    assert.deepEqual(await range({ start: 8, end: 99 }), ["89", 8, 10, true, false]);
    assert.deepEqual(await range({ suffixBytes: 3 }), ["789", 7, 10, true, false]);
    assert.deepEqual(await range({ suffixBytes: 99 }), ["0123456789", 0, 10, true, false]);
    assert.deepEqual(await range({ start: 1, end: 2, ifRange: etag }), ["12", 1, 10, true, false]);
    assert.deepEqual(await range({ start: 1, end: 2, ifRange: last_modified }), ["12", 1, 10, true, false]);
    assert.deepEqual(await range({ start: 1, end: 2, ifRange: '"other"' }), ["0123456789", 0, 10, false, false]);
    assert.deepEqual(await range({ start: 1, end: 2, ifNoneMatch: etag }), ["", 0, undefined, false, true]);
    assert.deepEqual(await range({ start: 1, end: 2, ifNoneMatch: '"a", "b"' }), ["12", 1, 10, true, false]);
    await assert.rejects(box.readRange("/tmp/r", { start: 10 }), (e) => {
      assert.ok(e instanceof LangSmithSandboxOperationError);
      assert.equal(e.operation, "read");
      assert.match(e.message, /bytes \*\/10/);
      return true;
    });
    await assert.rejects(box.readRange("/tmp/none", { start: 0 }), LangSmithResourceNotFoundError);
    await assert.rejects(box.readRange("/tmp/r", { start: 3, end: 1 }), LangSmithValidationError);
    for (const odd of ["bytes=", "bytes=a-b", "bytes=5-2", "lines=1-2", "bytes=0-1,3-4"]) {
      const whole = await request(`${box.dataplane_url}/download?path=/tmp/r`, { headers: { Range: odd } });
      assert.equal(whole.status, 200, odd);
      assert.equal(whole.text, "0123456789");
    }
  });

  it("reads files whose size the system does not tell", async () => {
    assert.equal(text(await box.read("/proc/sys/kernel/ostype")), "Linux\n");
  });

  it("globs and lists", async () => {
    await box.run("mkdir -p g/sub/deep g/.hidden; cd g; echo 1 > a.txt; echo 22 > b.md; echo 333 > sub/c.txt; echo > sub/deep/d.txt; echo > .hidden/e.txt; ln -s sub link");
    const paths = (r) => r.matches.map((m) => m.path);
    const all = await box.glob("**/*.txt", "/root/g");
    assert.deepEqual(paths(all), ["/root/g/.hidden/e.txt", "/root/g/a.txt", "/root/g/sub/c.txt", "/root/g/sub/deep/d.txt"]);
    assert.equal(all.truncated, false);
    const [c] = (await box.glob("sub/c.*", "/root/g/")).matches;
    assert.equal(c.is_dir, false);
    assert.equal(c.size_bytes, 4);
    assert.match(c.modified_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    assert.deepEqual(paths(await box.glob("[ab].*", "/root/g")), ["/root/g/a.txt", "/root/g/b.md"]);
    assert.deepEqual(paths(await box.glob("?.md", "/root/g")), ["/root/g/b.md"]);
    assert.deepEqual(paths(await box.glob("*/deep/**", "/root/g")), ["/root/g/sub/deep", "/root/g/sub/deep/d.txt"]);
    const ls = await box.ls("/root/g");
    assert.deepEqual(
      ls.matches.map((m) => [m.path.slice(8), m.is_dir]),
      [[".hidden", true], ["a.txt", false], ["b.md", false], ["link", true], ["sub", true]],
    );
    const two = await box.glob("**/*.txt", "/root/g", { limit: 2 });
    assert.equal(two.matches.length, 2);
    assert.equal(two.truncated, true);
    assert.deepEqual(await box.glob("*.none", "/root/g"), { matches: [], truncated: false });
  });

  it("greps", async () => {
    await box.write("/root/s/one.py", "import os\nprint('ü [x]')\n# os.path\n");
    await box.write("/root/s/two.txt", "os\r\n");
    await box.write("/root/s/bin", new Uint8Array([111, 115, 0, 1]));
    const found = await box.grep("os", "/root/s");
    assert.deepEqual(found, {
      matches: [
        { path: "/root/s/one.py", line: 1, text: "import os" },
        { path: "/root/s/one.py", line: 3, text: "# os.path" },
        { path: "/root/s/two.txt", line: 1, text: "os" },
      ],
      truncated: false,
    });
    assert.deepEqual((await box.grep("[x]", "/root/s")).matches, [
      { path: "/root/s/one.py", line: 2, text: "print('ü [x]')" },
    ]);
    assert.equal((await box.grep("os", "/root/s", { glob: "*.txt" })).matches.length, 1);
    assert.equal((await box.grep("os", "/root", { glob: "s/*.py" })).matches.length, 2);
    const one = await box.grep("os", "/root/s", { limit: 1 });
    assert.equal(one.matches.length, 1);
    assert.equal(one.truncated, true);
  });

  it("refuses searches that make no sense, in the daemon's flat form", async () => {
    await assert.rejects(box.ls("/none"), LangSmithResourceNotFoundError);
    const flat = await request(`${box.dataplane_url}/glob`, { method: "POST", json: { pattern: "*", path: "/none" } });
    assert.equal(flat.status, 404);
    assert.deepEqual(flat.json, { error: "NotFound", message: "/none: No such file or directory" });
    for (const body of [
      { pattern: "*", path: "relative" },
      { pattern: "", path: "/" },
      { pattern: "*" },
      { pattern: "*", path: "/", limit: 0 },
      { pattern: "*", path: "/root/bin" },
    ]) {
      const answer = await request(`${box.dataplane_url}/glob`, { method: "POST", json: body });
      assert.equal(answer.status, 400, JSON.stringify(body));
      assert.equal(answer.json.error, "InvalidRequest");
    }
  });
});

// Services inside a sandbox by URL: the official client's calls, and what
// passes the proxy.
import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import tls from "node:tls";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import { LangSmithSandboxError, LangSmithValidationError } from "langsmith/sandbox";
import { KEY, request, sleep, startServer, until } from "./helper.mjs";

const TOKEN = "X-Langsmith-Sandbox-Service-Token";
const residentMiB = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024;

// A service in the background of a sandbox, and its port open.
async function serve(client, box, port, address = "") {
  await box.write("/root/service.py", readFileSync(new URL("service.py", import.meta.url)));
  await box.run(`setsid python3 /root/service.py ${port} ${address} > /root/service.log 2>&1 &`);
  const service = await client.serviceUrl(box.name, { port });
  await until(async () => (await service.fetch("/ready")).status === 200);
  return service;
}

describe("service URLs", () => {
  let server, client, box, service;

  before(async () => {
    server = await startServer("--sse-heartbeat", "1");
    client = server.client();
    box = await client.createSandbox({ name: "my box" });
    service = await serve(client, box, 8000);
  });
  after(async () => {
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
  });

  const mint = (body, name = box.name) =>
    request(`${server.base}/boxes/${encodeURIComponent(name)}/service-url`, { method: "POST", json: body });
  const shares = (query = "", method = "GET") =>
    request(`${server.base}/boxes/${encodeURIComponent(box.name)}/service-urls${query}`, { method });
  // Node's own client: raw heads, bodies as they come.
  const raw = async (path, options = {}) => {
    const url = new URL((await service.serviceUrl()) + path);
    const headers = { [TOKEN]: await service.token(), ...options.headers };
    return (url.protocol === "https:" ? https : http).request(url, { agent: false, ...options, headers });
  };
  const answerOf = async (req) => {
    const [res] = await once(req, "response");
    const parts = [];
    for await (const part of res) parts.push(part);
    return { status: res.statusCode, headers: res.headers, body: Buffer.concat(parts), res };
  };

  it("gives the official client a URL, a token and a time", async () => {
    const fetched = await service.fetch("a%2Fb/c?x=1&&y=+%20", { headers: { "X-Other": "o" } });
    const seen = await fetched.json();
    assert.equal(seen.method, "GET");
    assert.equal(seen.path, "/a%2Fb/c?x=1&&y=+%20");
    assert.equal(seen.headers["x-other"], "o");
    assert.equal(seen.headers.host, new URL(server.url).host);
    assert.equal(seen.headers[TOKEN.toLowerCase()], undefined);
    assert.equal(fetched.headers.get("x-own"), "yes");
    const left = Date.parse(await service.expiresAt()) - Date.now();
    assert.ok(left > 590_000 && left <= 600_000, `${left}`);
    assert.ok((await service.serviceUrl()).startsWith(`${server.url}/`));
    const short = await client.serviceUrl(box.name, { port: 8000, expiresInSeconds: 86400 });
    assert.ok(Date.parse(await short.expiresAt()) - Date.now() > 86_390_000);
  });

  it("refreshes a token that nears its end", async () => {
    const short = await client.serviceUrl(box.name, { port: 8000, expiresInSeconds: 3 });
    const first = short._token;
    await sleep(10);
    assert.notEqual(await short.token(), first);
    assert.equal((await short.fetch("/")).status, 200);
  });

  it("passes any method, and bodies with and without a length", async () => {
    for (const method of ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"]) {
      const seen = await (await service.fetch("/m", { method, body: "b\xff" })).json();
      assert.deepEqual([seen.method, seen.body, seen.headers["content-length"]], [method, "b\xc3\xbf", "3"]);
    }
    const req = await raw("m", { method: "POST", headers: { "Transfer-Encoding": "chunked", "X-Api-Key": "own" } });
    req.write("one ");
    req.end("two");
    const seen = JSON.parse((await answerOf(req)).body);
    assert.equal(seen.body, "one two");
    assert.equal(seen.headers["content-length"], undefined);
    assert.equal(seen.headers["x-api-key"], "own", "a service's own key is nobody else's");
    const head = await service.fetch("/m", { method: "HEAD" });
    assert.equal(head.status, 200);
    assert.ok(Number(head.headers.get("content-length")) > 100);
    const cookies = await (await service.fetch("/m", { headers: { Cookie: "a=1; sandbox-service-8000=x; b=2" } })).json();
    assert.equal(cookies.headers.cookie, "a=1; b=2");
  });

  it("lets nobody find another end of a request than it found", async () => {
    const url = new URL(`${await service.serviceUrl()}m`);
    for (const [lengths, body, expected] of [
      ["Content-Length: 3\r\nTransfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n", ["abc", undefined, "chunked"]],
      ["Content-Length: 3\r\nContent-Length: 3", "abc", ["abc", "3", undefined]],
    ]) {
      const socket = (url.protocol === "https:" ? tls : net).connect({ port: url.port, host: url.hostname });
      socket.write(`POST ${url.pathname} HTTP/1.1\r\nHost: x\r\n${TOKEN}: ${await service.token()}\r\n${lengths}\r\n\r\n${body}`);
      const parts = [];
      for await (const part of socket) parts.push(part);
      const answer = Buffer.concat(parts).toString();
      assert.match(answer, /^HTTP\/1.1 200 OK\r\n/);
      const seen = JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")));
      assert.deepEqual([seen.body, seen.headers["content-length"], seen.headers["transfer-encoding"]], expected);
    }
  });

  it("passes answers of every form", async () => {
    assert.equal((await service.fetch("/interim")).status, 204);
    assert.equal(await (await service.fetch("/hang")).text(), "whole");
    const big = Buffer.from(await (await service.fetch("/big/100")).arrayBuffer());
    assert.deepEqual(big, Buffer.alloc(100 * 65536, Uint8Array.from({ length: 256 }, (_, i) => i)));
    await assert.rejects(service.fetch("/cut").then((r) => r.text()));
    for (const path of ["/garbage", "/unasked"]) {
      const bad = await service.fetch(path);
      assert.equal(bad.status, 502);
      assert.equal((await bad.json()).error, "ConnectionError");
    }
  });

  it("streams both ways at once, in bounded memory, at the slower side's pace", async () => {
    const before = residentMiB(server.child.pid);
    const total = 64 << 20;
    const piece = Buffer.alloc(1 << 16, "0123456789abcdef");
    const req = await raw("echo", { method: "POST", headers: { "Transfer-Encoding": "chunked" } });
    let sent = 0;
    let got = 0;
    const write = () => {
      while (sent < total) {
        sent += piece.length;
        if (!req.write(piece)) return req.once("drain", write);
      }
      return req.end();
    };
    write();
    const [res] = await once(req, "response");
    let stalled = 0;
    await until(() => stalled === sent || ((stalled = sent), sleep(300).then(() => false)));
    assert.ok(sent < total, "the client does not read, so it cannot all have gone");
    for await (const part of res) {
      assert.equal(part[0], piece[got % 16]);
      got += part.length;
    }
    assert.equal(got, total);
    const grown = residentMiB(server.child.pid) - before;
    assert.ok(grown < 16, `${grown} MiB`);
  });

  it("delivers an answer that comes before the request is complete", async () => {
    const req = await raw("early", { method: "POST", headers: { "Content-Length": "1000000" } });
    req.on("error", () => {});
    req.write("x");
    const answer = await answerOf(req);
    assert.deepEqual([answer.status, answer.body.toString()], [413, "large"]);
    req.destroy();
  });

  it("ends the service's side when the client leaves", async () => {
    const req = await raw("drip");
    req.on("error", () => {});
    req.end();
    const [res] = await once(req, "response");
    await once(res, "data");
    req.destroy();
    await until(async () => (await box.run("cat /root/drip-ended")).stdout === "gone");
  });

  it("passes an upgrade, both ways, with half-closed ends", async () => {
    const req = await raw("upgrade", { headers: { Connection: "Upgrade", Upgrade: "capitals" } });
    req.end();
    const [res, socket, first] = await once(req, "upgrade");
    assert.equal(res.statusCode, 101);
    assert.equal(res.headers.upgrade, "capitals");
    const parts = [first];
    socket.on("data", (d) => parts.push(d));
    const sent = Buffer.alloc(3 << 20, "abcdefgh");
    socket.end(sent);
    await once(socket, "end");
    assert.equal(Buffer.concat(parts).toString(), `${sent.toString().toUpperCase()}${sent.length} read`);
  });

  it("serves many at once", async () => {
    const all = Array.from({ length: 100 }, (_, i) => service.fetch(`/n/${i}`).then((r) => r.json()));
    assert.deepEqual((await Promise.all(all)).map((s) => s.path), all.map((_, i) => `/n/${i}`));
  });

  it("asks for a token of this sandbox and port, before its time is over", async () => {
    const url = await service.serviceUrl();
    const status = async (token, at = url) => (await fetch(at, { headers: token ? { [TOKEN]: token } : {} })).status;
    const token = await service.token();
    assert.equal(await status(token), 200);
    assert.equal(await status(undefined), 401);
    assert.equal(await status("x"), 401);
    assert.equal(await status(`${token}x`), 401);
    assert.equal(await status(token.replace(/^.../, "AAA")), 401);
    assert.equal(await status(token, url.replace("/8000", "/8001")), 401);
    const other = await client.createSandbox();
    assert.equal(await status(token, url.replace(box.id, other.id)), 401);
    assert.equal(await status(token, url.replace(box.id, "none")), 404);
    const short = (await mint({ port: 8000, expires_in_seconds: 1 })).json.token;
    await until(async () => (await status(short)) === 401);
    const said = await (await fetch(url, { headers: { [TOKEN]: short } })).json();
    assert.match(said.message, /expired/);
    assert.equal((await fetch(url, { headers: { "X-Api-Key": KEY } })).status, 401, "a key is no token");
    await other.delete();
  });

  it("answers 502 where nothing listens, and finds services on ::1", async () => {
    const none = await client.serviceUrl(box.name, { port: 9 });
    const answer = await none.fetch("/", { method: "POST", body: "x".repeat(100000) });
    assert.equal(answer.status, 502);
    assert.deepEqual(await answer.json(), { error: "ConnectionError", message: "Port 9: nothing listens there" });
    const six = await serve(client, box, 8006, "::1");
    assert.equal((await six.fetch("/six")).status, 200);
  });

  it("lets a browser in by a cookie", async () => {
    const first = await fetch(await service.browserUrl(), { redirect: "manual" });
    assert.equal(first.status, 302);
    const cookie = first.headers.get("set-cookie").split(";")[0];
    const second = await fetch(new URL(first.headers.get("location"), server.url), { headers: { Cookie: cookie } });
    assert.equal(second.status, 200);
    assert.equal((await second.json()).headers.cookie, undefined, "the service does not see it");
    const bad = (await service.browserUrl()).replace(/token=.{9}/, "token=");
    assert.equal((await fetch(bad)).status, 401);
  });

  it("checks what it is asked for", async () => {
    const cases = [
      [{}, "port"],
      [{ port: 0 }, "port"],
      [{ port: 65536 }, "port"],
      [{ port: 1, expires_in_seconds: 0 }, "expires_in_seconds"],
      [{ port: 1, expires_in_seconds: 86401 }, "expires_in_seconds"],
      [{ port: 1, access: "all" }, "access"],
      [{ port: 1, access: "workspace", expires_in_seconds: 60 }, "expires_in_seconds"],
    ];
    for (const [body, field] of cases) {
      const answer = await mint(body);
      assert.equal(answer.status, 422, JSON.stringify(body));
      assert.equal(answer.json.detail[0].loc.at(-1), field);
    }
    await assert.rejects(client.serviceUrl(box.name, { port: 1.5 }), LangSmithValidationError);
    assert.equal((await mint({ port: 1 }, "none")).status, 404);
    assert.equal((await request(`${await service.serviceUrl()}`.replace("/8000/", "/0x8/"))).status, 404);
  });

  it("lists what is shared, page by page, and ends it", async () => {
    await shares("", "DELETE");
    for (const port of [9003, 9001, 9002]) await mint({ port, expires_in_seconds: 600 });
    const all = (await shares()).json;
    assert.deepEqual(
      all.items.map((i) => [i.port, i.access]),
      [9001, 9002, 9003].map((p) => [p, "token"]),
    );
    assert.ok(Date.parse(all.items[0].expires_at) > Date.parse(all.items[0].created_at));
    assert.equal(all.next_cursor, null);
    const first = (await shares("?page_size=2")).json;
    const second = (await shares(`?page_size=2&cursor=${first.next_cursor}`)).json;
    assert.deepEqual([...first.items, ...second.items].map((i) => i.port), [9001, 9002, 9003]);
    assert.equal(second.next_cursor, null);
    assert.equal((await shares("?port=9002", "DELETE")).status, 204);
    assert.deepEqual((await shares()).json.items.map((i) => i.port), [9001, 9003]);
    await shares("", "DELETE");
    assert.deepEqual((await shares()).json.items, []);
    const seen = await client.getSandbox(box.name);
    assert.equal(seen.shares, undefined);
  });

  it("keeps the two modes apart, and gives a login", async () => {
    await shares("", "DELETE");
    const token = await service.token();
    const login = await client.serviceUrl(box.name, { port: 8000, access: "restricted" });
    assert.equal(login.access, "restricted");
    assert.equal((await fetch(login.url)).status, 401);
    const opened = await request(login.url);
    assert.equal(opened.status, 200);
    assert.equal(opened.json.headers["x-api-key"], undefined, "the key is not the service's to see");
    await assert.rejects(client.serviceUrl(box.name, { port: 8000 }), (e) => {
      assert.ok(e instanceof LangSmithSandboxError);
      assert.match(e.message, /shared by login/);
      return true;
    });
    assert.equal((await mint({ port: 8000 })).status, 409);
    assert.equal((await client.serviceUrl(box.name, { port: 8000, access: "workspace" })).access, "workspace");
    assert.deepEqual((await shares()).json.items.map((i) => [i.port, i.access, i.expires_at]), [[8000, "workspace", undefined]]);
    assert.equal((await fetch(await service.serviceUrl(), { headers: { [TOKEN]: token } })).status, 200);
    await shares("?port=8000", "DELETE");
    assert.equal((await request(login.url)).status, 401);
    assert.equal((await mint({ port: 8000 })).status, 200);
    assert.equal((await mint({ port: 8000, access: "workspace" })).status, 409);
  });

  it("writes URLs for the way it was asked", async () => {
    const ask = async (method, path, headers, body) => {
      const url = new URL(`${server.base}/boxes${path}`);
      const options = { method, agent: false, servername: "localhost", headers: { "X-Api-Key": KEY, ...headers } };
      const req = (url.protocol === "https:" ? https : http).request(url, options);
      req.end(body && JSON.stringify(body));
      return JSON.parse((await answerOf(req)).body);
    };
    const { protocol, port } = new URL(server.url);
    const name = `/${encodeURIComponent(box.name)}`;
    for (const [host, proto, expected] of [
      [`localhost:${port}`, undefined, `${protocol}//localhost:${port}`],
      ["sandbox.example", "https", "https://sandbox.example"],
      ["[::1]:5", undefined, `${protocol}//[::1]:5`],
      ["a/b", undefined, server.url],
    ]) {
      const headers = { Host: host, ...(proto && { "X-Forwarded-Proto": proto }) };
      const dataplane = `${expected}/dataplane/${box.id}`;
      assert.equal((await ask("GET", name, headers)).dataplane_url, dataplane);
      assert.equal((await ask("PATCH", name, headers, {})).dataplane_url, dataplane);
      const listed = (await ask("GET", "", headers)).items.find((b) => b.id === box.id);
      assert.equal(listed.dataplane_url, dataplane);
      const { service_url, browser_url } = await ask("POST", `${name}/service-url`, headers, { port: 8001 });
      assert.ok(service_url.startsWith(`${expected}/s/`) && browser_url.startsWith(`${expected}/`), service_url);
      const { download_url } = await ask("POST", `${name}/download-url`, headers, { path: "/x" });
      assert.ok(download_url.startsWith(`${expected}/d/`), download_url);
      const made = await ask("POST", "", headers, { wait_for_ready: true });
      assert.equal(made.dataplane_url, `${expected}/dataplane/${made.id}`);
      await client.deleteSandbox(made.name);
    }
  });

  it("wakes a stopped sandbox", async () => {
    const other = await client.createSandbox();
    const url = await client.serviceUrl(other.name, { port: 5 });
    await other.stop();
    assert.equal((await url.fetch("/")).status, 502);
    assert.equal((await client.getSandboxStatus(other.name)).status, "ready");
    await other.delete();
    assert.equal((await url.fetch("/")).status, 404);
  });
});

describe("service URLs, over a restart of the server", () => {
  it("keep their tokens and what is shared", async () => {
    const state = mkdtempSync(join(tmpdir(), "sandboxd-"));
    let server = await startServer("--state", state);
    try {
      const box = await server.client().createSandbox();
      const service = await server.client().serviceUrl(box.name, { port: 5 });
      const path = new URL(await service.serviceUrl()).pathname;
      const headers = { [TOKEN]: await service.token() };
      await server.stop();
      server = await startServer("--state", state);
      assert.equal((await fetch(server.url + path, { headers })).status, 502);
      const { json } = await request(`${server.base}/boxes/${box.name}/service-urls`);
      assert.deepEqual(json.items.map((i) => i.port), [5]);
    } finally {
      await server.stop();
      rmSync(state, { recursive: true });
    }
  });
});

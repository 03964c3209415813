// Download links: the official client makes them, anybody fetches them.
import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LangSmithResourceNotFoundError, LangSmithValidationError } from "langsmith/sandbox";
import { request, startServer, until } from "./helper.mjs";

describe("download links", () => {
  let server, client, box;
  const content = Buffer.alloc(300000, Uint8Array.from({ length: 251 }, (_, i) => i));

  before(async () => {
    server = await startServer();
    client = server.client();
    box = await client.createSandbox();
    await box.write("/root/report.pdf", content);
  });
  after(async () => {
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
  });

  it("give the file without any credential", async () => {
    const link = await box.generateDownloadURL("/root/report.pdf");
    assert.equal(link.expires_at, null);
    assert.ok(link.download_url.startsWith(`${server.url}/`));
    assert.equal(new URL(link.download_url).searchParams.get("token"), link.token);
    const response = await fetch(link.download_url);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "application/pdf");
    assert.equal(response.headers.get("content-disposition"), null);
    assert.ok(content.equals(Buffer.from(await response.arrayBuffer())));
    const relative = await fetch((await box.generateDownloadURL("report.pdf")).download_url);
    assert.ok(content.equals(Buffer.from(await relative.arrayBuffer())));
  });

  it("answer HEAD, ranges and conditions as downloads do", async () => {
    const { download_url: url } = await box.generateDownloadURL("/root/report.pdf");
    const head = await fetch(url, { method: "HEAD" });
    assert.equal(head.headers.get("content-length"), String(content.length));
    assert.equal(head.headers.get("accept-ranges"), "bytes");
    const etag = head.headers.get("etag");
    const get = async (headers) => {
      const r = await fetch(url, { headers });
      return [r.status, r.headers.get("content-range"), Buffer.from(await r.arrayBuffer())];
    };
    assert.deepEqual(await get({ Range: "bytes=100000-100004" }), [206, "bytes 100000-100004/300000", content.subarray(100000, 100005)]);
    assert.deepEqual(await get({ Range: "bytes=-3", "If-Range": etag }), [206, "bytes 299997-299999/300000", content.subarray(-3)]);
    assert.equal((await get({ Range: "bytes=5-", "If-Range": '"other"' }))[0], 200);
    assert.equal((await get({ Range: "bytes=300000-" }))[0], 416);
    assert.equal((await get({ "If-None-Match": etag }))[0], 304);
    assert.equal((await fetch(url, { method: "POST" })).status, 405);
  });

  it("name a type and a disposition", async () => {
    await box.write('/root/ü "1".txt', "x");
    const headers = async (path, options) => {
      const { download_url } = await box.generateDownloadURL(path, options);
      return (await fetch(download_url)).headers;
    };
    let h = await headers("/root/report.pdf", { contentType: "text/x-own; a=b", contentDisposition: "inline" });
    assert.equal(h.get("content-type"), "text/x-own; a=b");
    assert.equal(h.get("content-disposition"), 'inline; filename="report.pdf"');
    h = await headers('/root/ü "1".txt', { contentDisposition: "attachment" });
    assert.equal(h.get("content-disposition"), "attachment; filename=\"__ _1_.txt\"; filename*=UTF-8''%C3%BC%20%221%22.txt");
  });

  it("end when their time is over", async () => {
    const link = await box.generateDownloadURL("/root/report.pdf", { expiresInSeconds: 1 });
    assert.ok(Date.parse(link.expires_at) - Date.now() <= 1000);
    await until(async () => (await fetch(link.download_url)).status === 410);
    const long = await box.generateDownloadURL("/root/report.pdf", { expiresInSeconds: 3600 });
    assert.ok(Date.parse(long.expires_at) - Date.now() > 3_590_000);
  });

  it("cannot be bent to another file", async () => {
    const { download_url: url } = await box.generateDownloadURL("/root/report.pdf");
    const status = async (bent) => (await fetch(bent)).status;
    const other = await client.createSandbox();
    assert.equal(await status(`${url}x`), 403);
    assert.equal(await status(url.replace(/token=.{8}/, "token=")), 403);
    assert.equal(await status(url.replace(/\?.*/, "")), 403);
    assert.equal(await status(url.replace(box.id, other.id)), 403);
    assert.equal(await status(`${url}&path=/etc/passwd`), 200);
    const service = await client.serviceUrl(box.name, { port: 1 });
    assert.equal(await status(url.replace(/token=.*/, `token=${await service.token()}`)), 403);
    const { download_url: gone } = await other.generateDownloadURL("/root/none");
    assert.equal(await status(gone), 404);
    await other.stop();
    assert.equal(await status(gone), 404);
    assert.equal((await client.getSandboxStatus(other.name)).status, "ready", "a link wakes its sandbox");
    await other.delete();
    assert.equal(await status(gone), 404);
  });

  it("are refused for what cannot be", async () => {
    const cases = [
      [{}, "path"],
      [{ path: "" }, "path"],
      [{ path: "/x", expires_in_seconds: 0 }, "expires_in_seconds"],
      [{ path: "/x", expires_in_seconds: "1" }, "expires_in_seconds"],
      [{ path: "/x", content_disposition: "form-data" }, "content_disposition"],
      [{ path: "/x", content_type: "a\r\nX: y" }, "content_type"],
    ];
    for (const [json, field] of cases) {
      const answer = await request(`${server.base}/boxes/${box.name}/download-url`, { method: "POST", json });
      assert.equal(answer.status, 422, JSON.stringify(json));
      assert.equal(answer.json.detail[0].loc.at(-1), field);
    }
    await assert.rejects(client.generateDownloadURL("none", "/x"), LangSmithResourceNotFoundError);
    await assert.rejects(box.generateDownloadURL("/x", { expiresInSeconds: 0 }), LangSmithValidationError);
  });

  it("outlive a restart of the server", async () => {
    const state = mkdtempSync(join(tmpdir(), "sandboxd-"));
    let other = await startServer("--state", state);
    try {
      const kept = await other.client().createSandbox();
      await kept.write("/root/f", "kept");
      const { pathname, search } = new URL((await kept.generateDownloadURL("/root/f")).download_url);
      await other.stop();
      other = await startServer("--state", state);
      assert.equal(await (await fetch(other.url + pathname + search)).text(), "kept");
    } finally {
      await other.stop();
      rmSync(state, { recursive: true });
    }
  });
});

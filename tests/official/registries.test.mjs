// Registries, through the official client's generated part.
import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { request, startServer } from "./helper.mjs";

const PASSWORD = "registry-password-9c41";

describe("registries", () => {
  let server, registries, dir;

  before(async () => {
    dir = await mkdtemp("/tmp/sandboxd-test-");
    server = await startServer("--state", dir);
    registries = server.client().registries;
  });
  after(async () => {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const create = (name) => registries.create({ name, url: "https://r.example", username: "u", password: PASSWORD });

  it("creates, retrieves, updates and deletes, and shows no password", async () => {
    const made = await create("a/b");
    assert.deepEqual(Object.keys(made).sort(), ["created_at", "created_by", "id", "name", "updated_at", "updated_by", "url"]);
    assert.equal(made.name, "a/b");
    assert.equal(made.url, "https://r.example");
    assert.deepEqual(await registries.retrieve("a/b"), made);
    const changed = await registries.update("a/b", { name: "c", password: PASSWORD + "2" });
    assert.equal(changed.id, made.id);
    assert.equal(changed.name, "c");
    assert.ok(changed.updated_at > made.updated_at);
    assert.ok(!JSON.stringify(changed).includes(PASSWORD));
    await assert.rejects(registries.retrieve("a/b"), (e) => e.status === 404);
    await registries.delete("c");
    await assert.rejects(registries.delete("c"), (e) => e.status === 404);
  });

  it("refuses a name twice and incomplete bodies", async () => {
    await create("one");
    await create("two");
    await assert.rejects(create("one"), (e) => e.status === 409);
    await assert.rejects(registries.update("two", { name: "one" }), (e) => e.status === 409);
    assert.equal((await registries.update("two", { name: "two" })).name, "two");
    for (const field of ["name", "url", "username", "password"]) {
      const body = { name: "n", url: "u", username: "u", password: "p" };
      for (const value of [undefined, "", 7]) {
        body[field] = value;
        const answer = await request(`${server.base}/registries`, { method: "POST", json: body });
        assert.equal(answer.status, 422);
        assert.deepEqual(answer.json.detail[0].loc, ["body", field]);
      }
    }
    await registries.delete("one");
    await registries.delete("two");
  });

  it("lists with filters and pages, under both base paths", async () => {
    // Sent at once, so that several may come within one tick of the server's clock.
    const names = Array.from({ length: 30 }, (_, i) => `at-once-${i}`);
    const made = await Promise.all(names.map(create));
    assert.equal(new Set(made.map((r) => r.created_at)).size, names.length, "no two have one time");
    await Promise.all(names.map((name) => registries.delete(name)));
    for (const name of ["x1", "x2", "y1"]) await create(name);
    const page = await registries.list({ limit: 2, offset: 1 });
    assert.deepEqual(page.registries.map((r) => r.name), ["x2", "x1"]);
    assert.equal(page.offset, 0);
    assert.equal((await registries.list({ limit: 2 })).offset, 2);
    const named = await registries.list({ name_contains: "X" });
    assert.deepEqual(named.registries.map((r) => r.name), ["x2", "x1"]);
    const direct = await request(`${server.base}/registries?page_size=2&sort_by=name`);
    assert.deepEqual(direct.json.items.map((r) => r.name), ["x1", "x2"]);
    const next = await request(`${server.base}/registries?page_size=2&sort_by=name&cursor=${direct.json.next_cursor}`);
    assert.deepEqual(next.json.registries.map((r) => r.name), ["y1"]);
    assert.equal(next.json.next_cursor, null);
    assert.ok(!direct.text.includes(PASSWORD));
    await assert.rejects(server.client({ apiKey: "wrong" }).registries.list(), (e) => e.status === 403);
  });

  it("keeps them across restarts, readable by the server alone", async () => {
    const before = await registries.list();
    await server.stop();
    const files = await readdir(`${dir}/registries`);
    assert.equal(files.length, 3);
    assert.equal((await stat(`${dir}/registries/${files[0]}`)).mode & 0o777, 0o600);
    server = await startServer("--state", dir);
    registries = server.client().registries;
    assert.deepEqual(await registries.list(), before);
  });
});

// What only the older generations have (templates, volumes, pools, a lifetime
// from creation on), and what each generation lacks. No client of these is on
// npm any more, so the requests are written out as theirs were.
import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { Stream, execute, request, startServer, until } from "./helper.mjs";

const GIB = 1024 ** 3;

// One server with the calls of a client that knows no classes.
async function older(...args) {
  const server = await startServer(...args);
  const call = (method) => (path, json) => request(`${server.base}/${path}`, { method, json });
  const [get, post, patch, del] = ["GET", "POST", "PATCH", "DELETE"].map(call);
  return { server, client: server.client(), get, post, patch, del };
}

const error = (answer) => answer.json.detail.error;
const field = (answer) => answer.json.detail[0].loc.at(-1);
const volume = { name: "v", size: "1Gi", wait_for_ready: true, timeout: 60 };
const template = { name: "t", image: "plain", resources: { cpu: "500m", memory: "512Mi" } };
const pool = { name: "p", template_name: "t", replicas: 2, wait_for_ready: true, timeout: 30 };

describe("templates, volumes and pools", () => {
  let dir, args, o;

  before(async () => {
    dir = await mkdtemp("/tmp/sandboxd-test-");
    await mkdir(`${dir}/plain/opt`, { recursive: true });
    await writeFile(`${dir}/plain/opt/file`, "of the image\n");
    args = ["--state", `${dir}/state`, "--image", `plain=${dir}/plain`];
    o = await older(...args);
  });
  after(async () => {
    await o.server.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const clear = async () => {
    for (const box of await o.client.listSandboxes()) await box.delete();
    for (const kind of ["pools", "templates", "volumes"])
      for (const r of (await o.get(kind)).json[kind]) assert.equal((await o.del(`${kind}/${r.name}`)).status, 204);
  };

  it("volumes: created, read, listed, changed, deleted", async () => {
    const made = await o.post("volumes", volume);
    assert.equal(made.status, 201);
    assert.equal(made.json.name, "v");
    assert.equal(made.json.size, "1Gi");
    assert.equal(made.json.storage_class, "default");
    assert.ok(made.json.id && made.json.created_at && made.json.updated_at);
    assert.deepEqual((await o.get("volumes/v")).json, made.json);
    await o.post("volumes", { ...volume, name: "w" });
    assert.deepEqual((await o.get("volumes")).json.volumes.map((v) => v.name), ["w", "v"]);
    assert.equal((await o.post("volumes", volume)).status, 409);
    assert.equal((await o.patch("volumes/v", { name: "w" })).status, 409);
    assert.equal((await o.patch("volumes/v", { name: "u", size: "2Gi" })).json.size, "2Gi");
    const shrunk = await o.patch("volumes/u", { size: "1024Mi" });
    assert.equal(shrunk.status, 400);
    assert.equal(error(shrunk), "VolumeResize");
    for (const [body, name] of [[{ size: "1Gi" }, "name"], [{ name: "x" }, "size"], [{ name: "x", size: "much" }, "size"], [{ name: "x", size: "0Gi" }, "size"]]) {
      const answer = await o.post("volumes", body);
      assert.equal(answer.status, 422);
      assert.equal(field(answer), name);
    }
    assert.equal((await o.get("volumes/none")).status, 404);
    assert.equal((await o.del("volumes/none")).status, 404);
    await clear();
    await until(async () => (await readdir(`${dir}/state/volumes`)).length === 0);
  });

  it("templates: created, read, listed, renamed, deleted unless in use", async () => {
    await o.post("volumes", volume);
    const made = await o.post("templates", { ...template, volume_mounts: [{ volume_name: "v", mount_path: "/data" }] });
    assert.equal(made.status, 201);
    assert.deepEqual(made.json.resources, { cpu: "500m", memory: "512Mi" });
    assert.deepEqual(made.json.volume_mounts, [{ volume_name: "v", mount_path: "/data" }]);
    assert.deepEqual((await o.get("templates/t")).json, made.json);
    const inUse = await o.del("volumes/v");
    assert.equal(inUse.status, 409);
    assert.match(inUse.json.detail.message, /in use by template 't'/);
    await o.patch("volumes/v", { name: "renamed" });
    assert.equal((await o.get("templates/t")).json.volume_mounts[0].volume_name, "renamed");
    await o.post("templates", { ...template, name: "s" });
    assert.equal((await o.patch("templates/t", { name: "s" })).status, 409);
    assert.equal((await o.patch("templates/t", { name: "r" })).json.name, "r");
    assert.equal((await o.post("templates", { ...template, name: "s" })).status, 409);
    const mounts = (...paths) => paths.map((mount_path) => ({ volume_name: "renamed", mount_path }));
    for (const [more, name] of [
      [{ name: undefined }, "name"],
      [{ image: "" }, "image"],
      [{ resources: undefined }, "resources"],
      [{ resources: { cpu: "fast" } }, "cpu"],
      [{ resources: { memory: 512 } }, "memory"],
      [{ resources: { storage: "x" } }, "storage"],
      [{ volume_mounts: mounts("data") }, "mount_path"],
      [{ volume_mounts: mounts("/usr/local") }, "mount_path"],
      [{ volume_mounts: mounts("/a/../etc") }, "mount_path"],
      [{ volume_mounts: mounts("/a", "/a/b") }, "mount_path"],
      [{ volume_mounts: [{ mount_path: "/a" }] }, "volume_name"],
    ]) {
      const answer = await o.post("templates", { ...template, name: "x", ...more });
      assert.equal(answer.status, 422, JSON.stringify(more));
      assert.equal(field(answer), name);
    }
    assert.equal((await o.post("templates", { ...template, name: "x", volume_mounts: [{ volume_name: "no", mount_path: "/a" }] })).status, 404);
    await clear();
  });

  it("pools: created, read, listed, scaled, deleted", async () => {
    assert.equal(error(await o.post("pools", pool)), "TemplateNotFound");
    await o.post("volumes", volume);
    await o.post("templates", { ...template, name: "with-volume", volume_mounts: [{ volume_name: "v", mount_path: "/data" }] });
    const refused = await o.post("pools", { ...pool, template_name: "with-volume" });
    assert.equal(refused.status, 400);
    assert.equal(error(refused), "ValidationError");
    await o.post("templates", template);
    const made = await o.post("pools", pool);
    assert.equal(made.status, 201);
    assert.equal(made.json.template_name, "t");
    assert.equal(made.json.replicas, 2);
    assert.equal((await o.post("pools", pool)).status, 409);
    assert.equal((await o.patch("pools/p", { replicas: 5 })).json.replicas, 5);
    await o.post("pools", { ...pool, name: "q" });
    assert.equal((await o.patch("pools/p", { name: "q" })).status, 409);
    assert.equal((await o.patch("pools/p", { replicas: 101 })).status, 422);
    assert.equal((await o.post("pools", { ...pool, name: "x", replicas: 0 })).status, 422);
    assert.deepEqual((await o.get("pools")).json.pools.map((p) => p.name), ["q", "p"]);
    const inUse = await o.del("templates/t");
    assert.equal(inUse.status, 409);
    assert.match(inUse.json.detail.message, /in use by pool/);
    await o.patch("templates/t", { name: "t2" });
    assert.equal((await o.get("pools/p")).json.template_name, "t2");
    await clear();
  });

  it("a sandbox of a template has its image, resources and volumes", async () => {
    await o.post("volumes", volume);
    await o.post("templates", { ...template, resources: { cpu: "1500m", memory: "2Gi", storage: "3Gi" }, volume_mounts: [{ volume_name: "v", mount_path: "/data/v" }] });
    const create = (name, more) => o.post("boxes", { template_name: "t", name, wait_for_ready: true, timeout: 30, ...more });
    const made = await create("one");
    assert.equal(made.status, 201, made.text);
    assert.equal(made.json.template_name, "t");
    assert.equal(made.json.snapshot_id, undefined);
    assert.deepEqual([made.json.vcpus, made.json.cpu_millicores, made.json.mem_bytes, made.json.fs_capacity_bytes], [2, 1500, 2 * GIB, 3 * GIB]);
    assert.equal((await create("two", { vcpus: 4 })).json.vcpus, 4);
    const one = await o.client.getSandbox("one");
    const two = await o.client.getSandbox("two");
    assert.equal((await one.run("cat /opt/file; mkdir /data/v/d; echo 1 > /data/v/d/f; umask 077; echo private > /data/v/p")).stdout, "of the image\n");
    assert.equal((await two.run("cat /data/v/d/f && echo 2 >> /data/v/d/f && echo x > /data/v/d/g && rm /data/v/p && cat /data/v/d/f")).stdout, "1\n1\n2\n");
    await one.stop();
    assert.equal((await one.run("cat /data/v/d/f; ls /data/v")).stdout, "1\n2\nd\n", "mounted again after a stop");
    assert.equal((await o.del("volumes/v")).status, 409);
    assert.match((await o.del("templates/t")).json.detail.message, /in use by sandbox/);
    const captured = await one.captureSnapshot("of-one");
    const plain = await o.client.createSandbox(captured.id);
    assert.equal((await plain.run("ls -A /data/v; cat /opt/file")).stdout, "of the image\n", "a volume is no part of a snapshot");
    await o.client.deleteSnapshot(captured.id);
    for (const [body, status, what] of [
      [{ template_name: "none" }, 404, "ResourceNotFound"],
      [{ template_name: "unknown-image" }, 422, "ImagePull"],
    ]) {
      await o.post("templates", { ...template, name: "unknown-image", image: "python:3.12" });
      const answer = await o.post("boxes", { ...body, wait_for_ready: true });
      assert.equal(answer.status, status);
      assert.equal(error(answer), what);
    }
    const both = await o.post("boxes", { template_name: "t", snapshot_id: "s" });
    assert.deepEqual([both.status, field(both)], [422, "template_name"]);
    await o.server.stop();
    Object.assign(o, await older(...args));
    assert.equal((await (await o.client.getSandbox("two")).run("cat /data/v/d/f")).stdout, "1\n2\n", "kept across a restart");
    await clear();
  });
});

describe("lifetimes", () => {
  it("stop idle sandboxes, delete stopped and expired ones, also across a restart", async (t) => {
    const dir = await mkdtemp("/tmp/sandboxd-test-");
    t.after(() => rm(dir, { recursive: true, force: true }));
    const args = ["--state", dir, "--time-scale", "60"];
    let o = await older(...args);
    const create = async (name, more) => {
      const made = await o.post("boxes", { name, wait_for_ready: true, idle_ttl_seconds: 0, ...more });
      assert.equal(made.status, 201, made.text);
      return made.json;
    };
    const status = async (name) => (await o.get(`boxes/${name}/status`)).json.status;
    const gone = async (name) => (await o.get(`boxes/${name}`)).status === 404;
    await create("stays");
    await create("idle", { idle_ttl_seconds: 60 });
    const busy = await create("busy", { idle_ttl_seconds: 60 });
    const stream = new Stream(busy.dataplane_url, execute("echo on; sleep 600"));
    await stream.wait((m) => m.type === "stdout");
    const expires = await create("expires", { ttl_seconds: 120 });
    assert.equal(expires.ttl_seconds, 120);
    assert.equal(Date.parse(expires.expires_at) - Date.parse(expires.created_at), 120000);
    await until(async () => (await status("idle")) === "stopped");
    await until(() => gone("expires"));
    assert.equal(await status("busy"), "ready", "a running command is no idleness");
    assert.equal(await status("stays"), "ready");
    const later = await o.patch("boxes/stays", { ttl_seconds: 6000 });
    assert.equal(Date.parse(later.json.expires_at) - Date.parse(later.json.created_at), 6000000);
    const never = await o.patch("boxes/stays", { ttl_seconds: 0 });
    assert.equal(never.json.expires_at, null);
    assert.equal(field(await o.patch("boxes/stays", { ttl_seconds: 61 })), "ttl_seconds");

    await create("removed", { delete_after_stop_seconds: 60 });
    await o.post("boxes/removed/stop", {});
    await until(() => gone("removed"));
    await create("removed-later", { delete_after_stop_seconds: 180 });
    await create("expires-later", { ttl_seconds: 180 });
    await create("idle-later", { idle_ttl_seconds: 60 });
    await o.post("boxes/removed-later/stop", {});
    const before = (await o.get("boxes/removed-later")).json;
    await o.server.stop();
    o = await older(...args);
    const seen = await o.get("boxes/removed-later");
    if (seen.status === 200) assert.deepEqual({ ...seen.json, dataplane_url: "" }, { ...before, dataplane_url: "" });
    await until(() => gone("removed-later"));
    await until(() => gone("expires-later"));
    await until(async () => (await status("idle-later")) === "stopped");
    assert.equal(await status("stays"), "ready");
    await o.server.stop();
  });
});

describe("generations", () => {
  const missing = async (o, ...paths) => {
    for (const [method, path] of paths.map((p) => p.split(" "))) {
      const answer = await request(`${o.server.url}${path}`, { method, json: method === "GET" ? undefined : {} });
      assert.equal(answer.status, 404, path);
      assert.equal(answer.json.detail, "Not Found", "the path itself is unknown");
    }
  };
  const B = "/v2/sandboxes";

  it("2026-04-a: needs a template, deletes idle ones, wakes none, has no ids of commands", async (t) => {
    const dir = await mkdtemp("/tmp/sandboxd-test-");
    t.after(() => rm(dir, { recursive: true, force: true }));
    await mkdir(`${dir}/empty`);
    const o = await older("--generation", "2026-04-a", "--image", `plain=${dir}/empty`, "--time-scale", "60");
    assert.equal(field(await o.post("boxes", {})), "template_name");
    await o.post("templates", template);
    const made = await o.post("boxes", { name: "b", template_name: "t", wait_for_ready: true });
    assert.equal(made.status, 201);
    assert.equal(made.json.idle_ttl_seconds, 0);
    await missing(o, `POST ${B}/boxes/b/stop`, `POST ${B}/boxes/b/start`, `POST ${B}/boxes/b/snapshot`, `GET ${B}/snapshots`,
      `GET ${B}/registries`, `GET /api${B}/registries`, `POST /dataplane/${made.json.id}/glob`);
    assert.deepEqual(Object.keys((await o.get("boxes")).json).sort(), ["offset", "sandboxes"]);

    const url = made.json.dataplane_url;
    const first = new Stream(url, execute("echo out; read x; echo $x", { command_id: "mine", close_stdin: false }));
    const started = await first.wait((m) => m.type === "started");
    assert.notEqual(started.command_id, "mine");
    await first.wait((m) => m.type === "stdout");
    const twice = new Stream(url, execute("echo again", { command_id: "mine" }));
    await twice.wait((m) => m.type === "exit");
    assert.equal(twice.text(), "again\n", "execute with a known id runs again");
    const second = new Stream(url, { type: "reconnect", command_id: started.command_id, stdout_offset: 0, stderr_offset: 0 });
    await second.wait((m) => m.type === "stdout");
    second.send({ type: "input", data: "in\n" });
    await second.wait((m) => m.type === "exit");
    assert.equal(second.text(), "out\nin\n");
    assert.equal(second.of("started").length, 0);
    await first.wait((m) => m.type === "exit");

    await o.post("boxes", { name: "idle", template_name: "t", idle_ttl_seconds: 60, wait_for_ready: true });
    await until(async () => (await o.get("boxes/idle")).status === 404);
    await o.server.stop();
  });

  it("2026-04-b: snapshots too; a stopped one has no data plane", async (t) => {
    const dir = await mkdtemp("/tmp/sandboxd-test-");
    t.after(() => rm(dir, { recursive: true, force: true }));
    await mkdir(`${dir}/empty`);
    const o = await older("--generation", "2026-04-b", "--image", `plain=${dir}/empty`);
    assert.equal(field(await o.post("boxes", {})), "template_name");
    const snapshot = await o.client.createSnapshot("s", "plain", GIB);
    const made = await o.post("boxes", { name: "b", snapshot_id: snapshot.id, wait_for_ready: true, idle_ttl_seconds: 600 });
    assert.equal(made.status, 201, made.text);
    await missing(o, `GET ${B}/snapshots-by-name/s`, `GET ${B}/registries`, `POST /dataplane/${made.json.id}/grep`);
    assert.equal((await o.get("pools")).status, 200);
    assert.equal((await o.post("boxes/b/stop", {})).status, 204);
    assert.equal((await o.get("boxes/b")).json.dataplane_url, null);
    const asleep = await request(`${made.json.dataplane_url}/execute`, { method: "POST", json: { command: "true" } });
    assert.deepEqual([asleep.status, error(asleep)], [400, "NotReady"]);
    const proxy = await o.patch("boxes/b", { proxy_config: { rules: [] } });
    assert.deepEqual([proxy.status, error(proxy)], [400, "InvalidRequest"]);
    await o.post("boxes/b/start", {});
    await until(async () => (await o.get("boxes/b/status")).json.status === "ready");
    assert.equal((await (await o.client.getSandbox("b")).run("echo up")).stdout, "up\n");
    await o.server.stop();
  });

  it("current: no templates, volumes, pools", async () => {
    const o = await older("--generation", "current");
    await missing(o, `GET ${B}/templates`, `POST ${B}/volumes`, `DELETE ${B}/pools/p`);
    const made = await o.post("boxes", { template_name: "ignored", ttl_seconds: 61, wait_for_ready: true });
    assert.equal(made.status, 201);
    assert.equal(made.json.ttl_seconds, undefined);
    assert.equal((await o.get("registries")).status, 200);
    await o.server.stop();
  });
});

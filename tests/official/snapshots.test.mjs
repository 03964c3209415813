// Snapshots, through the official client and where it is silent by hand.
import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, copyFile, mkdir, mkdtemp, readdir, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  LangSmithResourceCreationError,
  LangSmithResourceNotFoundError,
  LangSmithSandboxError,
  LangSmithValidationError,
} from "langsmith/sandbox";
import { Stream, execute, request, startServer, until } from "./helper.mjs";

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;
const text = (bytes) => new TextDecoder().decode(bytes);

// A root that has its own programs, as an image has: a few of this machine's with their libraries.
async function systemRoot(root) {
  for (const dir of ["usr/bin", "usr/lib", "usr/lib64", "etc", "root"]) await mkdir(join(root, dir), { recursive: true });
  for (const dir of ["bin", "lib", "lib64"]) await symlink(`usr/${dir}`, join(root, dir));
  for (const name of ["bash", "cat", "ls", "env"]) {
    const program = await realpath(`/usr/bin/${name}`);
    await copyFile(program, join(root, "usr/bin", name));
    for (const [, library] of execFileSync("ldd", [program], { encoding: "utf8" }).matchAll(/(\/\S+) \(0x/g)) {
      const to = join(root, library);
      await mkdir(dirname(to), { recursive: true });
      await copyFile(library, to);
    }
  }
  await writeFile(join(root, "etc/os-release"), "ID=small\n");
}

describe("snapshots", () => {
  let dir, state, server, client;
  const start = async () => {
    server = await startServer(
      ...["--state", state, "--image", `plain=${dir}/plain`, "--image", `r.example:5000/full:1=${dir}/full`],
    );
    client = server.client();
  };

  before(async () => {
    dir = await mkdtemp("/tmp/sandboxd-test-");
    state = `${dir}/state`;
    await mkdir(`${dir}/plain/opt/app`, { recursive: true });
    await writeFile(`${dir}/plain/opt/app/run.sh`, "#!/bin/sh\necho from the image\n");
    await chmod(`${dir}/plain/opt/app/run.sh`, 0o755);
    await symlink("/opt/app/run.sh", `${dir}/plain/opt/link`);
    await systemRoot(`${dir}/full`);
    await start();
  });
  after(async () => {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const clear = async () => {
    for (const box of await client.listSandboxes()) await box.delete();
    for (const s of await client.listSnapshots()) await client.deleteSnapshot(s.id);
  };

  it("builds from an image that the command line names, and boots from it", async () => {
    const snapshot = await client.createSnapshot("from-image", "plain", GIB, { runConfig: { env_vars: { A: "1" } } });
    assert.equal(snapshot.status, "ready");
    assert.equal(snapshot.name, "from-image");
    assert.equal(snapshot.docker_image, "plain");
    assert.equal(snapshot.fs_capacity_bytes, GIB);
    assert.ok(snapshot.fs_used_bytes > 0);
    assert.deepEqual(snapshot.run_config, { env_vars: { A: "1" } });
    assert.deepEqual(snapshot.tags, ["latest"]);
    assert.equal(snapshot.status_message, null);
    const box = await client.createSandbox(snapshot.id);
    assert.equal(box.snapshot_id, snapshot.id);
    assert.equal(box.fs_capacity_bytes, GIB);
    assert.equal((await box.run("/opt/link; echo $A; id -u; stat -c '%u %A' /opt/app/run.sh")).stdout,
      "from the image\n1\n0\n0 -rwxr-xr-x\n");
    await assert.rejects(client.createSandbox("from-image"), LangSmithResourceNotFoundError, "a name is no id");
    await assert.rejects(client.createSandbox({ snapshotName: snapshot.id }), LangSmithResourceNotFoundError, "nor is an id a name");
    await box.write("/opt/app/run.sh", "changed");
    await box.delete();
    const again = await client.createSandbox({ snapshotName: "from-image" });
    assert.equal((await again.run("/opt/link")).stdout, "from the image\n", "a sandbox changes its copy only");
    await clear();
  });

  it("boots an image with a system of its own, which sees none of this machine's", async () => {
    const snapshot = await client.createSnapshot("full", "r.example:5000/full:1", GIB);
    const box = await client.createSandbox(snapshot.id);
    assert.equal((await box.run("cat /etc/os-release; ls /usr/bin")).stdout, "ID=small\nbash\ncat\nenv\nls\n");
    assert.equal((await box.run("echo $BASH_VERSION | cat; echo x > /usr/lib/y; cat /usr/lib/y")).stderr, "");
    await box.write("/usr/share/new", "own files everywhere");
    const captured = await box.captureSnapshot("full-2");
    await box.stop();
    assert.equal(text(await box.read("/usr/share/new")), "own files everywhere");
    const second = await client.createSandbox(captured.id);
    assert.equal((await second.run("cat /usr/share/new; ls /usr/bin | cat")).stdout, "own files everywherebash\ncat\nenv\nls\n");
    await clear();
  });

  it("fails as ImagePull for other images, and says so", async () => {
    const made = await request(`${server.base}/snapshots`, {
      method: "POST",
      json: { name: "no", docker_image: "python:3.12-slim", fs_capacity_bytes: GIB },
    });
    assert.equal(made.status, 201);
    assert.equal(made.json.status, "building");
    await assert.rejects(client.waitForSnapshot(made.json.id, { pollInterval: 0.05 }), (e) => {
      assert.ok(e instanceof LangSmithResourceCreationError);
      assert.match(e.message, /^ImagePull: the image 'python:3.12-slim' cannot be pulled/);
      return true;
    });
    const failed = await client.getSnapshot(made.json.id);
    assert.equal(failed.status, "failed");
    assert.deepEqual(failed.tags, []);
    await assert.rejects(client.getSnapshot("no"), LangSmithResourceNotFoundError);
    await assert.rejects(client.createSandbox(made.json.id), LangSmithSandboxError);
    const small = await request(`${server.base}/snapshots`, {
      method: "POST",
      json: { name: "small", docker_image: "plain:latest", fs_capacity_bytes: 4096 },
    });
    await assert.rejects(client.waitForSnapshot(small.json.id, { pollInterval: 0.05 }), /do not fit into fs_capacity_bytes/);
    await clear();
  });

  it("captures a live sandbox: files, links, modes, times, holes; not what is elsewhere", async () => {
    const box = await client.createSandbox({ name: "origin", runConfig: { env_vars: { MINE: "no" } } });
    const prepare = await box.run(`set -e
      mkdir -p /workspace/deep/er /root/.config; cd /workspace
      echo data > file; chmod 640 file; touch -d 2001-02-03T04:05:06Z file; ln -s ../etc/passwd link; ln -s nowhere broken
      mkfifo pipe; truncate -s 100M hole; echo end >> hole; mkdir ro; echo x > ro/x; chmod 555 ro; echo secret > /root/.config/k
      chmod 600 /root/.config/k; touch 'odd "name' $'new\\nline'; echo tmp > /tmp/gone; : > empty; echo user:x:1:1::/: >> /etc/passwd
      (while :; do date >> /workspace/busy; done) & sleep 0.1; echo ok`, { timeout: 30 });
    assert.equal(prepare.stdout, "ok\n", prepare.stderr);
    const snapshot = await box.captureSnapshot("captured", { runConfig: { work_dir: "/workspace", env_vars: { S: "1", T: "1" } } });
    assert.equal(snapshot.source_sandbox_id, box.id);
    assert.equal(snapshot.fs_capacity_bytes, box.fs_capacity_bytes);
    assert.ok(snapshot.fs_used_bytes < 50 * MIB, "a hole takes no room");
    await box.run("echo later > /workspace/file; rm -rf /workspace/deep");
    const copy = await client.createSandbox({ snapshotName: "captured:latest", name: "copy", runConfig: { env_vars: { T: "2", U: "2" } } });
    const seen = await copy.run(
      `pwd; cat file; stat -c '%n %A %Y %s' file pipe hole ro ro/x empty; readlink link broken; ls -d deep/er; tail -c 4 hole
       cat /root/.config/k; stat -c %A /root/.config/k; ls /tmp; ls odd* new*; tail -1 /etc/passwd; echo $S$T$U$V-$MINE`,
      { env: { V: "3" } },
    );
    assert.deepEqual(seen.stdout.split("\n"), [
      "/workspace", "data", "file -rw-r----- 981173106 5", ...seen.stdout.split("\n").slice(3, 8),
      "../etc/passwd", "nowhere", "deep/er", "end", "secret", "-rw-------", "new", "line", 'odd "name',
      "user:x:1:1::/:", "1223-", "",
    ], seen.stderr);
    assert.match(seen.stdout, /^pipe prw-r--r-- \d+ 0$/m);
    assert.match(seen.stdout, /^hole -rw-r--r-- \d+ 104857604$/m);
    assert.match(seen.stdout, /^ro dr-xr-xr-x /m);
    assert.match(seen.stdout, /^empty -rw-r--r-- \d+ 0$/m);
    assert.equal((await copy.run("du -k hole | cut -f1")).stdout.trim(), "4");
    await assert.rejects(copy.write("/workspace/ro/y", "x"), /Permission denied/);
    await clear();
  });

  it("captures a stopped one, and follows no link out of it", async () => {
    const box = await client.createSandbox();
    await box.run("rm -rf /opt; ln -s / /opt; ln -s /etc/shadow /root/s; mkdir -p /srv/d; ln -s /proc/1/root /srv/d/r");
    await box.stop();
    const snapshot = await box.captureSnapshot("stopped");
    const copy = await client.createSandbox(snapshot.id);
    assert.equal((await copy.run("readlink /opt /root/s /srv/d/r")).stdout, "/\n/etc/shadow\n/proc/1/root\n");
    assert.ok(snapshot.fs_used_bytes < MIB);
    assert.equal((await client.getSandboxStatus(box.name)).status, "stopped", "capturing does not wake it");
    await clear();
  });

  it("is not held up by locks that somebody inside holds, nor by very deep directories", async () => {
    const box = await client.createSandbox({ name: "locker" });
    const held = new Stream(box.dataplane_url, execute("flock -x / sh -c 'echo held; sleep 600'"));
    await held.wait((m) => m.type === "stdout");
    const made = await request(`${server.base}/boxes/locker/snapshot`, { method: "POST", json: { name: "locked" } });
    assert.equal((await client.waitForSnapshot(made.json.id, { pollInterval: 0.05 })).status, "ready");
    await box.run("mkdir -p /srv/$(printf 'd/%.0s' $(seq 1100))");
    const deep = await request(`${server.base}/boxes/locker/snapshot`, { method: "POST", json: { name: "deep" } });
    await assert.rejects(client.waitForSnapshot(deep.json.id, { pollInterval: 0.05 }), /1000 levels deep/);
    await clear();
  });

  it("finds by id, name and tag; tags move to the newest", async () => {
    const box = await client.createSandbox({ name: "tagger" });
    const capture = async (body) => {
      const made = await request(`${server.base}/boxes/tagger/snapshot`, { method: "POST", json: { name: "app", ...body } });
      assert.equal(made.status, 201, made.text);
      return client.waitForSnapshot(made.json.id, { pollInterval: 0.05 });
    };
    const one = await capture({ tag: "v1" });
    const latest = await capture({});
    assert.equal((await client.getSnapshot("app")).id, latest.id);
    assert.equal((await client.getSnapshot("app:v1")).id, one.id);
    const newest = await capture({ labels: { a: "1", b: "2" } });
    assert.equal((await client.getSnapshot("app:latest")).id, newest.id);
    assert.deepEqual((await client.getSnapshot(latest.id)).tags, []);
    const named = await request(`${server.base}/snapshots-by-name/app`);
    assert.deepEqual(
      named.json.tags.sort((a, b) => (a.tag < b.tag ? -1 : 1)),
      [{ snapshot_id: newest.id, tag: "latest" }, { snapshot_id: one.id, tag: "v1" }],
    );
    assert.equal((await request(`${server.base}/snapshots-by-name/none`)).status, 404);
    await client.deleteSnapshot("app:latest");
    assert.equal((await client.getSnapshot("app")).id, latest.id, "else the newest ready one without tags");
    await assert.rejects(client.getSnapshot("app:latest"), LangSmithResourceNotFoundError);
    await assert.rejects(client.deleteSnapshot("app:latest"), LangSmithResourceNotFoundError);
    const labelled = await capture({ tag: "l", labels: { a: "1", b: "2" } });
    const made = await request(`${server.base}/boxes`, { method: "POST", json: { snapshot: "app:l", labels: { b: "3" }, wait_for_ready: true } });
    assert.deepEqual(made.json.labels, { a: "1", b: "3" });
    assert.equal(made.json.snapshot_id, labelled.id);
    await box.delete();
    assert.equal((await client.getSnapshot("app:v1")).source_sandbox_id, box.id, "outlives its sandbox");
    await clear();
  });

  it("lists with filters and pages", async () => {
    const box = await client.createSandbox({ name: "lister" });
    for (const name of ["s-b", "s-a", "s-c", "other"]) {
      const made = await request(`${server.base}/boxes/${box.name}/snapshot`, { method: "POST", json: { name } });
      await client.waitForSnapshot(made.json.id, { pollInterval: 0.05 });
    }
    await assert.rejects(client.createSnapshot("s-bad", "unknown", GIB));
    const names = (list) => list.map((s) => s.name);
    assert.deepEqual(names(await client.listSnapshots()), ["s-bad", "other", "s-c", "s-a", "s-b"]);
    assert.deepEqual(names(await client.listSnapshots({ nameContains: "S-", limit: 2, offset: 1 })), ["s-c", "s-a"]);
    const get = async (query) => (await request(`${server.base}/snapshots?${query}`)).json;
    assert.deepEqual(names((await get("status=failed")).items), ["s-bad"]);
    assert.deepEqual(names((await get("sort_by=name&sort_order=desc&status=ready")).snapshots), ["s-c", "s-b", "s-a", "other"]);
    const seen = [];
    let cursor = "";
    do {
      const page = await get(`page_size=2&cursor=${cursor}`);
      assert.deepEqual(page.items, page.snapshots);
      seen.push(...names(page.items));
      cursor = page.next_cursor;
    } while (cursor !== null);
    assert.deepEqual(seen, ["s-bad", "other", "s-c", "s-a", "s-b"]);
    assert.equal((await request(`${server.base}/snapshots?sort_by=stopped_at`)).status, 422);
    assert.equal((await request(`${server.base}/snapshots?limit=501`)).status, 422);
    await clear();
  });

  it("validates, and names the field", async () => {
    await client.createSandbox({ name: "v" });
    const capture = `${server.base}/boxes/v/snapshot`;
    const cases = [
      [capture, {}, "name"],
      [capture, { name: "" }, "name"],
      [capture, { name: "a:b" }, "name"],
      [capture, { name: "a", tag: "-x" }, "tag"],
      [capture, { name: "a", tag: "" }, "tag"],
      [capture, { name: "a", docker_image: "" }, "docker_image"],
      [capture, { name: "a", include_memory: 1 }, "include_memory"],
      [capture, { name: "a", fs_capacity_bytes: 0 }, "fs_capacity_bytes"],
      [capture, { name: "a", labels: [] }, "labels"],
      [capture, { name: "a", run_config: { work_dir: "x" } }, "work_dir"],
      [`${server.base}/snapshots`, { name: "a", fs_capacity_bytes: 1 }, "docker_image"],
      [`${server.base}/snapshots`, { name: "a", docker_image: "plain" }, "fs_capacity_bytes"],
      [`${server.base}/snapshots`, { name: "a", docker_image: "plain", fs_capacity_bytes: 1, registry_password: 7 }, "registry_password"],
      [`${server.base}/boxes`, { restore_memory: true }, "restore_memory"],
    ];
    for (const [url, json, field] of cases) {
      const answer = await request(url, { method: "POST", json });
      assert.equal(answer.status, 422, JSON.stringify(json));
      assert.deepEqual(answer.json.detail[0].loc, ["body", field]);
    }
    const post = async (url, json) => (await request(url, { method: "POST", json })).status;
    assert.equal(await post(capture, { name: "a", checkpoint: "c" }), 404);
    assert.equal(await post(`${server.base}/boxes/none/snapshot`, { name: "a" }), 404);
    assert.equal(await post(`${server.base}/snapshots`, { name: "a", docker_image: "plain", fs_capacity_bytes: GIB, registry_id: "none" }), 404);
    await assert.rejects(client.createSnapshot("a", "plain", -1), LangSmithValidationError);
    assert.deepEqual(await client.listSnapshots(), []);
    await clear();
  });

  it("deletes while files are copied, in both directions", async () => {
    const box = await client.createSandbox({ name: "big" });
    await box.run("mkdir /srv/many; cd /srv/many; for i in $(seq 400); do echo $i > $i; done");
    const made = await request(`${server.base}/boxes/big/snapshot`, { method: "POST", json: { name: "cut" } });
    await client.deleteSnapshot(made.json.id);
    await assert.rejects(client.getSnapshot(made.json.id), LangSmithResourceNotFoundError);
    // The sandbox goes first, the copy is whole all the same.
    const kept = await request(`${server.base}/boxes/big/snapshot`, { method: "POST", json: { name: "kept" } });
    await box.delete();
    const snapshot = await client.waitForSnapshot(kept.json.id, { pollInterval: 0.05 });
    // And so is a sandbox whose snapshot goes first; one that is deleted itself leaves nothing.
    const first = await client.createSandbox(snapshot.id, { waitForReady: false });
    const second = await client.createSandbox(snapshot.id, { waitForReady: false });
    await client.deleteSnapshot(snapshot.id);
    await second.delete();
    const ready = await client.waitForSandbox(first.name, { pollInterval: 0.05 });
    assert.equal((await ready.run("cat /srv/many/* | wc -l")).stdout, "400\n");
    await clear();
    for (const kind of ["boxes", "trash", "snapshots"])
      await until(async () => (await readdir(`${state}/${kind}`)).length === 0);
  });

  it("makes many at once, a few at a time", async () => {
    const box = await client.createSandbox({ name: "many" });
    await box.write("/srv/f", "x");
    const ids = await Promise.all(Array.from({ length: 20 }, async (_, i) => {
      const made = await request(`${server.base}/boxes/many/snapshot`, { method: "POST", json: { name: `n${i}` } });
      return made.json.id;
    }));
    await client.deleteSnapshot(ids[19]);
    await Promise.all(ids.slice(0, 19).map((id) => client.waitForSnapshot(id, { pollInterval: 0.05 })));
    const made = await Promise.all(ids.slice(0, 12).map((id) => client.createSandbox(id)));
    for (const m of made) assert.equal(text(await m.read("/srv/f")), "x");
    await clear();
  });

  it("keeps them across restarts; what was under way fails, or goes on", async () => {
    const box = await client.createSandbox({ name: "before" });
    await box.run("mkdir /srv/many; cd /srv/many; for i in $(seq 400); do echo $i > $i; done");
    const snapshot = await box.captureSnapshot("whole", { runConfig: { env_vars: { S: "s" } } });
    const cut = await request(`${server.base}/boxes/before/snapshot`, { method: "POST", json: { name: "cut" } });
    await client.createSandbox(snapshot.id, { name: "half", waitForReady: false });
    await server.stop("SIGKILL");
    await start();
    assert.deepEqual(await client.getSnapshot("whole"), snapshot);
    await assert.rejects(client.waitForSnapshot(cut.json.id, { pollInterval: 0.05 }), (e) => {
      assert.ok(e instanceof LangSmithResourceCreationError);
      assert.equal(e.message, "the server ended while it was built");
      return true;
    });
    const half = await client.waitForSandbox("half", { pollInterval: 0.05 });
    assert.equal((await half.run("cat /srv/many/* | wc -l; echo $S")).stdout, "400\ns\n");
    await until(async () => (await readdir(`${state}/snapshots`)).length === 3);
    assert.deepEqual((await readdir(`${state}/snapshots`)).sort(), [snapshot.id, `${snapshot.id}.json`, `${cut.json.id}.json`].sort());
    await clear();
  });
});

// The control plane, through the official client.
import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import {
  SandboxClient,
  awsAuth,
  gcpAuth,
  gcsMount,
  gitMount,
  contextHubMount,
  mountConfig,
  opaqueSecret,
  proxyConfig,
  s3Mount,
  workspaceSecret,
  LangSmithResourceNameConflictError,
  LangSmithResourceNotFoundError,
  LangSmithResourceTimeoutError,
  LangSmithSandboxAPIError,
  LangSmithSandboxAuthenticationError,
  LangSmithSandboxCreationError,
  LangSmithSandboxError,
  LangSmithQuotaExceededError,
  LangSmithValidationError,
} from "langsmith/sandbox";
import { KEY, request, startServer } from "./helper.mjs";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;
const GIB = 1024 ** 3;

describe("boxes", () => {
  let server, client;

  before(async () => {
    server = await startServer();
    client = server.client();
  });
  after(async () => {
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
  });

  it("creates with defaults and a generated name", async () => {
    const box = await client.createSandbox();
    assert.match(box.name, /^sandbox-[0-9a-f]{8}$/);
    assert.match(box.id, UUID);
    assert.equal(box.status, "ready");
    assert.equal(box.status_message, null);
    assert.equal(box.dataplane_url, `${server.url}/dataplane/${box.id}`);
    assert.match(box.created_at, TIME);
    assert.match(box.updated_at, TIME);
    assert.ok(Math.abs(Date.parse(box.created_at) - Date.now()) < 60000);
    assert.equal(box.idle_ttl_seconds, 600);
    assert.equal(box.delete_after_stop_seconds, 0);
    assert.equal(box.stopped_at, undefined);
    assert.equal(box.vCpus, 1);
    assert.equal(box.mem_bytes, 4 * GIB);
    assert.equal(box.fs_capacity_bytes, 16 * GIB);
    assert.equal(box.run_config, undefined);
    assert.equal(box.access_delegation, undefined);
    await box.delete();
    await assert.rejects(client.getSandbox(box.name), LangSmithResourceNotFoundError);
  });

  it("takes every option of the client and returns it", async () => {
    const runConfig = { user: "root", work_dir: "/workspace", env_vars: { A: "1", B: "two words" } };
    const proxy = proxyConfig({
      rules: [
        awsAuth({
          accessKeyId: workspaceSecret("AWS_ID"),
          secretAccessKey: opaqueSecret("hidden-key"),
          envVars: { AWS_REGION: "eu-west-1" },
        }),
        {
          name: "header",
          match_hosts: ["example.com"],
          headers: [
            { name: "Authorization", type: "workspace_secret", value: "Bearer {TOKEN}" },
            { name: "X-Plain", type: "plaintext", value: "seen" },
            { name: "X-Opaque", type: "opaque", value: "hidden-header" },
          ],
        },
      ],
      accessControl: { allow_list: ["example.com"] },
    });
    const box = await client.createSandbox({
      name: "all options",
      timeout: 20,
      waitForReady: true,
      idleTtlSeconds: 1200,
      deleteAfterStopSeconds: 3600,
      vCpus: 2,
      memBytes: 6 * GIB,
      fsCapacityBytes: 5 * GIB,
      runConfig,
      accessDelegation: { mode: "EXPLICIT", permissions: ["projects:read"] },
      mountConfig: mountConfig({
        auth: [gcpAuth({ serviceAccountJson: opaqueSecret("hidden-json") })],
        mounts: [
          s3Mount({ id: "s", mountPath: "/s3", bucket: "logs", prefix: "p", cache: { max_size_bytes: 10 } }),
          gcsMount({ id: "g", mountPath: "/data", bucket: "bucket", readOnly: true }),
          gitMount({ id: "r", mountPath: "/repo", remoteUrl: "https://example.com/a/b.git" }),
          contextHubMount({ id: "c", mountPath: "/ctx", repo: "-/agent" }),
        ],
        proxyConfig: proxy,
      }),
      proxyConfig: proxy,
    });
    assert.equal(box.name, "all options");
    assert.equal(box.idle_ttl_seconds, 1200);
    assert.equal(box.delete_after_stop_seconds, 3600);
    assert.equal(box.vCpus, 2);
    assert.equal(box.mem_bytes, 6 * GIB);
    assert.equal(box.fs_capacity_bytes, 5 * GIB);
    assert.deepEqual(box.run_config, runConfig);
    assert.deepEqual(box.access_delegation, { mode: "EXPLICIT", permissions: ["projects:read"] });

    const raw = await request(`${server.base}/boxes/${encodeURIComponent("all options")}`);
    assert.deepEqual(raw.json.mount_config, {
      auth: { gcp: { service_account_json: { type: "opaque", is_set: true } } },
      mounts: [
        {
          id: "s",
          type: "s3",
          mount_path: "/s3",
          cache: { max_size_bytes: 10 },
          s3: {
            endpoint_url: "https://s3.amazonaws.com",
            region: "us-east-1",
            bucket: "logs",
            prefix: "p",
            path_style: false,
          },
        },
        { id: "g", type: "gcs", mount_path: "/data", read_only: true, gcs: { bucket: "bucket" } },
        { id: "r", type: "git", mount_path: "/repo", git: { remote_url: "https://example.com/a/b.git" } },
        { id: "c", type: "contexthub", mount_path: "/ctx", contexthub: { repo: "-/agent" } },
      ],
    });
    assert.deepEqual(raw.json.proxy_config, {
      rules: [
        {
          name: "aws",
          type: "aws",
          enabled: true,
          aws: {
            access_key_id: { type: "workspace_secret", value: "{AWS_ID}" },
            secret_access_key: { type: "opaque", is_set: true },
          },
          env_vars: { AWS_REGION: "eu-west-1" },
        },
        {
          name: "header",
          match_hosts: ["example.com"],
          headers: [
            { name: "Authorization", type: "workspace_secret", value: "Bearer {TOKEN}" },
            { name: "X-Plain", type: "plaintext", value: "seen" },
            { name: "X-Opaque", type: "opaque", is_set: true },
          ],
        },
      ],
      access_control: { allow_list: ["example.com"] },
    });
    assert.ok(!raw.text.includes("hidden-"), "a write-only secret was returned");

    // Layers: proxy rule < sandbox.
    const result = await box.run("pwd; echo $A/$B/$AWS_REGION");
    assert.deepEqual(result, { stdout: "/workspace\n1/two words/eu-west-1\n", stderr: "", exit_code: 0 });
    await box.delete();
  });

  it("takes the server's other fields", async () => {
    const body = {
      name: "server-fields",
      wait_for_ready: true,
      labels: { team: "core", empty: "" },
      env_vars: { FROM_BOX: "yes" },
      cpu_millicores: 500,
      preserve_memory_on_stop: true,
      restore_memory: false,
      tag_value_ids: ["t1"],
      idle_ttl_seconds: 0,
      something_new: { ignored: true },
    };
    const made = await request(`${server.base}/boxes`, { method: "POST", json: body });
    assert.equal(made.status, 201);
    assert.deepEqual(made.json.labels, { team: "core", empty: "" });
    assert.equal(made.json.cpu_millicores, 500);
    assert.equal(made.json.vcpus, 1);
    assert.equal(made.json.mem_bytes, 2 * GIB);
    assert.equal(made.json.preserve_memory_on_stop, true);
    assert.deepEqual(made.json.tag_value_ids, ["t1"]);
    assert.equal(made.json.idle_ttl_seconds, 0);
    const box = await client.getSandbox("server-fields");
    assert.equal((await box.run("echo $FROM_BOX")).stdout, "yes\n");
    await box.delete();
  });

  it("creates without waiting, then waits", async () => {
    const box = await client.createSandbox({ name: "later", waitForReady: false });
    assert.equal(box.status, "provisioning");
    assert.equal(box.dataplane_url, `${server.url}/dataplane/${box.id}`);
    const ready = await client.waitForSandbox("later", { timeout: 10, pollInterval: 0.05 });
    assert.equal(ready.status, "ready");
    assert.equal(ready.id, box.id);
    assert.deepEqual(await client.getSandboxStatus("later"), { status: "ready", status_message: null });
    await box.delete();
  });

  it("finds by id as well as by name, under both base paths, whatever the name holds", async () => {
    const name = "a/b ü%2F?#";
    const box = await client.createSandbox({ name });
    assert.equal((await client.getSandbox(name)).id, box.id);
    assert.equal((await client.getSandbox(box.id)).name, name);
    const other = server.client({ apiEndpoint: `${server.url}/api/v2/sandboxes/` });
    assert.equal((await other.getSandbox(name)).id, box.id);
    await other.deleteSandbox(name);
    await assert.rejects(client.getSandbox(box.id), LangSmithResourceNotFoundError);
  });

  it("lists, filters, sorts and pages", async () => {
    const names = ["list-c", "list-a", "list-b", "list-e", "list-d"];
    for (const name of names) {
      const made = await request(`${server.base}/boxes`, {
        method: "POST",
        json: { name, labels: { kind: "list", [name]: "x" }, wait_for_ready: true },
      });
      assert.equal(made.status, 201);
    }
    const all = await client.listSandboxes();
    assert.deepEqual(
      all.map((b) => b.name),
      [...names].reverse(),
      "newest first",
    );
    assert.ok(all.every((b) => b.status === "ready" && b.dataplane_url));

    const get = async (query) => (await request(`${server.base}/boxes?${query}`)).json;
    const listed = (page) => page.sandboxes.map((b) => b.name);
    let page = await get("limit=2&offset=1&sort_by=name&sort_direction=asc");
    assert.deepEqual(listed(page), ["list-b", "list-c"]);
    assert.deepEqual(page.items, page.sandboxes);
    assert.equal(page.offset, 3);
    page = await get("limit=2&offset=4&sort_by=name&sort_direction=asc");
    assert.deepEqual(listed(page), ["list-e"]);
    assert.equal(page.offset, 0);
    assert.equal(page.next_cursor, null);

    const seen = [];
    let cursor = "";
    let pages = 0;
    do {
      page = await get(`page_size=2&sort_by=name&sort_order=desc&cursor=${cursor}`);
      seen.push(...page.items.map((b) => b.name));
      cursor = page.next_cursor;
      // A removal between pages must neither repeat nor skip another item.
      if (++pages === 1) await client.deleteSandbox("list-d");
    } while (cursor !== null);
    assert.deepEqual(seen, ["list-e", "list-d", "list-c", "list-b", "list-a"]);
    assert.equal(pages, 3);

    assert.deepEqual(listed(await get("name_contains=T-A")), ["list-a"]);
    assert.deepEqual(listed(await get("label=kind=list&label=list-b")), ["list-b"]);
    assert.deepEqual(listed(await get("label=kind=other")), []);
    assert.deepEqual(listed(await get("status=stopped")), []);
    assert.equal(listed(await get("status=ready&created_by=me")).length, 4);

    for (const query of ["limit=0", "limit=501", "limit=x", "offset=-1", "page_size=0", "sort_by=color", "sort_order=up"]) {
      const answer = await request(`${server.base}/boxes?${query}`);
      assert.equal(answer.status, 422, query);
      assert.equal(answer.json.detail[0].loc[0], "query");
    }
    assert.equal((await request(`${server.base}/boxes?cursor=zz`)).status, 400);
    for (const box of await client.listSandboxes()) await box.delete();
    assert.deepEqual(await client.listSandboxes(), []);
  });

  it("updates", async () => {
    const box = await client.createSandbox({ name: "before" });
    await client.createSandbox({ name: "taken" });
    const renamed = await client.updateSandbox("before", "after");
    assert.equal(renamed.name, "after");
    assert.equal(renamed.id, box.id);
    await assert.rejects(client.getSandbox("before"), LangSmithResourceNotFoundError);
    const changed = await client.updateSandbox("after", {
      idleTtlSeconds: 0,
      deleteAfterStopSeconds: 120,
      runConfig: { env_vars: { X: "new" } },
      proxyConfig: { rules: [{ name: "n", headers: [{ name: "H", type: "opaque", value: "s3cret" }] }] },
    });
    assert.equal(changed.idle_ttl_seconds, 0);
    assert.equal(changed.delete_after_stop_seconds, 120);
    assert.deepEqual(changed.run_config, { env_vars: { X: "new" } });
    assert.ok(changed.updated_at > box.updated_at);
    assert.equal((await changed.run("echo $X")).stdout, "new\n");
    assert.equal((await client.updateSandbox("after", {})).id, box.id, "nothing to change is a get");
    const patched = await request(`${server.base}/boxes/after`, {
      method: "PATCH",
      json: { vcpus: 4, mem_bytes: 10 * GIB, fs_capacity_bytes: GIB },
    });
    assert.equal(patched.json.vcpus, 4);
    assert.equal(patched.json.cpu_millicores, 4000);
    assert.equal(patched.json.mem_bytes, 10 * GIB);
    await assert.rejects(client.updateSandbox("after", "taken"), (e) => {
      assert.ok(e instanceof LangSmithResourceNameConflictError);
      assert.equal(e.message, "Sandbox name 'taken' already in use");
      return true;
    });
    await assert.rejects(client.updateSandbox("missing", "x"), LangSmithResourceNotFoundError);
    const bad = await request(`${server.base}/boxes/after`, { method: "PATCH", json: { idle_ttl_seconds: 90, name: "no" } });
    assert.equal(bad.status, 422);
    assert.equal((await client.getSandbox("after")).id, box.id, "a refused update changes nothing");
    await client.deleteSandbox("after");
    await client.deleteSandbox("taken");
  });

  it("stops, keeps files, starts, and is woken by a request", async () => {
    const box = await client.createSandbox({ name: "sleeper" });
    await box.write("/root/kept.txt", "kept");
    const url = box.dataplane_url;
    await box.stop();
    assert.equal(box.status, "stopped");
    const stopped = await client.getSandbox("sleeper");
    assert.equal(stopped.status, "stopped");
    assert.match(stopped.stopped_at, TIME);
    assert.equal(stopped.dataplane_url, url);
    assert.deepEqual(await client.getSandboxStatus("sleeper"), { status: "stopped", status_message: null });
    await assert.rejects(client.stopSandbox("sleeper"), LangSmithSandboxError);
    await box.start({ timeout: 10 });
    assert.equal(box.status, "ready");
    assert.equal((await client.getSandbox("sleeper")).stopped_at, undefined);
    assert.equal(new TextDecoder().decode(await box.read("/root/kept.txt")), "kept");
    await assert.rejects(client.startSandbox("sleeper"), LangSmithSandboxError);

    for (const wake of [
      () => box.read("kept.txt"),
      () => box.run("cat kept.txt"),
      () => box._runHttp("cat kept.txt"),
      () => box.ls("/root"),
      () => box.stat("/root/kept.txt"),
      () => box.write("/root/other", "x"),
    ]) {
      await box.stop();
      assert.equal((await client.getSandboxStatus("sleeper")).status, "stopped");
      await wake();
      assert.equal((await client.getSandboxStatus("sleeper")).status, "ready");
    }
    await box.delete();
    await assert.rejects(client.startSandbox("sleeper"), LangSmithResourceNotFoundError);
    await assert.rejects(client.stopSandbox("sleeper"), LangSmithResourceNotFoundError);
  });

  it("maps errors to the client's classes", async () => {
    await assert.rejects(client.getSandbox("nobody"), (e) => {
      assert.ok(e instanceof LangSmithResourceNotFoundError);
      assert.equal(e.message, "Sandbox 'nobody' not found");
      assert.equal(e.resourceType, "sandbox");
      return true;
    });
    await assert.rejects(client.deleteSandbox("nobody"), LangSmithResourceNotFoundError);
    await assert.rejects(client.getSandboxStatus("nobody"), LangSmithResourceNotFoundError);
    await assert.rejects(client.createSandbox("no-such-snapshot"), LangSmithResourceNotFoundError);
    await assert.rejects(client.createSandbox({ snapshotName: "no:such" }), LangSmithResourceNotFoundError);
    await assert.rejects(
      server.client({ apiEndpoint: `${server.url}/wrong` }).listSandboxes(),
      LangSmithSandboxAPIError,
    );
    for (const apiKey of ["wrong", "test-key-6f1d", "test-key-6f1c1"]) {
      await assert.rejects(server.client({ apiKey }).listSandboxes(), (e) => {
        assert.ok(e instanceof LangSmithSandboxAuthenticationError);
        assert.equal(e.message, "The API key is not valid");
        return true;
      });
    }
    assert.equal((await request(`${server.base}/boxes`, { key: null })).status, 401);
    assert.equal((await request(`${server.base}/boxes`, { key: "nope" })).status, 403);
    assert.equal((await request(`${server.base}/boxes`, { method: "PUT" })).status, 405);
    assert.equal((await request(`${server.base}/boxes`, { method: "POST", body: "{oops" })).status, 422);
  });

  it("validates a create request and names the field", async () => {
    const cases = [
      [{ vcpus: 0 }, "vcpus"],
      [{ vcpus: "two" }, "vcpus"],
      [{ mem_bytes: 65 * GIB }, "mem_bytes"],
      [{ vcpus: 1, mem_bytes: 7 * GIB }, "mem_bytes"],
      [{ fs_capacity_bytes: -1 }, "fs_capacity_bytes"],
      [{ idle_ttl_seconds: 61 }, "idle_ttl_seconds"],
      [{ idle_ttl_seconds: -60 }, "idle_ttl_seconds"],
      [{ delete_after_stop_seconds: 2592060 }, "delete_after_stop_seconds"],
      [{ name: "" }, "name"],
      [{ name: 7 }, "name"],
      [{ run_config: { work_dir: "relative" } }, "work_dir"],
      [{ run_config: { user: "nobody" } }, "user"],
      [{ run_config: { env_vars: { A: 1 } } }, "env_vars"],
      [{ access_delegation: { mode: "EXPLICIT" } }, "access_delegation"],
      [{ access_delegation: { mode: "INHERIT", permissions: ["x"] } }, "access_delegation"],
      [{ mount_config: { mounts: [] } }, "mounts"],
      [{ labels: { "": "x" } }, "labels"],
      [{ labels: Object.fromEntries(Array.from({ length: 129 }, (_, i) => [`k${i}`, ""])) }, "labels"],
      [{ snapshot_id: "a", snapshot_name: "b" }, "snapshot_id"],
      [{ timeout: -1 }, "timeout"],
    ];
    for (const [body, field] of cases) {
      const answer = await request(`${server.base}/boxes`, { method: "POST", json: body });
      assert.equal(answer.status, 422, JSON.stringify(body));
      assert.equal(answer.json.detail[0].loc[0], "body");
      assert.equal(answer.json.detail[0].loc.at(-1), field);
      assert.equal(answer.json.detail[0].type, "value_error");
      assert.equal(typeof answer.json.detail[0].msg, "string");
    }
    await assert.rejects(client.createSandbox({ vCpus: 1, memBytes: 7 * GIB }), (e) => {
      assert.ok(e instanceof LangSmithValidationError);
      assert.equal(e.field, "mem_bytes");
      assert.equal(e.details.length, 1);
      return true;
    });
    assert.deepEqual(await client.listSandboxes(), []);
  });

  it("refuses a second sandbox of a name", async () => {
    const box = await client.createSandbox({ name: "unique" });
    await assert.rejects(client.createSandbox({ name: "unique" }), LangSmithSandboxError);
    assert.equal((await request(`${server.base}/boxes`, { method: "POST", json: { name: "unique" } })).status, 409);
    await box.delete();
    await (await client.createSandbox({ name: "unique" })).delete();
  });

  it("shows no key when printed", () => {
    assert.ok(!String(client).includes(KEY));
  });
});

describe("a client configured by the environment", () => {
  it("uses endpoint and key", async () => {
    const server = await startServer();
    process.env.LANGSMITH_ENDPOINT = `${server.url}/`;
    process.env.LANGSMITH_API_KEY = KEY;
    try {
      assert.deepEqual(await new SandboxClient().listSandboxes(), []);
    } finally {
      delete process.env.LANGSMITH_ENDPOINT;
      delete process.env.LANGSMITH_API_KEY;
      await server.stop();
    }
  });
});

describe("boxes, with faults", () => {
  const fails = async (fault, call, check) => {
    const server = await startServer("--fault", fault);
    try {
      await assert.rejects(call(server.client(), server), check);
    } finally {
      await server.stop();
    }
  };

  it("quota, unschedulable, timeout, image and API errors", async () => {
    await fails("status=429:message=sandbox count limit reached", (c) => c.createSandbox(), (e) => {
      assert.ok(e instanceof LangSmithQuotaExceededError);
      assert.equal(e.quotaType, "sandbox_count");
      return true;
    });
    await fails("status=503:type=Unschedulable", (c) => c.createSandbox(), (e) => {
      assert.ok(e instanceof LangSmithSandboxCreationError);
      assert.equal(e.errorType, "Unschedulable");
      return true;
    });
    await fails("status=422:type=ImagePull", (c) => c.createSandbox(), (e) => {
      assert.ok(e instanceof LangSmithSandboxCreationError);
      assert.equal(e.errorType, "ImagePull");
      return true;
    });
    await fails("status=408:path=/boxes", (c) => c.createSandbox(), LangSmithResourceTimeoutError);
    await fails("status=500", (c) => c.listSandboxes(), LangSmithSandboxAPIError);
  });

  it("counts and matches paths", async () => {
    const server = await startServer("--fault", "status=503:count=2:path=/status:retry-after=7");
    const client = server.client();
    await client.createSandbox({ name: "x" });
    for (const want of [503, 503, 200]) {
      const answer = await request(`${server.base}/boxes/x/status`);
      assert.equal(answer.status, want);
      assert.equal(answer.headers.get("retry-after"), want === 503 ? "7" : null);
    }
    await server.stop();
  });
});

describe("state", () => {
  it("keeps sandboxes across restarts, running ones running", async (t) => {
    const { mkdtemp, rm } = await import("node:fs/promises");
    const dir = await mkdtemp("/tmp/sandboxd-test-");
    t.after(() => rm(dir, { recursive: true, force: true }));
    let server = await startServer("--state", dir);
    let client = server.client();
    const box = await client.createSandbox({
      name: "kept",
      idleTtlSeconds: 180,
      proxyConfig: { rules: [{ name: "n", headers: [{ name: "H", type: "opaque", value: "v" }] }] },
    });
    await box.write("/root/file", "contents");
    await (await client.createSandbox({ name: "asleep" })).stop();
    await (await client.createSandbox({ name: "removed" })).delete();
    await assert.rejects(startServer("--state", dir), /ended with 1/, "two servers must not share a state");
    await server.stop();

    server = await startServer("--state", dir);
    client = server.client();
    assert.deepEqual((await client.listSandboxes()).map((b) => b.name).sort(), ["asleep", "kept"]);
    const again = await client.waitForSandbox("kept", { timeout: 10, pollInterval: 0.05 });
    assert.equal(again.id, box.id);
    assert.equal(again.created_at, box.created_at);
    assert.equal(again.idle_ttl_seconds, 180);
    assert.equal((await again.run("cat /root/file")).stdout, "contents");
    assert.equal((await client.getSandboxStatus("asleep")).status, "stopped");
    assert.deepEqual(await server.stop("SIGINT"), { code: 0, signal: null });
  });
});

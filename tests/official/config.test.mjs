// mount_config and proxy_config: checked, stored, shown without their secrets.
import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import {
  LangSmithValidationError,
  awsAuth,
  contextHubMount,
  gcpAuth,
  gcsMount,
  gitMount,
  mountConfig,
  opaqueSecret,
  proxyConfig,
  s3Mount,
} from "langsmith/sandbox";
import { request, startServer } from "./helper.mjs";

const key = (name) => ({ type: "opaque", value: name });
const aws = { access_key_id: key("i"), secret_access_key: key("s") };
const gcp = { service_account_json: key("j") };
const s3 = { id: "s", type: "s3", mount_path: "/s3", s3: { bucket: "b", region: "us-east-1" } };
const gcs = { id: "g", type: "gcs", mount_path: "/gcs", gcs: { bucket: "b" } };
const git = { id: "r", type: "git", mount_path: "/repo", git: { remote_url: "https://example.com/a/b" } };
const hub = { id: "c", type: "contexthub", mount_path: "/ctx", contexthub: { repo: "-/agent" } };

describe("mount and proxy configuration", () => {
  let server, client, dir;

  before(async () => {
    dir = await mkdtemp("/tmp/sandboxd-test-");
    server = await startServer("--state", dir);
    client = server.client();
  });
  after(async () => {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const create = (json) => request(`${server.base}/boxes`, { method: "POST", json });

  it("takes what the client's builders make, and hides it across a restart", async () => {
    const proxy = proxyConfig({
      rules: [
        awsAuth({ roleArn: "arn:aws:iam::1:role/r", envVars: { FROM_RULE: "1", SAME: "rule" } }),
        { name: "off", enabled: false, env_vars: { NOT: "set" } },
        { name: "h", match_hosts: ["example.com"], match_paths: ["/a"], headers: [{ name: "X", type: "opaque", value: "hidden-value" }] },
      ],
      accessControl: { deny_list: ["example.org"] },
    });
    const mounts = mountConfig({
      auth: [gcpAuth({ serviceAccountJson: opaqueSecret("hidden-json") })],
      mounts: [
        s3Mount({ id: "s", mountPath: "/mnt/s3", bucket: "logs", prefix: "p", cache: { max_size_bytes: 10, writeback_seconds: 5 } }),
        gcsMount({ id: "g", mountPath: "/data", bucket: "bucket", readOnly: true }),
        gitMount({ id: "r", mountPath: "/repo", remoteUrl: "https://example.com/a/b.git", ref: { type: "tag", name: "v1" }, refreshIntervalSeconds: 60 }),
        contextHubMount({ id: "c", mountPath: "/ctx", repo: "-/agent", initialPullOnly: true }),
      ],
      proxyConfig: proxy,
    });
    const box = await client.createSandbox({ name: "m", mountConfig: mounts, proxyConfig: proxy, runConfig: { env_vars: { SAME: "box" } } });
    assert.equal((await box.run("ls -d /mnt/s3 /data /repo /ctx; echo $FROM_RULE $SAME $NOT")).stdout, "/ctx\n/data\n/mnt/s3\n/repo\n1 box\n");
    for (const restart of [false, true]) {
      if (restart) {
        await server.stop();
        server = await startServer("--state", dir);
        client = server.client();
      }
      const shown = await request(`${server.base}/boxes/m`);
      assert.ok(!shown.text.includes("hidden-"), shown.text);
      assert.deepEqual(shown.json.mount_config.mounts, mounts.mounts);
      assert.deepEqual(shown.json.mount_config.auth.gcp.service_account_json, { type: "opaque", is_set: true });
      assert.deepEqual(shown.json.proxy_config.rules[0], proxy.rules[0]);
      assert.deepEqual(shown.json.proxy_config.rules[2].headers, [{ name: "X", type: "opaque", is_set: true }]);
      assert.deepEqual(shown.json.proxy_config.access_control, { deny_list: ["example.org"] });
    }
    await client.updateSandbox("m", { proxyConfig: { rules: [] } });
    const replaced = await request(`${server.base}/boxes/m`);
    assert.deepEqual(replaced.json.proxy_config, { rules: [] }, "an update replaces all rules");
    await client.deleteSandbox("m");
  });

  it("accepts the allowed combinations", async () => {
    const rule = { name: "aws", type: "aws", enabled: true, aws };
    for (const body of [
      { mount_config: { mounts: [git, hub] } },
      { mount_config: { auth: {}, mounts: [git] } },
      { mount_config: { auth: { aws }, mounts: [s3] } },
      { mount_config: { auth: { aws: { role_arn: "arn" } }, mounts: [s3] } },
      { mount_config: { mounts: [s3] }, proxy_config: { rules: [rule] } },
      { mount_config: { auth: { gcp }, mounts: [gcs, s3] }, proxy_config: { rules: [rule] } },
      { mount_config: { auth: { gcp: { service_account_json: { type: "workspace_secret", value: "{KEY}" } } }, mounts: [gcs] } },
      { proxy_config: { rules: [{ name: "g", type: "gcp", gcp: { ...gcp, scopes: ["s"] } }], no_proxy: ["a"] } },
      { proxy_config: { rules: [{ name: "h", headers: [{ name: "A", type: "workspace_secret", value: "Bearer {KEY}" }, { name: "B", type: "opaque", is_set: true }] }] } },
      { proxy_config: { callbacks: [{ match_hosts: ["a"], url: "https://b", ttl_seconds: 0, full_request: true, request_headers: [{ name: "A", type: "plaintext", value: "v" }] }] } },
    ]) {
      const answer = await create({ ...body, wait_for_ready: false });
      assert.equal(answer.status, 201, answer.text);
      await client.deleteSandbox(answer.json.name);
    }
  });

  it("refuses all others, and names the way to the member", async () => {
    const m = (mount, auth) => ({ mount_config: { ...(auth && { auth }), mounts: [mount] } });
    const p = (config) => ({ proxy_config: config });
    const repo = (url) => m({ ...git, git: { remote_url: url } });
    const secret = (s) => m(gcs, { gcp: { service_account_json: s } });
    const cases = [
      [{ mount_config: [] }, "mount_config"],
      [{ mount_config: { mounts: [] } }, "mount_config.mounts"],
      [m({ ...git, id: " " }), "mount_config.mounts.0.id"],
      [m({ ...git, type: "nfs" }), "mount_config.mounts.0.type"],
      [m({ ...git, git: undefined }), "mount_config.mounts.0.git"],
      [m({ ...git, mount_path: "repo" }), "mount_config.mounts.0.mount_path"],
      [m({ ...git, mount_path: "/etc/x" }), "mount_config.mounts.0.mount_path"],
      [m({ ...git, mount_path: "/a/.." }), "mount_config.mounts.0.mount_path"],
      [m({ ...git, read_only: 1 }), "mount_config.mounts.0.read_only"],
      [m({ ...git, cache: { max_size_bytes: -1 } }), "mount_config.mounts.0.cache.max_size_bytes"],
      [repo("http://example.com/a"), "mount_config.mounts.0.git.remote_url"],
      [repo("https://u:p@example.com/a"), "mount_config.mounts.0.git.remote_url"],
      [repo("https://example.com"), "mount_config.mounts.0.git.remote_url"],
      [repo("https://example.com/"), "mount_config.mounts.0.git.remote_url"],
      [repo("https://example.com/a?b"), "mount_config.mounts.0.git.remote_url"],
      [repo("https://example.com/a#b"), "mount_config.mounts.0.git.remote_url"],
      [repo("https://example.com/a b"), "mount_config.mounts.0.git.remote_url"],
      [m({ ...git, git: { ...git.git, ref: { type: "commit", name: "x" } } }), "mount_config.mounts.0.git.ref.type"],
      [m({ ...git, git: { ...git.git, refresh_interval_seconds: 0 } }), "mount_config.mounts.0.git.refresh_interval_seconds"],
      [m({ ...hub, contexthub: {} }), "mount_config.mounts.0.contexthub.repo"],
      [m({ ...s3, s3: { region: "r" } }, { aws }), "mount_config.mounts.0.s3.bucket"],
      [m({ ...s3, s3: { ...s3.s3, access_key_id: "k" } }, { aws }), "mount_config.mounts.0.s3.access_key_id"],
      [m(s3), "mount_config.auth.aws"],
      [m(gcs), "mount_config.auth.gcp"],
      [m(git, { aws }), "mount_config.auth.aws"],
      [m(git, { gcp }), "mount_config.auth.gcp"],
      [m(s3, { aws: { ...aws, role_arn: "a" } }), "mount_config.auth.aws.role_arn"],
      [m(s3, { aws: { access_key_id: key("i") } }), "mount_config.auth.aws.secret_access_key"],
      [secret({ type: "plaintext", value: "v" }), "mount_config.auth.gcp.service_account_json.type"],
      [secret({ type: "opaque", value: "" }), "mount_config.auth.gcp.service_account_json.value"],
      [secret({ type: "opaque" }), "mount_config.auth.gcp.service_account_json.value"],
      [secret({ type: "workspace_secret", value: "KEY" }), "mount_config.auth.gcp.service_account_json.value"],
      [secret({ type: "workspace_secret", value: "{KEY" }), "mount_config.auth.gcp.service_account_json.value"],
      [{ ...m(s3, { aws }), ...p({ rules: [{ name: "a", type: "aws", enabled: false, aws }] }) }, "mount_config.auth.aws"],
      [{ ...m(s3), ...p({ rules: [{ name: "a", type: "aws", enabled: false, aws }] }) }, "mount_config.auth.aws"],
      [p({ rules: {} }), "proxy_config.rules"],
      [p({ rules: [{}] }), "proxy_config.rules.0.name"],
      [p({ rules: [{ name: "a", type: "aws" }] }), "proxy_config.rules.0.aws"],
      [p({ rules: [{ name: "a", type: "aws", aws, match_hosts: ["x"] }] }), "proxy_config.rules.0.match_hosts"],
      [p({ rules: [{ name: "g", type: "gcp", gcp }] }), "proxy_config.rules.0.gcp.scopes"],
      [p({ rules: [{ name: "g", type: "gcp", gcp: { ...gcp, scopes: [] } }] }), "proxy_config.rules.0.gcp.scopes"],
      [p({ rules: [{ name: "h", headers: [{ name: "A", type: "secret", value: "v" }] }] }), "proxy_config.rules.0.headers.0.type"],
      [p({ rules: [{ name: "h", headers: [{ type: "opaque", value: "v" }] }] }), "proxy_config.rules.0.headers.0.name"],
      [p({ rules: [{ name: "h", match_hosts: "x" }] }), "proxy_config.rules.0.match_hosts"],
      [p({ no_proxy: [1] }), "proxy_config.no_proxy"],
      [p({ access_control: { allow_list: ["a"], deny_list: ["b"] } }), "proxy_config.access_control.deny_list"],
      [p({ callbacks: [{ match_hosts: [], url: "u", ttl_seconds: 1 }] }), "proxy_config.callbacks.0.match_hosts"],
      [p({ callbacks: [{ match_hosts: ["a"], url: "u" }] }), "proxy_config.callbacks.0.ttl_seconds"],
    ];
    for (const [body, where] of cases) {
      const answer = await create(body);
      assert.equal(answer.status, 422, JSON.stringify(body));
      assert.equal(answer.json.detail[0].loc.join("."), `body.${where}`, answer.text);
    }
    assert.deepEqual(await client.listSandboxes(), []);
    await assert.rejects(client.createSandbox({ proxyConfig: { rules: [{ name: "g", type: "gcp", gcp }] } }), (e) => {
      assert.ok(e instanceof LangSmithValidationError);
      assert.equal(e.field, "scopes");
      return true;
    });
  });
});

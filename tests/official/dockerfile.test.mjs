// Snapshots from a Dockerfile: the official client drives the stand-in BuildKit
// and Docker of examples/sandboxd/tools.
import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { LangSmithResourceCreationError } from "langsmith/sandbox";
import { request, startServer, until } from "./helper.mjs";

const GIB = 1024 ** 3;

describe("snapshots from a Dockerfile", () => {
  let server, client, context;

  before(async () => {
    assert.ok(process.env.SANDBOXD_TOOLS, "SANDBOXD_TOOLS must name the directory of the stand-ins");
    server = await startServer("--tools", process.env.SANDBOXD_TOOLS);
    client = server.client();
    context = await mkdtemp("/tmp/sandboxd-context-");
    await mkdir(`${context}/app/sub`, { recursive: true });
    await mkdir(`${context}/.git`);
    await writeFile(`${context}/.git/secret`, "x");
    await writeFile(`${context}/app/run.sh`, "#!/bin/sh\necho built\n");
    await chmod(`${context}/app/run.sh`, 0o755);
    await writeFile(`${context}/app/sub/data`, "data\n");
    await symlink("sub/data", `${context}/app/link`);
    await writeFile(`${context}/one file`, "");
  });
  after(async () => {
    assert.deepEqual(await client.listSandboxes(), [], "every builder is deleted");
    await server.stop();
    await rm(context, { recursive: true, force: true });
  });

  const build = async (text, options = {}) => {
    await writeFile(`${context}/Dockerfile`, text);
    const log = [];
    const collect = (part) => log.push(part);
    try {
      return { log, snapshot: await client.createSnapshotFromDockerfile("built", "Dockerfile", GIB, { context, onBuildLog: collect, ...options }) };
    } catch (error) {
      error.log = log.join("");
      throw error;
    }
  };

  it("builds, logs, captures, and boots what was built", async () => {
    const { snapshot, log } = await build(
      `# a comment
FROM scratch AS files
COPY app /opt/app
ARG WHO=nobody
ENV GREETING="hello there" \\
    OTHER=2
WORKDIR /srv
RUN echo "$GREETING $WHO $OTHER" > greeting && \\
    ls
COPY app/s* app/run.sh extra/
FROM debian:12
COPY --from=files /opt/app/ /opt/app/
COPY --from=files /srv /srv
CMD ["/opt/app/run.sh"]
`,
      { buildArgs: { WHO: "world" } },
    );
    assert.equal(snapshot.status, "ready");
    assert.match(snapshot.docker_image, /^langsmith-snapshot-build:[0-9a-f]{32}$/);
    assert.equal(snapshot.fs_capacity_bytes, GIB);
    assert.match(log.join(""), /COPY app \/opt\/app/);
    assert.match(log.join(""), /Loaded image: langsmith-snapshot-build:/);
    const box = await client.createSandbox(snapshot.id);
    const seen = await box.run("/opt/app/run.sh; cat /opt/app/link /srv/greeting; ls /srv/extra; ls -A / /var/lib | grep -c -e context -e docker");
    assert.equal(seen.stdout, "built\ndata\nhello there world 2\ndata\nrun.sh\n0\n", seen.stderr);
    await box.delete();
    await client.deleteSnapshot(snapshot.id);
  });

  it("builds one target, and another Dockerfile", async () => {
    const stages = "FROM scratch AS first\nCOPY app/run.sh /first\nFROM scratch AS second\nCOPY app/run.sh /second\n";
    const { snapshot } = await build(stages, { target: "first" });
    const box = await client.createSandbox(snapshot.id);
    assert.equal((await box.run("ls -d /first /second 2>/dev/null")).stdout, "/first\n");
    await box.delete();
    await client.deleteSnapshot(snapshot.id);
    await assert.rejects(build(stages, { target: "third" }), (e) => /target stage "third" could not be found/.test(e.log));
  });

  it("fails with the reason in its log", async () => {
    for (const [text, why] of [
      ["FROM scratch\nCOPY missing /x\n", /"\/missing": not found/],
      ["FROM scratch\nRUN exit 3\n", /exit code: 3/],
      ["FROM scratch\nFETCH x\n", /unknown instruction: FETCH/],
      ["COPY app /\n", /first instruction must be FROM/],
      ["FROM scratch\nCOPY .git/secret /x\n", /not found/],
    ])
      await assert.rejects(build(text), (e) => {
        assert.ok(e instanceof LangSmithResourceCreationError, e.stack);
        assert.match(e.log, why);
        return true;
      });
  });

  it("captures an image that was loaded by hand, and leaves nothing of it behind", async () => {
    const box = await client.createSandbox({ name: "loader" });
    const loaded = await box.run(`mkdir -p r/opt; echo layer > r/opt/f; tar -C r -cf layer.tar .
      echo '[{"RepoTags":["a/b:1"],"Layers":["layer.tar"]}]' > manifest.json; tar -cf - manifest.json layer.tar | docker load`);
    assert.equal(loaded.stdout, "Loaded image: a/b:1\n", loaded.stderr);
    await box.stop();
    const snapshot = await box.captureSnapshot("by-hand", { dockerImage: "a/b:1" });
    const copy = await client.createSandbox(snapshot.id);
    assert.equal((await copy.run("cat /opt/f; ls -A")).stdout, "layer\n");
    await until(async () => (await box.run("ls -A .sandboxd-export /var/lib/docker-standin/containers")).stdout.trim() === ".sandboxd-export:\n\n/var/lib/docker-standin/containers:");
    for (const b of [box, copy]) await b.delete();
  });

  it("names what Docker says when the image is not there", async () => {
    const box = await client.createSandbox({ name: "no-image" });
    await assert.rejects(box.captureSnapshot("x", { dockerImage: "not'there:1" }), (e) => {
      assert.ok(e instanceof LangSmithResourceCreationError);
      assert.match(e.message, /'not'there:1' cannot be exported from the sandbox: its docker failed: .*No such image: not'there:1/);
      return true;
    });
    const made = await request(`${server.base}/boxes/no-image/snapshot`, { method: "POST", json: { name: "y", docker_image: "z" } });
    await box.delete();
    await assert.rejects(client.waitForSnapshot(made.json.id, { pollInterval: 0.05 }), LangSmithResourceCreationError);
  });
});

describe("an export that takes long", () => {
  let dir, server, client;
  const start = async () => {
    server = await startServer("--state", dir);
    client = server.client();
  };
  // A docker of the sandbox's own that never comes to an end.
  const slow = async (name) => {
    const box = await client.createSandbox({ name, runConfig: { env_vars: { PATH: "/root/bin:/usr/bin:/bin" } } });
    await box.run("mkdir bin; printf '#!/bin/sh\\ntouch /root/$1; [ $1 = create ] && exec echo c; sleep 600' > bin/docker; chmod +x bin/docker");
    const made = await request(`${server.base}/boxes/${name}/snapshot`, { method: "POST", json: { name, docker_image: "i" } });
    assert.equal(made.status, 201);
    await until(async () => (await box.run("test -e /root/export; echo $?")).stdout === "0\n");
    return { box, id: made.json.id };
  };

  before(async () => {
    dir = await mkdtemp("/tmp/sandboxd-test-");
    await start();
  });
  after(async () => {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it("ends with its snapshot, and the commands with it", async () => {
    const { box, id } = await slow("one");
    await client.deleteSnapshot(id);
    await until(async () => (await box.run("pgrep -x sleep | wc -l")).stdout === "0\n");
    await box.delete();
  });

  it("fails with its sandbox", async () => {
    for (const end of ["delete", "stop"]) {
      const { box, id } = await slow("two");
      await box[end]();
      await assert.rejects(client.waitForSnapshot(id, { pollInterval: 0.05 }), /the sandbox was stopped/);
      for (const left of await client.listSandboxes()) await left.delete();
    }
  });

  it("fails with the server", async () => {
    const { id } = await slow("three");
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
    await start();
    await assert.rejects(client.waitForSnapshot(id, { pollInterval: 0.05 }), LangSmithResourceCreationError);
    const again = await slow("four");
    await server.stop("SIGKILL");
    await start();
    await assert.rejects(client.waitForSnapshot(again.id, { pollInterval: 0.05 }), /the server ended/);
    const ready = await client.waitForSandbox("four", { pollInterval: 0.05 });
    assert.equal((await ready.run("echo still here")).stdout, "still here\n");
  });
});

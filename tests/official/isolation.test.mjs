// What a sandbox must not reach, and what must not remain.
import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { LangSmithResourceNotFoundError } from "langsmith/sandbox";
import { request, startServer, until } from "./helper.mjs";

// Every process below pid, by parent links.
function descendants(pid) {
  const parents = new Map();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(")") + 4).split(" ")[0]));
    } catch {
      // ended meanwhile
    }
  }
  const found = new Set([pid]);
  for (let size = 0; size !== found.size; ) {
    size = found.size;
    for (const [child, parent] of parents) if (found.has(parent)) found.add(child);
  }
  found.delete(pid);
  return [...found];
}
const alive = (pids) => pids.filter((p) => existsSync(`/proc/${p}`));

describe("a root that names libraries to preload", () => {
  it("gets none into its agent", async (t) => {
    const dir = mkdtempSync("/tmp/sandboxd-image-");
    t.after(() => rmSync(dir, { recursive: true, force: true }));
    for (const d of ["etc", "opt"]) mkdirSync(`${dir}/${d}`);
    writeFileSync(
      `${dir}/opt/p.c`,
      `#include <stdio.h>
       #include <unistd.h>
       __attribute__((constructor)) static void f(void) { FILE *o = fopen("/root/loaded", "a"); if (o) fprintf(o, "%d\\n", (int)getpid()), fclose(o); }`,
    );
    assert.equal(spawnSync("cc", ["-shared", "-fPIC", "-o", `${dir}/opt/p.so`, `${dir}/opt/p.c`]).status, 0);
    writeFileSync(`${dir}/etc/ld.so.preload`, "/opt/p.so\n");
    const server = await startServer("--image", `i=${dir}`);
    const client = server.client();
    const snapshot = await client.createSnapshot("s", "i", 1e9);
    const box = await client.createSandbox(snapshot.id);
    assert.equal((await box.run("cat /etc/ld.so.preload; cat /root/loaded 2>/dev/null; LD_PRELOAD=/opt/p.so /bin/true; wc -l < /root/loaded")).stdout, "1\n");
    assert.notEqual((await box.run("echo /opt/p.so > /etc/ld.so.preload")).exit_code, 0);
    await server.stop();
  });
});

describe("isolation", () => {
  let server, box, other, dir;
  const secret = "host-secret-41c7";

  before(async () => {
    dir = mkdtempSync("/var/tmp/sandboxd-host-");
    writeFileSync(`${dir}/secret`, secret);
    server = await startServer();
    box = await server.client().createSandbox({ name: "one" });
    other = await server.client().createSandbox({ name: "two" });
  });
  after(async () => {
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it("shows no host environment", async () => {
    const { stdout } = await box.run("env | sort", { env: { MINE: "1" } });
    assert.ok(!stdout.includes("must-not-be-seen-inside"));
    assert.deepEqual(
      stdout.split("\n").filter(Boolean).map((l) => l.split("=")[0]),
      ["HOME", "HOSTNAME", "LANG", "LOGNAME", "MINE", "PATH", "PWD", "SANDBOX_COMMAND_ID", "SHELL", "SHLVL", "USER", "_"],
    );
    const all = await box.run("cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'");
    assert.ok(!all.stdout.includes("must-not-be-seen-inside"));
  });

  it("leads no path and no symlink to host files", async () => {
    const host = readFileSync("/etc/passwd", "utf8");
    await box.run(
      `ln -s /etc/shadow l1; ln -s ../../../../../../etc/shadow l2; ln -s ${dir} l3; ln -s ${dir}/secret l4; ` +
        "ln -s /proc/1/root l5; ln -s /proc/1/cwd l6; ln -s /proc/self/root l7",
    );
    for (const path of [
      "/etc/shadow",
      "../../../../../../../etc/shadow",
      "l1",
      "l2",
      "l3/secret",
      "l4",
      "l5/etc/shadow",
      `l5${dir}/secret`,
      "l6/etc/shadow",
      `l7${dir}/secret`,
      `${dir}/secret`,
      `/../../${dir}/secret`,
    ]) {
      const answer = await request(`${box.dataplane_url}/download?path=${encodeURIComponent(path)}`);
      assert.ok([403, 404].includes(answer.status), `${path}: ${answer.status}`);
      assert.ok(!answer.text.includes(secret), path);
    }
    assert.notEqual(new TextDecoder().decode(await box.read("/etc/passwd")), host, "it has its own");
    await assert.rejects(box.read("l4"), LangSmithResourceNotFoundError);
    assert.deepEqual((await box.grep(secret, "/var")).matches, []);
    assert.deepEqual((await box.glob("**/secret", "/")).matches, []);
    assert.equal((await box.run(`cat ${dir}/secret l4 l3/secret 2>/dev/null`)).stdout, "");
  });

  it("writes nothing outside", async () => {
    for (const path of [`${dir}/secret`, `../..${dir}/secret`, `${dir}/new`]) {
      await box.write(path, "inside only");
      assert.equal(new TextDecoder().decode(await box.read(path)), "inside only");
    }
    await box.run(`ln -s ${dir}/planted planted; ln -s ${dir} outside`);
    await box.write("outside/through", "inside only");
    assert.deepEqual(readdirSync(dir), ["secret"]);
    assert.equal(readFileSync(`${dir}/secret`, "utf8"), secret);
  });

  it("keeps sandboxes apart: files, /tmp, processes, network", async () => {
    await box.write("/tmp/shared", "one");
    await box.write("/root/shared", "one");
    assert.equal((await other.run("cat /tmp/shared /root/shared 2>/dev/null; ls -A /tmp | wc -l")).stdout, "0\n");
    const sleeper = await box.run("sleep 300", { wait: false, killOnDisconnect: true });
    assert.equal((await other.run("pgrep -c sleep")).stdout, "0\n");
    sleeper.kill();
    await sleeper.result;
    const port = new URL(server.url).port;
    const { stdout } = await box.run(`(exec 3<>/dev/tcp/127.0.0.1/${port}) 2>/dev/null && echo reached || echo refused`);
    assert.equal(stdout, "refused\n");
  });

  it("gives no privileges", async () => {
    const { stdout } = await box.run("grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs)' /proc/self/status | tr -s '\\t' ' '");
    assert.equal(
      stdout,
      "CapPrm: 0000000000000000\nCapEff: 0000000000000000\nCapBnd: 0000000000000000\nNoNewPrivs: 1\n",
    );
    const probes = await box.run(
      "test -w /proc/sys/kernel/core_pattern && echo sysctl; touch /usr/x 2>/dev/null && echo usr; " +
        "mount -t tmpfs t /mnt 2>/dev/null && echo mount; mknod /tmp/m b 8 0 2>/dev/null && echo mknod; " +
        "readlink /proc/1/fd/*; cat /proc/1/fd/* /proc/1/environ /proc/1/maps 2>/dev/null; readlink /proc/1/exe; kill -9 1; echo done",
    );
    assert.equal(probes.stdout, "done\n");
    assert.equal((await box.run("echo alive")).stdout, "alive\n", "the agent survives its commands");
  });

  it("gives commands three descriptors and no more", async () => {
    const { stdout } = await box.run("for f in /proc/self/fd/*; do readlink $f | sed 's/:.*//'; done");
    assert.equal(stdout, "pipe\npipe\npipe\n");
    assert.equal((await box.run("echo out > /dev/stdout; echo err > /dev/stderr")).stderr, "err\n");
  });

  it("is not led astray by what a sandbox leaves at mount points", async () => {
    await box.run(
      `rm -rf /etc /opt; ln -s ${dir} /etc; ln -s ${dir} /opt; rmdir /tmp 2>/dev/null; mkdir -p /root/x; chmod 000 /root/x`,
    );
    await box.stop();
    await box.start({ timeout: 10 });
    assert.equal((await box.run("ls -ld /etc | cut -c1; echo fine")).stdout, "d\nfine\n");
    assert.deepEqual(readdirSync(dir), ["secret"]);
  });
});

describe("what remains", () => {
  const busy = async (...args) => {
    const server = await startServer(...args);
    const boxes = [];
    for (let i = 0; i < 2; i++) boxes.push(await server.client().createSandbox());
    const handles = [];
    for (const box of boxes) {
      const handle = await box.run("sleep 600 & setsid nohup sleep 600 >/dev/null 2>&1 & echo up; sleep 600", {
        wait: false,
      });
      for await (const chunk of handle) {
        assert.equal(chunk.data, "up\n");
        break;
      }
      handles.push(handle);
    }
    const children = await until(() => {
      const found = descendants(server.child.pid);
      return found.length >= 8 && found;
    });
    return { server, boxes, children };
  };

  it("nothing after SIGTERM: no process, no mount, no temporary directory", async () => {
    const mounts = readFileSync("/proc/self/mountinfo", "utf8");
    const tmp = mkdtempSync("/tmp/sandboxd-tmpdir-");
    const { server, children } = await busy({ TMPDIR: tmp });
    assert.equal(readdirSync(tmp).length, 1);
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
    assert.deepEqual(alive(children), []);
    assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), mounts);
    assert.deepEqual(readdirSync(tmp), []);
    rmSync(tmp, { recursive: true });
  });

  it("no process after SIGKILL", async () => {
    const dir = mkdtempSync("/tmp/sandboxd-killed-");
    const { server, children } = await busy("--state", dir);
    await server.stop("SIGKILL");
    await until(() => alive(children).length === 0);
    rmSync(dir, { recursive: true, force: true });
  });

  it("no process after stop and delete", async () => {
    const { server, boxes, children } = await busy();
    await boxes[0].stop();
    await boxes[1].delete();
    await until(() => alive(children).length === 0);
    await until(() => descendants(server.child.pid).length === 0);
    await server.stop();
  });

  it("no process after SIGTERM without isolation either", async () => {
    const { server, boxes, children } = await busy("--no-isolation");
    await boxes[0].write("relative", "x");
    assert.equal((await boxes[0].run("cat relative; basename $PWD")).stdout, "xroot\n");
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
    await until(() => alive(children).length === 0);
  });

  it("refuses to start without bubblewrap", () => {
    const run = spawnSync(process.env.SANDBOXD, ["--listen", "127.0.0.1:0"], {
      env: { PATH: "/nonexistent" },
      encoding: "utf8",
      timeout: 10000,
    });
    assert.equal(run.status, 1);
    assert.equal(run.stdout, "");
    assert.match(run.stderr, /bubblewrap/);
    assert.match(run.stderr, /--no-isolation/);
  });
});

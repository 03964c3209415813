// A client's SSH agent lent to a command: channels of the command's stream.
import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { Stream, execute, startServer, until } from "./helper.mjs";

// Programs inside: what an ssh client does with its agent.
const PYTHON = (lines) => `python3 -c '
import os, socket, sys
def agent():
    s = socket.socket(socket.AF_UNIX)
    s.connect(os.environ["SSH_AUTH_SOCK"])
    return s
${lines}
'`;

describe("ssh_agent_forward", () => {
  let server, client, box, dp;

  before(async () => {
    server = await startServer();
    client = server.client();
    box = await client.createSandbox();
    dp = box.dataplane_url;
  });
  after(async () => {
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
  });

  // Plays the agent: answers with what `reply` makes of the bytes.
  const serve = (command, reply, more = {}) => {
    const s = new Stream(dp, execute(command, { ssh_agent_forward: true, ...more }));
    s.channels = new Map();
    s.ws.on("message", (data) => {
      const m = JSON.parse(data.toString());
      if (m.type !== "ssh_agent_data") return;
      const bytes = Buffer.from(m.data, "base64");
      s.channels.set(m.channel_id, Buffer.concat([s.channels.get(m.channel_id) ?? Buffer.alloc(0), bytes]));
      reply?.(s, m.channel_id, bytes);
    });
    return s;
  };
  const send = (s, channel_id, bytes) =>
    s.send({ type: "ssh_agent_data", channel_id, data: Buffer.from(bytes).toString("base64") });

  it("passes bytes both ways, on several channels at once", async () => {
    const s = serve(
      PYTHON(`
both = [agent(), agent()]
for i, a in enumerate(both): a.sendall(bytes([0, 255, i]) * 50000)
for i, a in enumerate(both):
    got = b""
    while len(got) < 150000: got += a.recv(65536)
    print(i, got == bytes([255, 0, 255 - i]) * 50000)
`),
      (s, id, bytes) => send(s, id, bytes.map((b) => 255 - b)),
    );
    assert.equal(await s.closed, 1000);
    assert.equal(s.text(), "0 True\n1 True\n");
    assert.equal(s.channels.size, 2);
    assert.equal(s.of("exit")[0].exit_code, 0);
  });

  it("says when the program ends a channel, and ends it when the client does", async () => {
    const s = serve(
      PYTHON(`
a = agent(); a.sendall(b"x"); a.recv(1); a.close()
b = agent(); b.sendall(b"y"); print(b.recv(100), b.recv(100), flush=True)
sys.stdin.read()
`),
      (s, id, bytes) => {
        send(s, id, bytes);
        if (bytes.toString() === "y") s.send({ type: "ssh_agent_close", channel_id: id });
      },
      { close_stdin: false },
    );
    const closed = await s.wait((m) => m.type === "ssh_agent_close");
    assert.equal(s.channels.get(closed.channel_id).toString(), "x");
    await s.wait((m) => m.type === "stdout");
    assert.equal(s.text(), "b'y' b''\n");
    s.send({ type: "ssh_agent_data", channel_id: "nobody's", data: "eA==" });
    s.send({ type: "ssh_agent_close", channel_id: 5 });
    s.send({ type: "ssh_agent_data", channel_id: closed.channel_id });
    s.send({ type: "close_stdin" });
    assert.equal(await s.closed, 1000);
  });

  it("works under a terminal, for the command's own user only, and leaves nothing", async () => {
    const s = serve("stat -c %a $SSH_AUTH_SOCK; echo $SSH_AUTH_SOCK > /root/where", null, { pty: true, close_stdin: undefined });
    await s.closed;
    assert.equal(s.text(), "700\r\n");
    await until(async () => (await box.run("ls $(cat /root/where)")).exit_code !== 0);
    assert.equal((await box.run("echo [$SSH_AUTH_SOCK]")).stdout, "[]\n", "only where it is asked for");
  });

  it("ends the channels of a client that left; the next one serves new ones", async () => {
    const command = PYTHON(`
a = agent(); a.sendall(b"1"); print("lost", a.recv(1), flush=True)
b = agent(); b.sendall(b"2"); print("served", b.recv(1))
`);
    const first = serve(command, (s) => s.ws.terminate(), { command_id: "moved" });
    await first.closed;
    const second = serve(command, (s, id) => send(s, id, "!"), { command_id: "moved" });
    assert.equal(await second.closed, 1000);
    assert.equal(second.text(), "lost b''\nserved b'!'\n");
  });
});

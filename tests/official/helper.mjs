// Starts a sandboxd for a test file and speaks raw HTTP and WebSocket where the
// official client shows too little.
import { spawn } from "node:child_process";
import { once } from "node:events";
import readline from "node:readline";
import WebSocket from "ws";
import { SandboxClient } from "langsmith/sandbox";

export const KEY = "test-key-6f1c";

// A test that fails before it stops its server must not keep this process alive.
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

export async function startServer(...args) {
  const env = typeof args.at(-1) === "object" ? args.pop() : {};
  const program = process.env.SANDBOXD;
  if (!program) throw new Error("SANDBOXD must name the sandboxd program");
  // Over https where a certificate is named; NODE_EXTRA_CA_CERTS then names its CA.
  const { SANDBOXD_CERT: cert, SANDBOXD_KEY: certKey } = process.env;
  const tls = cert ? ["--tls-cert", cert, "--tls-key", certKey] : [];
  const child = spawn(program, ["--listen", "127.0.0.1:0", "--api-key", KEY, ...tls, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, HOST_SECRET: "must-not-be-seen-inside", ...env },
  });
  running.add(child);
  child.on("exit", () => running.delete(child));
  const lines = readline.createInterface({ input: child.stdout });
  const exited = once(child, "exit");
  const first = await Promise.race([
    once(lines, "line").then(([line]) => line),
    exited.then(([code]) => {
      throw new Error(`sandboxd ended with ${code} before it was ready`);
    }),
  ]);
  const match = /^sandboxd listening on (https?:\/\/127\.0\.0\.1:\d+)$/.exec(first);
  if (!match) throw new Error(`unexpected first line: ${first}`);
  const url = match[1];
  if (url.startsWith("https:") !== Boolean(cert)) throw new Error(`not as asked for: ${url}`);
  child.unref();
  child.stdout.unref();
  return {
    url,
    child,
    base: `${url}/v2/sandboxes`,
    client: (config = {}) => new SandboxClient({ apiEndpoint: `${url}/v2/sandboxes`, apiKey: KEY, ...config }),
    async stop(signal = "SIGTERM") {
      child.ref();
      child.kill(signal);
      const [code, by] = await exited;
      return { code, signal: by };
    },
  };
}

export const wsUrl = (url) => url.replace(/^http/, "ws");

export async function request(url, { method = "GET", json, headers = {}, body, key = KEY } = {}) {
  const all = { ...headers };
  if (key) all["X-Api-Key"] = key;
  if (json !== undefined) all["Content-Type"] = "application/json";
  const response = await fetch(url, {
    method,
    headers: all,
    body: json !== undefined ? JSON.stringify(json) : body,
  });
  const text = await response.text();
  let parsed;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = undefined;
  }
  return { status: response.status, headers: response.headers, text, json: parsed };
}

// A raw command stream: collects every message until the server closes.
export class Stream {
  constructor(dataplane, first, { key = KEY } = {}) {
    this.messages = [];
    this.waiters = [];
    this.ws = new WebSocket(`${wsUrl(dataplane)}/execute/ws`, { headers: { "X-Api-Key": key } });
    this.ws.on("open", () => this.send(first));
    this.ws.on("message", (data) => {
      this.messages.push(JSON.parse(data.toString()));
      this.check();
    });
    this.closed = new Promise((resolve) => {
      this.ws.on("close", (code) => {
        this.code = code;
        resolve(code);
        this.check();
      });
      this.ws.on("error", () => {});
    });
  }
  send(message) {
    this.ws.send(typeof message === "string" ? message : JSON.stringify(message));
  }
  check() {
    this.waiters = this.waiters.filter((w) => !w());
  }
  // Resolves with the first message that fits, now or later.
  wait(fits, ms = 10000) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no such message in ${JSON.stringify(this.messages)}`)), ms);
      const look = () => {
        const found = this.messages.find(fits);
        if (!found && this.code === undefined) return false;
        clearTimeout(timer);
        if (found) resolve(found);
        else reject(new Error(`closed (${this.code}) after ${JSON.stringify(this.messages)}`));
        return true;
      };
      if (!look()) this.waiters.push(look);
    });
  }
  text(stream = "stdout") {
    return this.messages
      .filter((m) => m.type === stream)
      .map((m) => m.data)
      .join("");
  }
  of(type) {
    return this.messages.filter((m) => m.type === type);
  }
}

export const execute = (command, more = {}) => ({
  type: "execute",
  command,
  timeout_seconds: 30,
  shell: "/bin/bash",
  idle_timeout_seconds: 300,
  kill_on_disconnect: false,
  ttl_seconds: 600,
  close_stdin: true,
  ...more,
});

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function until(check, ms = 10000) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > end) throw new Error("the expected state was not reached in time");
    await sleep(25);
  }
}

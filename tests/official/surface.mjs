// What of the official client's public surface the tests made run, by V8's
// coverage (NODE_V8_COVERAGE, the folder named as the first argument): every
// exported function, and every public method and getter of an exported class.
// Fails when something never ran. Error classes are only listed: which of them
// can come depends on the server.
import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import * as sandbox from "langsmith/sandbox";

const root = path.dirname(fileURLToPath(import.meta.resolve("langsmith/sandbox")));
const folder = path.join(root, "dist", "sandbox");
const scripts = readdirSync(folder).filter((f) => f.endsWith(".js"));

// script -> names of its functions that ran
const ran = new Map(scripts.map((f) => [f, new Set()]));
for (const file of readdirSync(process.argv[2])) {
  for (const script of JSON.parse(readFileSync(path.join(process.argv[2], file), "utf8")).result) {
    if (!script.url.startsWith("file:") || path.dirname(fileURLToPath(script.url)) !== folder) continue;
    const names = ran.get(path.basename(script.url));
    for (const f of script.functions) if (f.ranges[0].count > 0) names?.add(f.functionName);
  }
}

function holder(pattern) {
  const found = scripts.filter((f) => pattern.test(readFileSync(path.join(folder, f), "utf8")));
  if (found.length !== 1) throw new Error(`${pattern} is in ${found.length} scripts`);
  return ran.get(found[0]);
}

function members(type) {
  const all = Object.getOwnPropertyDescriptors(type.prototype);
  return Object.entries(all)
    .filter(([name, d]) => name !== "constructor" && !name.startsWith("_") && (d.get || typeof d.value === "function"))
    .map(([name, d]) => (d.get ? `get ${name}` : name));
}

// Called by the client's own parts; TypeScript's declarations leave them out.
const INTERNAL = new Set(["getApiKey", "getDefaultHeaders", "requireDataplaneUrl"]);
let missing = 0;

function row(what, done, needed = true) {
  if (!done && needed) missing++;
  console.log(`${done ? "ran    " : needed ? "MISSING" : "-      "} ${what}`);
}

for (const [name, value] of Object.entries(sandbox)) {
  if (typeof value !== "function") continue;
  if (!/^class\b/.test(Function.prototype.toString.call(value))) {
    row(name, holder(new RegExp(`function ${name}\\b`)).has(name));
  } else if (value.prototype instanceof Error) {
    row(name, holder(new RegExp(`class ${name}\\b`)).has(name), false);
  } else {
    const names = holder(new RegExp(`class ${name}\\b`));
    for (const member of members(value)) if (!INTERNAL.has(member)) row(`${name}.${member}`, names.has(member));
  }
}
if (missing) {
  console.log(`${missing} of the official client's calls never ran`);
  process.exit(1);
}

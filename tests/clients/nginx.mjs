// nginx in front of a server, configured as the README says.
//
// What is expected of the two stands in nginx.test.mjs.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { listen, within } from "./server.mjs";

const ATTEMPTS_MAX = 5; // a port that was free may be taken by the time nginx asks for it
const running = new Set();

process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

/** The configuration in the README, as it stands there. */
export async function readmeBlock() {
  const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8");
  const blocks = [...readme.matchAll(/```nginx\n(.*?)```/gs)];
  if (blocks.length !== 1) throw new Error(`the README has ${blocks.length} nginx blocks`);
  return blocks[0][1];
}

/** Starts nginx in front of a server, with the README's configuration or another; it ends with the test. */
export async function front(t, server, block) {
  const folder = await mkdtemp(join(tmpdir(), "fanfare-nginx-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const adapted = adapt(block ?? (await readmeBlock()), port, server.address);
    await writeFile(join(folder, "nginx.conf"), whole(adapted, folder));
    const nginx = new Nginx(folder, `127.0.0.1:${port}`);
    t.after(() => nginx.stop());
    if (await nginx.isUp()) return nginx;
    if (attempt === ATTEMPTS_MAX || !nginx.log.includes("Address already in use")) throw new Error(nginx.log);
  }
}

class Nginx {
  address;
  log = "";
  #child;
  #exited;
  #isUp;

  constructor(folder, address) {
    this.address = address;
    const words = ["-c", join(folder, "nginx.conf"), "-p", folder, "-e", "stderr", "-g", "daemon off;"];
    this.#child = spawn(process.env.NGINX_PATH, words, { stdio: ["ignore", "ignore", "pipe"] });
    running.add(this.#child);
    this.#exited = once(this.#child, "exit").finally(() => running.delete(this.#child));
    this.#isUp = new Promise((resolve) => {
      const lines = createInterface({ input: this.#child.stderr });
      lines.on("line", (line) => {
        this.log += `${line}\n`;
        // It listens before it has workers.
        if (line.includes("start worker process ")) resolve(true);
      });
      lines.on("close", () => resolve(false));
    });
  }

  /** Whether it listens; if not, `log` says why. */
  isUp() {
    return within(this.#isUp, "nginx is up");
  }

  http(path) {
    return `https://${this.address}${path}`;
  }

  ws(path) {
    return `wss://${this.address}${path}`;
  }

  /** What it complains of. That a body went through a file is no complaint. */
  faults() {
    return this.log.split("\n").filter((line) => /\[(error|crit|alert|emerg)\]/.test(line));
  }

  async stop() {
    this.#child.kill("SIGTERM");
    await within(this.#exited, "the end of nginx after SIGTERM");
  }
}

/** The block with the addresses and the certificate of a test. Each is expected once. */
function adapt(block, port, upstream) {
  const replaced = [
    ["listen 443 ", `listen 127.0.0.1:${port} `],
    ["127.0.0.1:8080", upstream],
    ["/etc/ssl/example.com.pem", process.env.CERTIFICATE],
    ["/etc/ssl/example.com.key", process.env.CERTIFICATE_KEY],
  ];
  return replaced.reduce((text, [from, to]) => {
    const parts = text.split(from);
    if (parts.length !== 2) throw new Error(`${from} stands in the nginx block ${parts.length - 1} times`);
    return parts.join(to);
  }, block);
}

/** What Debian's nginx.conf has around it, with all files in the folder. */
function whole(block, folder) {
  const kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  // Workers of a master that is root become nobody else's, or they could not enter the folder.
  return `${process.getuid() === 0 ? "user root;" : ""}
worker_processes 2;
error_log stderr notice;
pid ${folder}/nginx.pid;
events { worker_connections 768; }
http {
access_log off;
${kinds.map((kind) => `${kind}_temp_path ${folder}/${kind};`).join("\n")}
${block}}
`;
}

async function freePort() {
  const listener = createServer();
  await listen(listener, "a free port");
  const { port } = listener.address();
  listener.close();
  await within(once(listener, "close"), "the port is free again");
  return port;
}

// A proxy between a page and a server, that does to their requests and connections what a network may do.
//
// It knows nothing of channels. What is done to a request the test says, in `treat`; connections it cuts by `cut`.

import { createServer, request as httpRequest } from "node:http";

import { listen } from "./server.mjs";

/** What can be done to a request. */
export const FORWARD = "forward"; // hand it on, and the answer back
export const REFUSE = "refuse"; // answer with the status `refusal`
export const CUT = "cut"; // end its connection at once
export const SILENCE = "silence"; // never answer
export const BUFFER = "buffer"; // the answer's head, and never its body
export const SWALLOW = "swallow"; // hand it on, and cut when the server has answered

/** A proxy for `server`, on a free port; it ends with the test. */
export async function proxy(t, server) {
  const made = new Proxy(server);
  made.address = await listen(made.http_, "a proxy");
  t.after(() => {
    made.http_.close();
    made.cut();
  });
  return made;
}

class Proxy {
  server;
  treat = () => FORWARD;
  refusal = 502;
  refusalFields = {}; // what such an answer has in its head
  seen = []; // the requests, as { method, url, headers }
  underway = 0; // requests that are not answered to their end, WebSockets among them
  http_ = createServer();
  #connections = new Set();
  #flows = new Set(); // what comes from the server

  constructor(server) {
    this.server = server;
    this.http_.on("connection", (socket) => this.#keep(socket));
    this.http_.on("request", (request, response) => this.#request(request, response));
    this.http_.on("upgrade", (request, socket) => this.#upgrade(request, socket));
  }

  http(path) {
    return `http://${this.address}${path}`;
  }

  /** Cuts every connection there is, on both sides. */
  cut() {
    for (const socket of this.#connections) socket.destroy();
  }

  /** Reads nothing more of what the server sends, or goes on reading. */
  pause(isPaused) {
    for (const flow of this.#flows) isPaused ? flow.pause() : flow.resume();
  }

  #keep(socket) {
    this.#connections.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#connections.delete(socket));
  }

  /** Counts a request until `socket` or `response` is done. */
  #see({ method, url, headers }, done) {
    this.seen.push({ method, url, headers });
    this.underway++;
    done.once("close", () => this.underway--);
    return this.treat({ method, url, headers });
  }

  #request(request, response) {
    const treatment = this.#see(request, response);
    if (treatment === SILENCE) return;
    if (treatment === CUT) return request.socket.destroy();
    if (treatment === REFUSE) return response.writeHead(this.refusal, this.refusalFields).end();
    const onward = this.#onward(request);
    request.pipe(onward);
    response.on("close", () => onward.destroy());
    onward.on("error", () => request.socket.destroy());
    onward.on("response", (answer) => {
      if (treatment === SWALLOW) return request.socket.destroy();
      response.writeHead(answer.statusCode, answer.headers);
      response.flushHeaders();
      if (treatment === BUFFER) return;
      answer.on("error", () => request.socket.destroy());
      this.#flow(answer, response);
    });
  }

  #upgrade(request, socket) {
    const treatment = this.#see(request, socket);
    socket.on("end", () => socket.destroy());
    if (treatment === SILENCE) return socket.resume();
    if (treatment === REFUSE) return socket.end(`HTTP/1.1 ${this.refusal} Refused\r\nContent-Length: 0\r\n\r\n`);
    if (treatment !== FORWARD) return socket.destroy();
    const onward = this.#onward(request);
    onward.on("error", () => socket.destroy());
    onward.on("response", (answer) => {
      socket.write(head(answer));
      answer.pipe(socket);
    });
    onward.on("upgrade", (answer, other, first) => {
      socket.write(head(answer));
      socket.write(first);
      socket.on("close", () => other.destroy());
      other.on("close", () => socket.destroy());
      this.#flow(other, socket);
      socket.pipe(other);
    });
    onward.end();
  }

  #onward({ method, url, headers }) {
    const [host, port] = this.server.plain.split(":");
    const onward = httpRequest({ host, port, method, path: url, headers, agent: false });
    onward.on("socket", (socket) => this.#keep(socket));
    return onward;
  }

  #flow(from, to) {
    this.#flows.add(from);
    from.on("close", () => this.#flows.delete(from));
    from.pipe(to);
  }
}

function head({ statusCode, statusMessage, rawHeaders }) {
  let text = `HTTP/1.1 ${statusCode} ${statusMessage}\r\n`;
  for (let i = 0; i < rawHeaders.length; i += 2) text += `${rawHeaders[i]}: ${rawHeaders[i + 1]}\r\n`;
  return `${text}\r\n`;
}

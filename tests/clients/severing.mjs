// A TCP proxy that cuts connections where a test says: at once, or when so many more bytes have come from the server.
//
// It knows no protocol, so a cut is as likely inside an event as between two.

import { connect, createServer } from "node:net";

import { Inbox, listen } from "./server.mjs";

/** A proxy for `server` on a free port; it ends with the test. */
export async function severing(t, server) {
  const made = new Severing(server);
  made.address = await listen(made.listener, "a proxy");
  t.after(() => {
    made.listener.close();
    made.cut();
  });
  return made;
}

class Severing {
  /** Where new connections go. */
  server;
  /** Whether new connections are cut before a byte has gone either way. */
  isDown = false;
  listener = createServer((socket) => this.#take(socket));
  #budget = Infinity;
  #heads = new Inbox();
  #sockets = new Set();
  #clients = new Set();

  constructor(server) {
    this.server = server;
  }

  http(path) {
    return `http://${this.address}${path}`;
  }

  /** What the next connection that is let through sends first: the head of a request. */
  head() {
    return this.#heads.next("a connection through the proxy");
  }

  /** Cuts every connection there is. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Sends `last` to every client behind what the server sent, and closes the connection in order. */
  endWith(last) {
    for (const socket of this.#clients) socket.end(last);
  }

  /** Hands on so many bytes more of what the server sends, on all connections together, then cuts. */
  cutAfter(bytes) {
    this.#budget = bytes;
  }

  #take(socket) {
    if (this.isDown) return socket.destroy();
    const [host, port] = this.server.plain.split(":");
    const onward = connect(Number(port), host);
    for (const [one, other] of [[socket, onward], [onward, socket]]) {
      this.#sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => {
        this.#sockets.delete(one);
        this.#clients.delete(one);
        other.destroy();
      });
    }
    this.#clients.add(socket);
    socket.once("data", (data) => this.#heads.push(data.toString()));
    socket.pipe(onward);
    onward.on("data", (data) => {
      const part = data.subarray(0, this.#budget);
      this.#budget -= part.length;
      if (part.length > 0) socket.write(part);
      if (part.length === data.length) return;
      this.#budget = Infinity;
      socket.destroySoon();
    });
    onward.on("end", () => socket.end());
  }
}

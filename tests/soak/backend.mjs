// The backend that the server asks who may do what, and which fails again and again: node backend.mjs
//
// Says its port on standard output. Who may what is said by the cookie: `sid=guest-…` may read `asked-*`, `sid=stranger-…`
// may nothing. It counts nothing: the soak judges by what the clients are told.

import http from "node:http";

/** What it does, one after the other, and for how many milliseconds. It begins well, and is well most of the time. */
const MOODS = [
  ["well", 12_000],
  ["answers 500", 3_000],
  ["well", 5_000],
  ["says nothing", 4_000],
  ["well", 5_000],
  ["cuts", 2_000],
  ["talks nonsense", 2_000],
];

const TTL_S = 3; // so that who is in is asked about again and again

function mood() {
  const round = MOODS.reduce((sum, [, ms]) => sum + ms, 0);
  let at = performance.now() % round;
  for (const [name, ms] of MOODS) {
    if (at < ms) return name;
    at -= ms;
  }
  return "well";
}

function decide(request, body, response) {
  const { channels } = JSON.parse(body);
  const sid = /(?:^|; )sid=([^;]*)/.exec(request.headers.cookie ?? "")?.[1] ?? "";
  const isGuest = sid.startsWith("guest-");
  const allow = channels.filter((channel) => isGuest && channel.startsWith("asked-"));
  const message = `${sid || "Nobody"} is no guest.`;
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify({ allow, sub: sid, ttl: TTL_S, message }));
}

const server = http.createServer((request, response) => {
  let body = "";
  request.setEncoding("utf8").on("data", (data) => (body += data));
  request.on("end", () => {
    switch (mood()) {
      case "answers 500":
        response.writeHead(500).end("out of order");
        break;
      case "says nothing":
        break; // until the server has had enough
      case "cuts":
        request.socket.destroy();
        break;
      case "talks nonsense":
        response.end("[1, 2");
        break;
      default:
        decide(request, body, response);
    }
  });
});
server.on("clientError", (_, socket) => socket.destroy());
server.listen(0, "127.0.0.1", () => console.log(server.address().port));

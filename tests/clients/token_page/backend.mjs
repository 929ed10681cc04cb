import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import jwt from "jsonwebtoken";

createServer(async (request, response) => {
  if (request.url !== "/token") return response.end(await readFile("page.html"));
  const user = "u42"; // whom your session says it is
  const claims = { sub: user, fanfare: { subscribe: ["news", "chat-*"], publish: ["chat-7"] } };
  response.end(jwt.sign(claims, process.env.TOKEN_SECRET, { expiresIn: 3600 }));
}).listen(3000, "127.0.0.1");

// A backend for hooks of stompede, in Node without dependencies: lets users into their own orders, keeps a word out of a room,
// and says whom it would push a message to.
//
//   node examples/hook.mjs --port 3000 --secret "a secret of at least thirty-two bytes"
//
//   [[hook]]
//   name = "example"
//   on = ["subscribe", "publish", "message", "disconnect", "offline"]
//   url = "http://127.0.0.1:3000/"
//   secret = "a secret of at least thirty-two bytes"
//   patterns = ["/topic/orders/**", "/app/chat/*/send", "/app/add", "/user/*/queue/messages"]
//   ask = "always"

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { parseArgs } from "node:util";

const options = { port: { type: "string", default: "0" }, secret: { type: "string" } };
const { port, secret } = parseArgs({ options }).values;
if (!secret) throw new Error("usage: node hook.mjs --secret SECRET [--port PORT]");

const bytesMax = 4 << 20;

const decide = {
  subscribe: ({ user, destination }) => ({ allow: destination.startsWith(`/topic/orders/${user}/`), ttlMs: 60_000 }),
  publish: ({ body }) =>
    body.includes("darn") ? { allow: false, code: "bad-content", message: "be nice" } : { allow: true },
  message: ({ body }) => ({ reply: { json: { sum: body.split("+").reduce((sum, text) => sum + Number(text), 0) } } }),
  disconnect: ({ user, reason }) => console.log(`${user} has gone: ${reason}`),
  offline: ({ users, messageId }) => console.log(`push ${messageId} to ${users}`),
};

function isOurs(headers, body) {
  const at = headers["stompede-timestamp"] ?? "";
  const expected = createHmac("sha256", secret).update(`${at}.`).update(body).digest();
  const given = Buffer.from((headers["stompede-signature"] ?? "").replace("sha256=", ""), "hex");
  const isFresh = Math.abs(Date.now() / 1000 - Number(at)) < 300;
  return isFresh && given.length === expected.length && timingSafeEqual(given, expected);
}

async function bodyOf(request) {
  const parts = [];
  let bytes = 0;
  for await (const part of request) {
    bytes += part.length;
    if (bytes > bytesMax) return null;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

const server = createServer(async (request, response) => {
  try {
    const body = await bodyOf(request);
    if (body === null) return response.writeHead(413).end();
    if (!isOurs(request.headers, body)) return response.writeHead(401).end();
    const asked = JSON.parse(body);
    const answer = decide[asked.event]?.(asked);
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer ?? { allow: false }));
  } catch (error) {
    console.error(error);
    response.writeHead(500).end();
  }
});

server.listen(Number(port), "127.0.0.1", () => console.log(`hooks on http://127.0.0.1:${server.address().port}/`));

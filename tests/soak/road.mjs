// How the clients of the soak reach the server: plain, or by TLS if soak.sh has made a certificate.
//
// Node trusts its authority by NODE_EXTRA_CA_CERTS.

import http from "node:http";
import https from "node:https";
import net from "node:net";
import tls from "node:tls";

const IS_TLS = Boolean(process.env.FANFARE_TLS);

/** `request`, `get` and `Agent`. */
export const web = IS_TLS ? https : http;

/** When a socket of `dial` may be written to. */
export const READY = IS_TLS ? "secureConnect" : "connect";

/** A URL, by the scheme of a plain one. */
export function url(scheme, address, path) {
  return `${scheme}${IS_TLS ? "s" : ""}://${address}${path}`;
}

/** A connection that can be reset, which node's own sockets of TLS cannot. */
export function dial({ host, port }) {
  const tcp = net.connect({ host, port });
  if (!IS_TLS) return tcp;
  const secured = tls.connect({ socket: tcp, host });
  secured.setMaxListeners(0);
  tcp.on("error", (error) => secured.destroy(error));
  secured.resetAndDestroy = () => {
    tcp.resetAndDestroy();
    secured.destroy();
  };
  return secured;
}

class Dialling extends https.Agent {
  createConnection(options) {
    return dial(options);
  }
}

/** The options of `ws` whose connections can be reset. */
export const resettable = IS_TLS ? { agent: new Dialling() } : {};

"""The server as the Python package `websockets` sees it, with curl as the publisher."""

import asyncio
import json
import logging
import os
import re
import signal
import unittest

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

TLS = os.environ.get("FANFARE_TLS")  # where run.sh has put a certificate for 127.0.0.1, if clients are to talk TLS
DEADLINE_S = 10  # far past what anything here takes; a test that hangs ends with it
ENVELOPES = "fanfare.v1.json"


async def within(awaitable):
    """What it gives, or TimeoutError."""
    return await asyncio.wait_for(awaitable, DEADLINE_S)


class Server:
    """A fanfare server on a free port of loopback."""

    def __init__(self, process, address):
        self.process = process
        self.address = address

    @classmethod
    async def start(cls, *flags):
        pipe = asyncio.subprocess.PIPE
        drain = [] if "--drain" in flags else ["--drain", "0s"]
        words = [os.environ["FANFARE"], "--listen", "127.0.0.1:0", *drain, *flags]
        if TLS:
            words += ["--tls-listen", "127.0.0.1:0", "--tls-cert", f"{TLS}/server.pem", "--tls-key", f"{TLS}/server.key"]
        process = await asyncio.create_subprocess_exec(*words, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
        for _ in range(2 if TLS else 1):
            line = (await within(process.stdout.readline())).decode()
        match = re.fullmatch(rf"listening on {cls.scheme('http')}://(127\.0\.0\.1:\d+)\n", line)
        if not match:
            process.kill()
            raise RuntimeError(f"the server did not say where it listens: {line!r}")
        return cls(process, match[1])

    @staticmethod
    def scheme(plain):
        return plain + "s" if TLS else plain

    async def stop(self):
        """SIGTERM; the exit status."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await within(self.process.wait())

    async def curl(self, path, *words):
        """The status and the body."""
        all_words = ["-sS", "--noproxy", "*", "--max-time", "10", "-w", "\n%{http_code}", *words]
        curl = await asyncio.create_subprocess_exec(
            "curl", *all_words, f"{self.scheme('http')}://{self.address}{path}", stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await within(curl.communicate())
        body, _, status = printed.decode().rpartition("\n")
        return int(status), body


class PingsSeen(logging.Handler):
    """Counts the pings in a client's log, which is where the package tells of them."""

    def __init__(self, wanted):
        super().__init__()
        self.wanted = wanted
        self.seen = asyncio.Event()

    def emit(self, record):
        if record.getMessage().startswith("< PING"):
            self.wanted -= 1
        if self.wanted == 0:
            self.seen.set()


class WebsocketsTest(unittest.IsolatedAsyncioTestCase):
    async def serve(self, *flags):
        server = await Server.start(*flags)
        self.addAsyncCleanup(server.stop)
        return server

    async def connect(self, server, path, **options):
        url = f"{server.scheme('ws')}://{server.address}{path}"
        client = await within(connect(url, proxy=None, open_timeout=DEADLINE_S, max_size=None, **options))
        self.addAsyncCleanup(client.close)
        return client

    async def receive(self, client, count):
        return [await within(client.recv()) for _ in range(count)]

    async def assert_closed(self, client, code, reason=None):
        with self.assertRaises(ConnectionClosed) as raised:
            await within(client.recv())
        self.assertEqual(raised.exception.rcvd.code, code)
        if reason is not None:
            self.assertEqual(raised.exception.rcvd.reason, reason)

    async def test_raw_and_envelope_subscribers_get_what_curl_publishes_in_order(self):
        server = await self.serve()
        raw = [await self.connect(server, "/channels/news") for _ in range(3)]
        enveloped = await self.connect(server, "/channels/news", subprotocols=[ENVELOPES])
        self.assertEqual(enveloped.subprotocol, ENVELOPES)
        texts = [f"message {i}" for i in range(20)] + ["grüß dich, 世界", "x" * 70_000]
        ids = []
        for text in texts:
            status, body = await server.curl("/channels/news", "-d", text)
            self.assertEqual((status, json.loads(body)["subscribers"]), (200, 4))
            ids.append(json.loads(body)["id"])
        for client in raw:
            self.assertEqual(await self.receive(client, len(texts)), texts)
        envelopes = [json.loads(text) for text in await self.receive(enveloped, len(texts))]
        self.assertEqual(envelopes, [{"id": id, "data": text} for id, text in zip(ids, texts)])

    async def test_binary_comes_as_bytes_and_in_envelopes_as_base64(self):
        server = await self.serve()
        raw = await self.connect(server, "/channels/news")
        enveloped = await self.connect(server, "/channels/news", subprotocols=[ENVELOPES])
        await raw.send(bytes(range(256)))
        self.assertEqual(await within(raw.recv()), bytes(range(256)))
        envelope = json.loads(await within(enveloped.recv()))
        self.assertEqual((envelope["data"][:8], envelope["encoding"]), ("AAECAwQF", "base64"))

    async def test_a_message_sent_in_fragments_is_published_whole(self):
        server = await self.serve()
        client = await self.connect(server, "/channels/news")
        await client.send(iter(["one ", "message ", "in ", "pieces"]))
        self.assertEqual(await within(client.recv()), "one message in pieces")

    async def test_a_ping_is_answered(self):
        server = await self.serve()
        client = await self.connect(server, "/channels/news")
        self.assertGreaterEqual(await within(await client.ping(b"payload")), 0)

    async def test_a_client_that_answers_pings_outlives_the_idle_timeout(self):
        server = await self.serve("--idle-timeout", "50ms", "--pong-timeout", "5s")
        pings = PingsSeen(3)
        logger = logging.Logger("client", logging.DEBUG)
        logger.addHandler(pings)
        client = await self.connect(server, "/channels/news", ping_interval=None, logger=logger)
        await within(pings.seen.wait())
        await server.curl("/channels/news", "-d", "still here")
        self.assertEqual(await within(client.recv()), "still here")

    async def test_a_close_is_answered_with_its_code(self):
        server = await self.serve()
        for code in [1000, 1001, 3000, 4999]:
            client = await self.connect(server, "/channels/news")
            await within(client.close(code, "goodbye"))
            self.assertEqual(client.close_code, code)

    async def test_a_message_over_the_limit_is_closed_with_1009(self):
        server = await self.serve("--max-message", "100")
        client = await self.connect(server, "/channels/news")
        await client.send("x" * 101)
        await self.assert_closed(client, 1009, "the message is over the limit of 100 bytes")

    async def test_with_a_key_publishing_needs_it_and_clients_a_channel_that_is_open_to_them(self):
        server = await self.serve("--publish-key", "sesame", "--client-publish", "chat-*")
        self.assertEqual((await server.curl("/channels/news", "-d", "x"))[0], 401)
        key = ("-H", "Authorization: Bearer sesame")
        self.assertEqual((await server.curl("/channels/news", "-d", "x", *key))[0], 200)
        chat = await self.connect(server, "/channels/chat-1")
        await chat.send("open")
        self.assertEqual(await within(chat.recv()), "open")
        news = await self.connect(server, "/channels/news")
        await news.send("not open")
        await self.assert_closed(news, 1008)

    async def test_an_origin_that_is_not_listed_gets_403(self):
        server = await self.serve("--allow-origin", "https://example.com")
        with self.assertRaises(InvalidStatus) as raised:
            await self.connect(server, "/channels/news", origin="https://evil.example")
        self.assertEqual(raised.exception.response.status_code, 403)
        await self.connect(server, "/channels/news", origin="https://example.com")
        await self.connect(server, "/channels/news")

    async def test_sigterm_closes_everybody_with_1001_and_exits_with_0(self):
        server = await self.serve("--drain", "200ms")
        clients = [await self.connect(server, "/channels/news") for _ in range(10)]
        await server.curl("/channels/news", "-d", "the last one")
        stopping = asyncio.create_task(server.stop())
        for client in clients:
            self.assertEqual(await within(client.recv()), "the last one")
            await self.assert_closed(client, 1001)
        self.assertEqual(await stopping, 0)


if __name__ == "__main__":
    unittest.main()

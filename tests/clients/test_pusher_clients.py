"""Other clients of the Pusher protocol than its authors': the Python packages `pysher` and `asyncpusher`."""

import asyncio
import json
import logging
import queue
import time
import unittest

import asyncpusher
import pusher
import pysher

from pusher_server import APP_ID, DEADLINE_S, KEY, SECRET, Server, Subscriber, sign


def backend_of(server):
    return pusher.Pusher(app_id=APP_ID, key=KEY, secret=SECRET, host="127.0.0.1", port=server.port, ssl=False)


def wait_until_occupied(backend, channel):
    """Waits until the server has a subscriber of the channel."""
    deadline = time.monotonic() + DEADLINE_S
    while not backend.channel_info(channel)["occupied"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody subscribes to {channel}")
        time.sleep(0.01)


class PysherTest(unittest.TestCase):
    """`pysher` speaks version 6 of the protocol, in threads of its own, and signs by itself."""

    def setUp(self):
        self.server = Server({"client-events": True})
        self.addCleanup(lambda: self.server.stop())
        self.backend = backend_of(self.server)

    def connect(self, **options):
        """A client once it is connected; what it subscribes to is told into `heard`."""
        client = pysher.Pusher(
            KEY, secure=False, secret=SECRET, custom_host="127.0.0.1", port=self.server.port,
            http_no_proxy=["127.0.0.1"], reconnect_interval=0.1, **options,
        )
        connected = queue.Queue()
        client.connection.bind("pusher:connection_established", connected.put)
        client.connect()
        self.addCleanup(client.disconnect, 0)  # its thread ends with the server
        established = json.loads(connected.get(timeout=DEADLINE_S))
        self.assertEqual(client.connection.socket_id, established["socket_id"])
        return client

    def subscribe(self, client, name, *events):
        """A channel once the server has the subscription, and what is heard of these events."""
        heard = queue.Queue()
        channel = client.subscribe(name)  # which is told of its success, if it is there before that comes
        for event in events:
            channel.bind(event, heard.put)
        wait_until_occupied(self.backend, name)
        return channel, heard

    def test_it_hears_public_private_and_presence_channels(self):
        client = self.connect(user_data={"user_id": "ann", "user_info": {"name": "Ann"}})
        for name in ["news", "private-orders", "presence-room"]:
            _, heard = self.subscribe(client, name, "update")
            self.backend.trigger(name, "update", {"name": name, "text": "grüße"})
            self.assertEqual(json.loads(heard.get(timeout=DEADLINE_S)), {"name": name, "text": "grüße"})
        self.assertEqual(self.backend.users_info("presence-room"), {"users": [{"id": "ann"}]})

    def test_its_ping_right_after_the_handshake_is_answered(self):
        client = pysher.Pusher(KEY, secure=False, custom_host="127.0.0.1", port=self.server.port, http_no_proxy=["127.0.0.1"])
        events = queue.Queue()
        for event in ["pusher:connection_established", "pusher:pong", "pusher:error"]:
            client.connection.bind(event, lambda _, event=event: events.put(event))
        client.connect()
        self.addCleanup(client.disconnect, 0)  # its thread ends with the server
        told = [events.get(timeout=DEADLINE_S) for _ in range(2)]
        self.assertEqual(told, ["pusher:connection_established", "pusher:pong"])

    def test_it_hears_members_and_sends_client_events(self):
        client = self.connect(user_data={"user_id": "ann"})
        channel, heard = self.subscribe(
            client, "presence-room", "pusher_internal:member_added", "client-said", "pusher_internal:member_removed"
        )
        bob = Subscriber(self.server)
        bob.join("presence-room", "bob")
        self.assertEqual(json.loads(heard.get(timeout=DEADLINE_S))["user_id"], "bob")
        channel.trigger("client-said", {"text": "to bob"})
        message = bob.event("client-said")
        self.assertEqual((message["data"], message["user_id"]), ({"text": "to bob"}, "ann"))
        bob.trigger("presence-room", "client-said", {"text": "to ann"})
        self.assertEqual(heard.get(timeout=DEADLINE_S), {"text": "to ann"})
        bob.close()
        self.assertEqual(json.loads(heard.get(timeout=DEADLINE_S)), {"user_id": "bob"})

    def test_after_unsubscribing_it_hears_no_more(self):
        client = self.connect()
        _, left = self.subscribe(client, "left", "update")
        _, kept = self.subscribe(client, "kept", "update")
        client.unsubscribe("left")
        self.backend.trigger(["left", "kept"], "update", "x")
        self.assertEqual(kept.get(timeout=DEADLINE_S), "x")
        self.assertTrue(left.empty())

    def test_it_comes_back_after_a_restart_and_subscribes_again(self):
        client = self.connect(auto_sub=True)
        _, heard = self.subscribe(client, "news", "update")
        address = self.server.address
        client.connection.needs_reconnect = True  # what it does at errors, and not at a close
        self.server.stop()
        self.server = Server(address=address)
        backend = backend_of(self.server)
        wait_until_occupied(backend, "news")
        backend.trigger("news", "update", "after")
        self.assertEqual(heard.get(timeout=DEADLINE_S), "after")


class AsyncpusherTest(unittest.IsolatedAsyncioTestCase):
    """`asyncpusher` speaks version 7 over `aiohttp`, and is told by its application how to sign."""

    def setUp(self):
        self.server = Server({"client-events": True})
        self.addCleanup(lambda: self.server.stop())
        self.backend = backend_of(self.server)

    async def authenticate(self, asked):
        channel = asked["channel_name"]
        member = {"user_id": "ann", "user_info": {"name": "Ann"}} if channel.startswith("presence-") else None
        return self.backend.authenticate(channel, asked["socket_id"], member)

    async def connect(self, **options):
        client = asyncpusher.Pusher(
            KEY, secure=False, custom_host="127.0.0.1", custom_port=self.server.port,
            channel_authenticator=self.authenticate,
            log=logging.Logger("client", logging.CRITICAL), **options,
        )
        await asyncio.wait_for(client.connect(), DEADLINE_S)
        self.addAsyncCleanup(client.disconnect)
        return client

    async def subscribe(self, client, name, *events):
        """A channel once it is subscribed to, and what is heard of these events."""
        heard = asyncio.Queue()
        channel = await client.subscribe(name)
        while channel.state is not asyncpusher.Channel.State.SUBSCRIBED:
            await asyncio.wait_for(asyncio.sleep(0.01), DEADLINE_S)
        for event in events:
            channel.bind(event, heard.put)
        return channel, heard

    async def trigger(self, *words):
        return await asyncio.to_thread(self.backend.trigger, *words)

    async def test_it_hears_public_private_and_presence_channels(self):
        client = await self.connect()
        self.assertRegex(client.connection.socket_id, r"^\d+\.\d+$")
        for name in ["news", "private-orders", "presence-room"]:
            _, heard = await self.subscribe(client, name, "update")
            await self.trigger(name, "update", {"name": name, "text": "grüße"})
            self.assertEqual(await asyncio.wait_for(heard.get(), DEADLINE_S), {"name": name, "text": "grüße"})

    async def test_it_hears_members_and_sends_client_events(self):
        client = await self.connect()
        channel, heard = await self.subscribe(client, "presence-room", "pusher_internal:member_added", "client-said")
        bob = await asyncio.to_thread(Subscriber, self.server)
        self.addCleanup(bob.close)
        await asyncio.to_thread(bob.join, "presence-room", "bob")
        self.assertEqual((await asyncio.wait_for(heard.get(), DEADLINE_S))["user_id"], "bob")
        await channel.trigger({"event": "client-said", "data": {"text": "to bob"}})
        message = await asyncio.to_thread(bob.event, "client-said")
        self.assertEqual((message["data"], message["user_id"]), ({"text": "to bob"}, "ann"))
        await asyncio.to_thread(bob.trigger, "presence-room", "client-said", {"text": "to ann"})
        self.assertEqual(await asyncio.wait_for(heard.get(), DEADLINE_S), {"text": "to ann"})

    async def test_after_unsubscribing_it_hears_no_more(self):
        client = await self.connect()
        _, left = await self.subscribe(client, "left", "update")
        _, kept = await self.subscribe(client, "kept", "update")
        await client.unsubscribe("left")
        await self.trigger(["left", "kept"], "update", {"n": 1})
        self.assertEqual(await asyncio.wait_for(kept.get(), DEADLINE_S), {"n": 1})
        self.assertTrue(left.empty())

    async def test_it_comes_back_after_a_restart_and_subscribes_again(self):
        client = await self.connect(auto_sub=True)
        _, heard = await self.subscribe(client, "private-news", "update")
        address = self.server.address
        await asyncio.to_thread(self.server.stop)
        self.server = await asyncio.to_thread(Server, None, address)
        await asyncio.to_thread(wait_until_occupied, self.backend, "private-news")
        await self.trigger("private-news", "update", {"n": 1})
        self.assertEqual(await asyncio.wait_for(heard.get(), DEADLINE_S), {"n": 1})


if __name__ == "__main__":
    unittest.main()

"""The HTTP API and the webhooks of apps as the Python package `pusher` sees them, in everything that it offers."""

import base64
import json
import time
import unittest

import pusher
from pusher import errors
from pusher.crypto import generate_shared_secret
from nacl.secret import SecretBox

from pusher_server import APP_ID, KEY, MASTER_KEY, SECRET, Receiver, Server, Subscriber, sign


class PusherTest(unittest.TestCase):
    def serve(self, **settings):
        server = Server({name.replace("_", "-"): value for name, value in settings.items()})
        self.addCleanup(server.stop)
        return server

    def backend(self, server, app_id=APP_ID, key=KEY, secret=SECRET):
        return pusher.Pusher(
            app_id=app_id, key=key, secret=secret, host="127.0.0.1", port=server.port, ssl=False,
            encryption_master_key_base64=base64.b64encode(MASTER_KEY).decode(),
        )

    def subscriber(self, server):
        subscriber = Subscriber(server)
        self.addCleanup(subscriber.close)
        return subscriber

    def assert_refused(self, error, sentence, call, *words, **named):
        with self.assertRaises(error) as raised:
            call(*words, **named)
        self.assertRegex(str(raised.exception), sentence)

    # Events

    def test_trigger_reaches_one_channel_or_many_with_the_data_as_it_was(self):
        server = self.serve()
        backend, subscriber = self.backend(server), self.subscriber(server)
        for channel in ["news", "sport"]:
            subscriber.subscribe(channel)
        data = {"text": "grüße, 世界 🎺", "n": [1, None, 2.5]}
        self.assertEqual(backend.trigger("news", "update", data), {})
        message = subscriber.next()
        self.assertEqual((message["event"], message["channel"], json.loads(message["data"])), ("update", "news", data))
        self.assertEqual(backend.trigger(["news", "sport"], "update", "text"), {})
        messages = sorted([subscriber.next(), subscriber.next()], key=str)
        self.assertEqual(
            messages, [{"event": "update", "channel": name, "data": "text"} for name in ["news", "sport"]]
        )

    def test_trigger_excludes_the_connection_of_a_socket_id(self):
        server = self.serve()
        backend, subscriber = self.backend(server), self.subscriber(server)
        subscriber.subscribe("news")
        backend.trigger("news", "update", "not to it", socket_id=subscriber.socket_id)
        backend.trigger("news", "update", "to it", "1.1")
        self.assertEqual(subscriber.next()["data"], "to it")

    def test_a_batch_is_published_in_its_order(self):
        server = self.serve()
        backend, subscriber = self.backend(server), self.subscriber(server)
        subscriber.subscribe("news")
        batch = [{"channel": "news", "name": "count", "data": {"n": n}} for n in range(10)]
        batch[3]["socket_id"] = subscriber.socket_id
        self.assertEqual(backend.trigger_batch(batch), {})
        counts = [json.loads(subscriber.next()["data"])["n"] for _ in range(9)]
        self.assertEqual(counts, [0, 1, 2, 4, 5, 6, 7, 8, 9])

    def test_an_encrypted_event_is_passed_on_as_it_is_and_opens_with_the_shared_secret(self):
        server = self.serve()
        backend, subscriber = self.backend(server), self.subscriber(server)
        answer = backend.authenticate("private-encrypted-a", subscriber.socket_id)
        subscriber.subscribe("private-encrypted-a", answer["auth"])
        backend.trigger("private-encrypted-a", "update", {"text": "grüße"})
        sealed = json.loads(subscriber.next()["data"])
        box = SecretBox(base64.b64decode(answer["shared_secret"]))
        self.assertEqual(base64.b64decode(answer["shared_secret"]), generate_shared_secret(b"private-encrypted-a", MASTER_KEY))
        opened = box.decrypt(base64.b64decode(sealed["ciphertext"]), base64.b64decode(sealed["nonce"]))
        self.assertEqual(json.loads(opened), {"text": "grüße"})

    def test_data_over_the_limit_is_413_with_the_limit(self):
        server = self.serve()
        call = self.backend(server).trigger
        self.assert_refused(errors.PusherBadStatus, "413.*10240", call, "news", "update", "x" * 10_241)
        self.assertEqual(call("news", "update", "x" * 10_240), {})

    # Questions: this library signs the MD5 of the empty body of a GET

    def test_channels_are_listed_by_prefix_with_their_members(self):
        server = self.serve()
        backend = self.backend(server)
        ann, bob = self.subscriber(server), self.subscriber(server)
        ann.subscribe("news")
        for subscriber, user_id in [(ann, "ann"), (bob, "bob")]:
            subscriber.join("presence-room", user_id)
        self.assertEqual(backend.channels_info(), {"channels": {"news": {}, "presence-room": {}}})
        self.assertEqual(
            backend.channels_info("presence-", ["user_count"]), {"channels": {"presence-room": {"user_count": 2}}}
        )
        self.assertEqual(backend.channels_info("none-of-these"), {"channels": {}})
        self.assert_refused(errors.PusherBadRequest, "user_count", backend.channels_info, "news", ["user_count"])

    def test_a_channel_is_asked_about(self):
        server = self.serve()
        backend, subscriber = self.backend(server), self.subscriber(server)
        subscriber.join("presence-room", "ann")
        answer = backend.channel_info("presence-room", ["user_count", "subscription_count"])
        self.assertEqual(answer, {"occupied": True, "user_count": 1, "subscription_count": 1})
        self.assertEqual(backend.channel_info("news"), {"occupied": False})
        self.assert_refused(errors.PusherBadRequest, "user_count", backend.channel_info, "news", ["user_count"])

    def test_the_members_of_a_presence_channel_are_listed_and_of_another_refused(self):
        server = self.serve()
        backend = self.backend(server)
        for user_id in [1, 1, "ann"]:
            self.subscriber(server).join("presence-room", user_id)
        users = backend.users_info("presence-room")["users"]
        self.assertEqual(sorted(user["id"] for user in users), ["1", "ann"])
        self.assert_refused(errors.PusherBadRequest, "presence", backend.users_info, "news")

    # Users

    def test_a_user_signs_in_gets_an_event_and_is_terminated_by_the_path_without_an_app(self):
        server = self.serve()
        backend, subscriber = self.backend(server), self.subscriber(server)
        answer = backend.authenticate_user(subscriber.socket_id, {"id": "ann@example.com", "name": "grüße"})
        subscriber.send("pusher:signin", **answer)
        message = subscriber.next()
        self.assertEqual(message["event"], "pusher:signin_success")
        self.assertEqual(json.loads(message["data"]), {"user_data": answer["user_data"]})
        subscriber.subscribe("#server-to-user-ann@example.com", "")
        self.assertEqual(backend.send_to_user("ann@example.com", "alert", {"level": 1}), {})
        message = subscriber.next()
        self.assertEqual((message["event"], json.loads(message["data"])), ("alert", {"level": 1}))
        self.assertEqual(backend.terminate_user_connections("ann@example.com"), {})
        self.assertEqual(subscriber.close_code(), 4009)

    def test_private_and_presence_channels_open_with_what_authenticate_signs(self):
        server = self.serve()
        backend, subscriber = self.backend(server), self.subscriber(server)
        answer = backend.authenticate("private-orders", subscriber.socket_id)
        self.assertEqual(answer["auth"], sign(f"{subscriber.socket_id}:private-orders"))
        subscriber.subscribe("private-orders", answer["auth"])
        custom = {"user_id": 10, "user_info": {"name": "grüße"}}
        answer = backend.authenticate("presence-room", subscriber.socket_id, custom)
        data = subscriber.subscribe("presence-room", answer["auth"], answer["channel_data"])
        self.assertEqual(data, {"presence": {"ids": ["10"], "hash": {"10": {"name": "grüße"}}, "count": 1}})

    # Credentials

    def test_a_backend_from_a_url_publishes(self):
        server = self.serve()
        backend = pusher.Pusher.from_url(f"http://{KEY}:{SECRET}@127.0.0.1/apps/{APP_ID}", port=server.port)
        self.assertEqual(backend.trigger("news", "update", "x"), {})

    def test_a_wrong_secret_is_401_an_unknown_app_404_and_a_disabled_one_403(self):
        server = self.serve()
        wrong = self.backend(server, secret="another")
        self.assert_refused(errors.PusherBadAuth, r"POST\\n/apps/1/events\\nauth_key=app-key", wrong.trigger, "a", "b", "c")
        self.assert_refused(errors.PusherBadAuth, "auth_key=app-key", wrong.channels_info)
        unknown = self.backend(server, app_id="99")
        self.assert_refused(errors.PusherBadStatus, "404", unknown.trigger, "a", "b", "c")
        disabled = self.backend(self.serve(enabled=False))
        self.assert_refused(errors.PusherForbidden, "disabled", disabled.trigger, "a", "b", "c")

    # Webhooks

    def test_webhooks_are_valid_to_the_library_and_only_with_the_apps_secret(self):
        receiver = Receiver()
        self.addCleanup(receiver.stop)
        events = ["channel_occupied", "member_added"]
        server = self.serve(webhooks=[{"url": receiver.url, "events": events}])
        backend = self.backend(server)
        self.subscriber(server).join("presence-room", "grüße")
        expected = [
            {"name": "channel_occupied", "channel": "presence-room"},
            {"name": "member_added", "channel": "presence-room", "user_id": "grüße"},
        ]
        got = []
        while len(got) < len(expected):
            headers, body = receiver.next()
            signed = (headers["X-Pusher-Key"], headers["X-Pusher-Signature"], body.decode())
            webhook = backend.validate_webhook(*signed)
            self.assertIsNotNone(webhook)
            self.assertLess(abs(webhook["time_ms"] - time.time() * 1000), 60_000)
            got += webhook["events"]
            self.assertIsNone(self.backend(server, secret="another").validate_webhook(*signed))
        self.assertEqual(sorted(got, key=str), sorted(expected, key=str))


if __name__ == "__main__":
    unittest.main()

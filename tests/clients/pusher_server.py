"""A fanfare server with apps for a test, a subscriber that shows messages as they are, and a receiver of webhooks."""

import contextlib
import hashlib
import hmac
import http.server
import json
import os
import queue
import re
import select
import signal
import subprocess
import tempfile
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

DEADLINE_S = 10  # far past what anything here takes; a test that hangs ends with it
APP_ID, KEY, SECRET = "1", "app-key", "app-secret"
MASTER_KEY = b"k" * 32  # of encrypted channels; the server never has it

os.environ["NO_PROXY"] = "127.0.0.1"


class Server:
    """A server on a free port of loopback, or at `address`, with one app that has these settings."""

    def __init__(self, settings=None, address="127.0.0.1:0"):
        table = {"id": APP_ID, "key": KEY, "secret": SECRET, **(settings or {})}
        lines = ["[[app]]", *(f"{key} = {toml(value)}" for key, value in table.items())]
        self._folder = tempfile.TemporaryDirectory(prefix="fanfare-")
        path = os.path.join(self._folder.name, "fanfare.toml")
        with open(path, "w") as file:
            file.write("\n".join(lines) + "\n")
        words = [os.environ["FANFARE"], "--listen", address, "--drain", "0s", "--close-timeout", "200ms", "--config", path]
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        self._process = subprocess.Popen(words, stdin=nothing, stdout=pipe, stderr=nothing, text=True)
        readable, _, _ = select.select([self._process.stdout], [], [], DEADLINE_S)
        line = self._process.stdout.readline() if readable else "nothing"
        match = re.fullmatch(r"listening on http://(127\.0\.0\.1:(\d+))\n", line)
        if not match:
            self.stop()
            raise RuntimeError(f"the server did not say where it listens: {line!r}")
        self.address, self.port = match[1], int(match[2])

    def stop(self):
        """SIGTERM; the exit status."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._process.stdout.close()
            self._folder.cleanup()


def toml(value):
    """A value of a configuration file."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(item)}' for key, item in value.items())} }}"
    return json.dumps(value)


def sign(text):
    """The signature of the app over a text, as clients send it."""
    return f"{KEY}:{hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()}"


class Subscriber:
    """A connection whose messages a test reads itself."""

    def __init__(self, server):
        url = f"ws://{server.address}/app/{KEY}?protocol=7"
        self._open = contextlib.ExitStack()
        connecting = connect(url, proxy=None, open_timeout=DEADLINE_S, close_timeout=DEADLINE_S)
        self._socket = self._open.enter_context(connecting)
        established = self.next()
        self.socket_id = json.loads(established["data"])["socket_id"]

    def next(self):
        """The next message."""
        return json.loads(self._socket.recv(timeout=DEADLINE_S))

    def event(self, name):
        """The next message of this event; others are passed over."""
        while (message := self.next())["event"] != name:
            pass
        return message

    def send(self, event, **data):
        self._socket.send(json.dumps({"event": event, "data": data}))

    def trigger(self, channel, event, data):
        self._socket.send(json.dumps({"event": event, "channel": channel, "data": data}))

    def subscribe(self, channel, auth=None, channel_data=None):
        """Subscribes and gives what the server says: the data of the success."""
        signed = {"auth": auth, "channel_data": channel_data}
        self.send("pusher:subscribe", channel=channel, **{key: value for key, value in signed.items() if value is not None})
        answer = self.next()
        if answer["event"] != "pusher_internal:subscription_succeeded":
            raise AssertionError(f"subscribing to {channel} was answered with {answer}")
        return json.loads(answer["data"])

    def join(self, channel, user_id, user_info=None):
        """Subscribes to a presence channel as a member."""
        channel_data = json.dumps({"user_id": user_id, "user_info": user_info})
        return self.subscribe(channel, sign(f"{self.socket_id}:{channel}:{channel_data}"), channel_data)

    def close_code(self):
        """The code of the server's close; what came before it is passed over."""
        try:
            while True:
                self.next()
        except ConnectionClosed as closed:
            return closed.rcvd.code

    def close(self):
        self._open.close()


class Receiver:
    """An HTTP server that takes webhooks; `next` is one: its fields and its body."""

    def __init__(self):
        posts = queue.Queue()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posts.put((self.headers, body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._posts = posts
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def next(self):
        return self._posts.get(timeout=DEADLINE_S)

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

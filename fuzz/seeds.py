#!/usr/bin/env python3
"""Writes the hand-made corpus: fuzz/corpus/TARGET/NAME. What the first bytes mean stands in fuzz/bodies/TARGET.rs.

Run it after a change to an input's form, and check in what it wrote: it empties the corpus first. An input that
found something becomes a line here, under a name that says what it is.
"""

import shutil
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def put(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def frame(first, payload, key=b"\x37\xfa\x21\x3d"):
    """A client's frame; `first` is FIN, RSV and opcode."""
    if len(payload) < 126:
        length = bytes([0x80 | len(payload)])
    elif len(payload) < 65536:
        length = b"\xfe" + len(payload).to_bytes(2, "big")
    else:
        length = b"\xff" + len(payload).to_bytes(8, "big")
    return bytes([first]) + length + key + bytes(b ^ key[i % 4] for i, b in enumerate(payload))


def frames():
    # As it stands, a limit of 65,536 (5), the server closes before the last bytes, cut into 3 and 1, stopped at two
    # events of three with a room of 16 bytes, of 1,000 and none.
    pauses = bytes([3, 0x0A, 0x13, 0])

    def wire(data, limit=5):
        return bytes([ord("R"), limit, len(data) // 2, 2, 3, 1]) + pauses + data

    def plan(data, limit=7):
        return bytes([ord("S"), limit, 200, 3, 7, 0, 120]) + pauses + data

    accepted = {
        "rfc-5.7-hello": frame(0x81, b"Hello"),
        "rfc-5.7-hello-in-two-fragments": frame(0x01, b"Hel") + frame(0x80, b"lo"),
        "rfc-5.7-ping": frame(0x89, b"Hello"),
        "rfc-5.7-256-bytes": frame(0x82, bytes(range(256))),
        "ping-between-fragments": frame(0x01, b"a") + frame(0x89, b"p") + frame(0x00, b"") + frame(0x80, b"b"),
        "empty-messages": frame(0x81, b"") + frame(0x82, b"") + frame(0x8A, b""),
        "character-over-two-fragments": frame(0x01, b"\xf0\x9f") + frame(0x80, b"\x8e\x89"),
        "close-1000-with-reason": frame(0x88, b"\x03\xe8bye") + frame(0x89, b"late"),
        "close-empty": frame(0x88, b"") + frame(0x81, b"late"),
        "close-4999": frame(0x88, b"\x13\x87"),
        "lengths-125-126": frame(0x82, b"x" * 125) + frame(0x82, b"x" * 126) + frame(0x89, b"x" * 125),
    }
    refused = {
        "unmasked": b"\x81\x05Hello",
        "rsv1": frame(0xC1, b"x"),
        "opcode-3": frame(0x83, b""),
        "opcode-b": frame(0x8B, b""),
        "length-126-for-5": b"\x81\xfe\x00\x05\0\0\0\0Hello",
        "length-126-for-125": b"\x82\xfe\x00\x7d\0\0\0\0" + b"x" * 125,
        "length-127-for-65535": b"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0",
        "length-top-bit": b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0",
        "length-2-62": b"\x82\xff\x40\0\0\0\0\0\0\0\0\0\0\0xxx",
        "ping-of-126": frame(0x89, b"x" * 126),
        "ping-fragment": frame(0x09, b"x"),
        "continuation-without-start": frame(0x80, b"x"),
        "text-inside-text": frame(0x01, b"a") + frame(0x81, b"b"),
        "close-of-one-byte": frame(0x88, b"\x03"),
        "close-1005": frame(0x88, b"\x03\xed"),
        "close-reason-not-utf8": frame(0x88, b"\x03\xe8\xed\xa0\x80"),
        "text-not-utf8": frame(0x81, b"\xce\xba\xed\xa0\x80edited"),
        "text-ends-inside-character": frame(0x81, b"\xf0\x9f\x8e"),
        "text-not-utf8-in-cut-frame": frame(0x01, b"\xf4") + frame(0x80, b"\x90\x80\x80")[:-2],
        "close-1005-in-cut-frame": frame(0x88, b"\x03\xedxyz")[:-3],
        "close-reason-not-utf8-in-cut-frame": frame(0x88, b"\x03\xe8a\xffxyz")[:-3],
        "reserved-in-cut-header": b"\x8b",
    }
    for name, data in (accepted | refused).items():
        put("frames", f"raw-{name}", wire(data))
    put("frames", "raw-over-limit-16", wire(frame(0x02, b"x" * 10) + frame(0x80, b"x" * 7), limit=2))
    put("frames", "raw-at-limit-16", wire(frame(0x02, b"x" * 10) + frame(0x80, b"x" * 6), limit=2))
    put("frames", "raw-message-where-none-is-taken", wire(frame(0x89, b"p") + frame(0x81, b"x"), limit=0))
    plans = {
        "fragments-and-pings": b"T\x04p\x02\x06\x0a\x14\x28" + b"B\x02p\x01\x02\x03" + b"I\x0aO\x0a",
        "header-lengths": b"B\x00-\xfa" + b"B\x00-\xfb" + b"T\x00-\xfd" + b"T\x00-\xfe",
        "close-behind-messages": b"T\x01p\x0a\x0bC\x03\xe8\x20T\x00-\x0a",
        "byte-spoilt": b"T\x02p\x14\x14\x14B\x00-\x28X\x00\x1f\x80",
        "lone-frames": b"F\x81\x03abcF\x00\x01xF\x82\x00F\x05\x02zz",
    }
    for name, data in plans.items():
        put("frames", f"plan-{name}", plan(data))


def mask():
    def case(payload, key=b"\x37\xfa\x21\x3d", offset=0, place=0, cut=3):
        return key + (offset << 2).to_bytes(8, "big") + bytes([place, cut]) + payload

    put("mask", "rfc-5.7-hello", case(b"\x7f\x9f\x4d\x51\x58"))
    put("mask", "empty", case(b""))
    put("mask", "one-byte-at-offset-3", case(b"\x3d", offset=3))
    put("mask", "key-of-zeros", case(bytes(range(64)), key=b"\0\0\0\0"))
    put("mask", "odd-place-and-length", case(bytes(range(99)), place=13, offset=5, cut=17))
    put("mask", "offset-near-2-62", case(bytes(range(40)), offset=(1 << 62) - 1, place=1))
    put("mask", "words-and-a-tail", case(bytes(range(131)), place=7, offset=2, cut=66))


def utf8():
    texts = {
        "ascii": b"Hello, world",
        "kosme": "κόσμε".encode(),
        "one-to-four-bytes": "a\u00e9\u20ac\U0001f389".encode() * 20,
        "first-and-last-of-each-length": "\x00\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff".encode(),
        "around-surrogates": "\ud7ff\ue000".encode(),
        "surrogate": b"ab\xed\xa0\x80",
        "over-10ffff": b"\xf4\x90\x80\x80",
        "overlong-slash-2": b"\xc0\xaf",
        "overlong-slash-3": b"\xe0\x80\xaf",
        "overlong-4": b"\xf0\x8f\xbf\xbf",
        "lone-continuation": b"a\x80b",
        "ff": b"\xfe\xff",
        "ends-inside-2": b"\xce",
        "ends-inside-4": b"abc\xf0\x9f\x8e",
        "bad-behind-long-ascii": b"x" * 100 + b"\xc3x",
        "interrupted-character": b"\xf0\x9f\x8ea",
    }
    for name, text in texts.items():
        put("utf8", name, bytes([3, 1, 2, 5]) + text)


def request():
    host = b"Host: a\r\n"

    def case(data, limits=0):
        return bytes([limits, 3, 7, 1, 30]) + data

    def post(fields, body=b"", line=b"POST /a HTTP/1.1"):
        return line + b"\r\n" + host + fields + b"\r\n" + body

    te = b"Transfer-Encoding: chunked\r\n"
    accepted = {
        "get": b"GET / HTTP/1.1\r\nHost: server.example.com\r\nAccept: */*\r\n\r\n",
        "get-http-1.0": b"GET /a?b=c HTTP/1.0\r\n\r\n",
        "empty-lines": b"\r\n\r\nGET / HTTP/1.1\r\n" + host + b"\r\n\r\n",
        "options-asterisk": b"OPTIONS * HTTP/1.1\r\n" + host + b"\r\n",
        "absolute-form": b"GET http://a:80?b=/1 HTTP/1.1\r\n" + host + b"\r\n",
        "target-in-utf8": "GET /é?ü HTTP/1.1\r\n".encode() + host + b"\r\n",
        "content-length": post(b"Content-Length: 5\r\n", b"hello"),
        "content-length-0": post(b"Content-Length: 0\r\n"),
        "chunked": post(te, b"2\r\nhi\r\n1;x=y\r\n!\r\n0\r\nA: b\r\n\r\n"),
        "chunked-extension-behind-space": post(te, b"0002 \t;x\r\nhi\r\n00\r\n\r\n"),
        "expect-continue": post(b"Expect: 100-continue\r\nContent-Length: 1\r\n", b"x"),
        "pipelined": b"GET /1 HTTP/1.1\r\n" + host + b"\r\n" + post(te, b"3\r\none\r\n0\r\n\r\n") + post(b"Content-Length: 3\r\n", b"two"),
        "values-trimmed": b"GET / HTTP/1.1\r\nHost:\ta \t\r\nX:\r\nX: \xff\t\"~ \r\n\r\n",
    }
    refused = {
        "smuggling-cl-te": post(b"Content-Length: 5\r\n" + te, b"0\r\n\r\nG"),
        "smuggling-cl-cl": post(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"),
        "smuggling-cl-list": post(b"Content-Length: 5, 5\r\n", b"hello"),
        "smuggling-cl-plus": post(b"Content-Length: +5\r\n", b"hello"),
        "smuggling-cl-2-64": post(b"Content-Length: 18446744073709551616\r\n"),
        "smuggling-te-te": post(te + te, b"0\r\n\r\n"),
        "smuggling-te-identity": post(b"Transfer-Encoding: identity, chunked\r\n", b"0\r\n\r\n"),
        "smuggling-te-vertical-tab": post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"),
        "smuggling-te-space-before-colon": post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
        "smuggling-te-in-http-1.0": post(te, b"0\r\n\r\n", line=b"POST / HTTP/1.0"),
        "smuggling-te-folded": post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"),
        "smuggling-bare-lf": b"GET / HTTP/1.1\nHost: a\n\n",
        "smuggling-bare-lf-in-chunk-line": post(te, b"2;\nxx\r\nhi\r\n0\r\n\r\n"),
        "smuggling-bare-cr-in-value": post(b"X: a\rContent-Length: 5\r\n"),
        "smuggling-chunk-size-2-64": post(te, b"10000000000000002\r\nhi\r\n0\r\n\r\n"),
        "smuggling-chunk-size-of-17-digits": post(te, b"00000000000000002\r\nhi\r\n0\r\n\r\n"),
        "smuggling-bare-cr-in-trailer": post(te, b"0\r\nA: b\r C: d\r\n\r\n"),
        "smuggling-chunk-end-without-cr": post(te, b"2\r\nhi!\n0\r\n\r\n"),
        "smuggling-bare-cr-behind-chunk": post(te, b"2\r\nhi\r0\r\n\r\n"),
        "smuggling-chunk-size-0x": post(te, b"0x2\r\nhi\r\n0\r\n\r\n"),
        "smuggling-chunk-without-crlf": post(te, b"2\r\nhi!!0\r\n\r\n"),
        "nul-in-value": post(b"X: a\0b\r\n"),
        "nul-in-target": b"GET /\0 HTTP/1.1\r\n" + host + b"\r\n",
        "host-missing": b"GET / HTTP/1.1\r\n\r\n",
        "host-twice": b"GET / HTTP/1.1\r\n" + host + host + b"\r\n",
        "host-list": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "two-spaces": b"GET  / HTTP/1.1\r\n" + host + b"\r\n",
        "expectation": post(b"Expect: 200-ok\r\nContent-Length: 1\r\n"),
        "length-required": post(b""),
    }
    for name, data in (accepted | refused).items():
        put("request", name, case(data))
    put("request", "limit-body-over-16", case(post(b"Content-Length: 17\r\n", b"x" * 17), limits=1))
    put("request", "limit-chunks-over-16", case(post(te, b"a\r\n0123456789\r\n7\r\n"), limits=1))
    put("request", "limit-head-of-64", case(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 32 + b"\r\n\r\n", limits=2))
    put("request", "limit-head-over-64", case(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 33 + b"\r\n\r\n", limits=2))
    put("request", "limit-three-fields-of-two", case(b"GET / HTTP/1.1\r\n" + host + b"A: 1\r\nB: 2\r\n\r\n", limits=3))
    put("request", "limit-of-2-64", case(post(te, b"ffffffffffffffff\r\nhi"), limits=4))


def upgrade():
    fields = {
        b"Host": b"server.example.com",
        b"Upgrade": b"websocket",
        b"Connection": b"Upgrade",
        b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version": b"13",
    }

    def head(changes, line=b"GET /chat HTTP/1.1"):
        lines = [name + b": " + value for name, value in (fields | changes).items() if value is not None]
        return b"R" + b"\r\n".join([line, *lines, b"", b""])

    cases = {
        "rfc-1.2": head({b"Origin": b"http://example.com", b"Sec-WebSocket-Protocol": b"chat, superchat"}),
        "firefox": head({b"Connection": b"keep-alive, Upgrade", b"Sec-WebSocket-Extensions": b"permessage-deflate"}),
        "any-case": head({b"Upgrade": b"WebSocket", b"Connection": b"UPGRADE"}),
        "upgrade-among-others": head({b"Upgrade": b"h2c, websocket"}),
        "key-with-bits-left-over": head({b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZR=="}),
        "key-missing": head({b"Sec-WebSocket-Key": None}),
        "key-of-15-bytes": head({b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25j"}),
        "key-unpadded": head({b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ"}),
        "key-url-safe": head({b"Sec-WebSocket-Key": b"--__IHNhbXBsZSBub25jZQ=="}),
        "key-twice": head({b"sec-websocket-key": b"dGhlIHNhbXBsZSBub25jZQ=="}),
        "version-8": head({b"Sec-WebSocket-Version": b"8"}),
        "version-list": head({b"Sec-WebSocket-Version": b"13, 8"}),
        "version-missing": head({b"Sec-WebSocket-Version": None}),
        "connection-keep-alive": head({b"Connection": b"keep-alive"}),
        "version-twice": head({b"sec-websocket-version": b"13"}),
        "connection-close": head({b"Connection": b"close"}),
        "upgrade-missing": head({b"Upgrade": None}),
        "upgrade-other": head({b"Upgrade": b"websocket2"}),
        "post": head({b"Content-Length": b"0"}, line=b"POST /chat HTTP/1.1"),
        "http-1.0": head({}, line=b"GET /chat HTTP/1.0"),
        "body": head({b"Content-Length": b"5"}),
        "body-chunked": head({b"Transfer-Encoding": b"chunked"}),
        "protocol-not-utf8": head({b"Sec-WebSocket-Protocol": b"chat, \xff\xfe,,x"}),
        "changed-nothing": b"S" + bytes(7),
        "changed-extras": b"S" + bytes(7) + b"\x00\x03\x11\x13",
        "changed-key": b"S" + bytes([0, 0, 0, 0, 0, 220]) + b"AQIDBAUGBwgJCgsMDQ4PEA==\x00",
        "changed-twice": b"S" + bytes([0, 0, 0, 0, 0, 250, 0]),
    }
    for name, data in cases.items():
        put("upgrade", name, data)


def hub():
    # Channels 0 to 3, forms 0 and 1; a letter and its digits.
    cases = {
        "one-subscriber-reads-all": b"S00P05P09A R09",
        "reads-in-part": b"S00P05R03R02P0:R09",
        "two-forms": b"S00S01P05P00P01R09D D D",
        "slow-beside-read": b"S00S00P0zP0zP0zR0\x9fR13AP0zAR13A",
        "skip-oldest": b"S00P09P09P09R03O0@M0",
        "skip-to-newest": b"S00S00P09P09P09R03L0M0L1M1A",
        "no-frame-in-one-form": b"S00S01S00P05R09P00P01AR09R19R29",
        "leaves-while-behind": b"S00S00P0zP0zR1\x9fU0A",
        "channel-comes-back": b"S00P05U0S10S00P15P05DDDT0T1",
        "last-of-form-leaves": b"S00S01P05U0DAP05U0",
        "large-frames": b"S00S00P0\x2fP0\x2eP0\x2fR0\xf8AR0\xf8AR1\x2fA",
        "all-channels": b"S00S10S20S30P05P15P25P35AF0F1L2O30A",
        "leaves-in-the-walk": b"S00S00S00S00P05DW0:S00P05DW0>A",
        "stale-logs-trimmed": b"S00P05DU0T0S00P05T0S10P15DT1",
        "excluded-caught-up": b"S00S00X050X051AR09R19A",
        "excluded-alone-in-its-form": b"S00X050S01X050X051AR19",
        "excluded-while-behind": b"S00S00P05X050X070P05X050AR09R09R19A",
        "excluded-inside-a-frame": b"S00S00P09R03X050X050P05F0R09R09",
        "excluded-and-skipping": b"S00S00P09X090P09X090R03O0@M0L0M0AN10M1",
        "excluded-own-pile-up": b"S00S00P05X0z0X0z0AR1\x9fN01M0A",
        "excluded-leaves": b"S00S00P05X050U0S00P05AR09R19",
        "gap-ahead-of-a-reader": b"S01P05G057P05R09R09A",
        "gap-into-another-epoch": b"S01P05G055P05R03F0R09",
        "gaps-one-after-the-other": b"S01P05R09G054G057G050P05G052P05R03",
        "gap-that-is-skipped": b"S01P09G094P09G095P09R03O0@M0",
        "gap-without-a-frame": b"S01S01P05R09G014P05S01R09R19A",
        "gap-between-excluded": b"S01S01P05X050G054X050P05O0@M0R19",
        "notices-after-the-newest": b"S01P09P09G090L0M0N04M0G0z0G0z0N09M0",
        "several-subscriptions-of-an-owner": b"S00S10S20S30S01S00S10P05P15DW0:DW0;A",
    }
    for name, data in cases.items():
        put("hub", name, data.replace(b" ", b""))


def extension():
    def fields(*values, flags=0):
        return bytes([flags]) + b"\n".join(values)

    cases = {
        "chrome": fields(b"permessage-deflate; client_max_window_bits"),
        "firefox": fields(b"permessage-deflate"),
        "context-takeover": fields(b"permessage-deflate", flags=2),
        "context-takeover-not-wanted": fields(b"permessage-deflate; client_no_context_takeover", flags=2),
        "all-parameters": fields(
            b"permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
            b"server_max_window_bits=10; client_max_window_bits=12"
        ),
        "rfc-7692-5.2-two-offers": fields(b"permessage-deflate; server_max_window_bits=9, permessage-deflate"),
        "bits-quoted": fields(b'permessage-deflate; server_max_window_bits="10"'),
        "bits-quoted-and-escaped": fields(b'permessage-deflate ;\tserver_max_window_bits = "1\\0" '),
        "bits-quoted-then-more": fields(b'permessage-deflate; server_max_window_bits="10"1'),
        "bits-of-7": fields(b"permessage-deflate; server_max_window_bits=7, permessage-deflate"),
        "bits-of-16": fields(b"permessage-deflate; client_max_window_bits=16"),
        "bits-with-zero": fields(b"permessage-deflate; server_max_window_bits=08"),
        "bits-with-plus": fields(b"permessage-deflate; server_max_window_bits=+9"),
        "bits-missing": fields(b"permessage-deflate; server_max_window_bits"),
        "bits-empty": fields(b"permessage-deflate; client_max_window_bits="),
        "parameter-twice": fields(b"permessage-deflate; client_max_window_bits; client_max_window_bits=9"),
        "parameter-unknown": fields(b"permessage-deflate; x=y, permessage-deflate"),
        "parameter-missing": fields(b"permessage-deflate;"),
        "value-where-none-is": fields(b"permessage-deflate; server_no_context_takeover=1"),
        "value-empty-where-none-is": fields(b'permessage-deflate; client_no_context_takeover=""'),
        "another-with-commas-quoted": fields(b'foo; bar="a, b; permessage-deflate\\", x", permessage-deflate'),
        "quote-without-end": fields(b'permessage-deflate; x="10, permessage-deflate', b"permessage-deflate"),
        "name-in-capitals": fields(b"Permessage-Deflate"),
        "name-quoted": fields(b'"permessage-deflate"'),
        "empty-elements": fields(b" ,, ,permessage-deflate,", b"", flags=2),
        "words": bytes([3]) + bytes(range(128, 256)),
    }
    for name, data in cases.items():
        put("extension", name, data)


def deflated():
    # Level 6, a window of 2^15, closed after two calls, cut into 3 and 1, stopped as the frames are.
    def case(plan, flags=0, limit=6, level=6, window=6):
        return bytes([flags, limit, level, window, 2, 2, 3, 1, 3, 0x0A, 0x13, 0]) + plan

    # A payload of a kind and a length, one block that ends with a sync flush, one fragment.
    def message(letter=b"T", kind=0, length=20, more=b"", blocks=b"\0\0", fragments=b"\0."):
        return letter + bytes([kind, length]) + more + blocks + fragments

    def edge(length):
        lens = [0, 1, 16, 17, 999, 1000, 1001, 8191, 8192, 8193, 16384, 32768, 32769, 65536, 65537, 150000]
        return 224 + lens.index(length)

    cases = {
        "hello": case(message(kind=2, length=5, more=b"Hello")),
        "empty": case(message(length=0) + message(b"B", length=0)),
        "twice-with-context": case(message() + message() + message(b"B", kind=1), flags=2),
        "twice-without-context": case(message() + message()),
        "fragments-and-pings": case(message(fragments=b"\4p\1\0\3\2") + b"I" + message(b"B"), flags=2),
        "blocks": case(message(length=90, blocks=b"\3\0\1\2\0") + message()),
        "blocks-final": case(message(length=90, blocks=b"\2\3\3\3\3") + message(), flags=2),
        "stored": case(message(length=200) + message(length=200), flags=2, level=0),
        "window-of-512": case(message(kind=4, length=edge(32769)) + message(), flags=2, window=0),
        "not-compressed-between": case(message() + message(b"U", blocks=b"", fragments=b"") + message(), flags=2),
        "close-behind-messages": case(message() + b"C" + message()),
        "spoilt": case(message() + message(b"X", length=90, fragments=b"\x08\x40\2p\5\4") + message(), flags=2),
        "spoilt-noise": case(message(b"X", kind=4, length=200, fragments=b"\x80\xff\0.") + message()),
        # Both blocks are stored; the header of the second is of the type that is none.
        "spoilt-behind-text-not-utf8": case(
            message(b"X", kind=2, length=6, more=b"ab\xffdef", blocks=b"\1\0\0", fragments=b"\x08\x07\0."), level=0
        ),
        "text-not-utf8": case(message(kind=5, length=100, more=b"\0\x32", fragments=b"\4p\1\2\3\4")),
        "text-not-utf8-past-limit-16": case(message(kind=5, length=100, more=b"\0\x32"), limit=2),
        "text-not-utf8-before-limit-16": case(message(kind=5, length=100, more=b"\0\x05"), limit=2),
        "text-ends-inside-character": case(message(kind=2, length=3, more=b"a\xf0\x9f")),
        "text-inside-character-at-limit-16": case(message(kind=2, length=17, more=b"x" * 15 + b"\xc3\xa9"), limit=2),
        "over-limit-0": case(message(kind=1, length=1), limit=1),
        "at-limit-1000": case(message(kind=1, length=edge(1000)) + message(), limit=3),
        "over-limit-1000": case(message(kind=1, length=edge(1001), fragments=b"\1p\4"), limit=3),
        "at-limit-8192": case(message(b"B", kind=1, length=edge(8192)), limit=4),
        "over-limit-8192": case(message(b"B", kind=1, length=edge(8193)), limit=4),
        "at-limit-65536": case(message(b"B", kind=3, length=edge(65536)), limit=5),
        "bomb-over-limit-65536": case(message(b"B", kind=1, length=edge(150000)), limit=5),
        "bomb-of-noughts": case(message(b"B", kind=1, length=edge(150000)), limit=7),
        "steps-of-noughts-in-fragments": case(
            message(b"B", kind=1, length=edge(150000), blocks=b"\3\0\1\2\0", fragments=b"\4p\x20\x20\x20\x20")
            + message()
            + message(b"B", kind=1, length=edge(65537)),
            flags=2,
        ),
        "step-is-the-whole-message": case(message(b"B", kind=1, length=edge(65536)) + message()),
        "message-where-none-is-taken": case(b"I" + message(), limit=0),
        "nothing-agreed": case(message(b"U", blocks=b"", fragments=b"") + message(), flags=1),
    }
    for which, name in enumerate(["ping", "pong", "close", "continuation"]):
        cases[f"rsv1-on-{name}"] = case(message() + b"V" + bytes([which]))
    cases["rsv2"] = case(b"V\4")
    cases["rsv3"] = case(b"V\5")
    for name, data in cases.items():
        put("deflated", name, data)


def event_stream():
    def event(flags, text):
        return bytes([flags, len(text)]) + text

    cases = {
        "id-name-data": event(7, b"tick"),
        "data-alone": event(4, b"hello") + event(4, b""),
        "id-alone": event(1, b"") + event(4, b"after it"),
        "name-alone": event(2, b"tick") + event(4, b"after it"),
        "every-line-end": event(4, b"a\rb\nc\r\nd\n\re"),
        "line-ends-only": event(4, b"\n") + event(4, b"\r") + event(4, b"\r\n") + event(4, b"\n\n"),
        "forged-event": event(5, b"x\n\nevent: forged\nid: 1\ndata: y"),
        "forged-chunk": event(4, b"x\n\n\r\n0\r\n\r\n"),
        "colons-and-spaces": event(4, b": a\n  b\n:\ndata: c"),
        "not-ascii": event(6, "\ufeff\u00fc \u2028\u0085\0".encode()),
        "comment": event(8, b"") + event(4, b"a") + event(8, b" said"),
    }
    for name, data in cases.items():
        put("event_stream", name, data)


def pusher_session():
    everything, two_channels, one_event, text = b"\x07", b"\x0f", b"\x17", b"\x27"
    cases = {
        "ping-and-pong": everything + b"P0P1",
        "public": everything + b"S00S00U0U0S60",
        "private-and-wrong-signature": everything + b"W10S10W10U1S10",
        "private-with-channel-data": everything + b"S12S35",
        "presence": everything + b"S21U2S22U2S23S24U2S25S26S27",
        "presence-as-signed-in-user": everything + b"S20I1S20I0I1",
        "presence-with-info-too-long": everything + b"I2S20S50S57",
        "channel-of-a-user": everything + b"S40I0S40S90U4S40",
        "sign-in-refused": everything + b"J0I3I4I5I1J1",
        "no-watchlists": b"\x03I1",
        "names-of-no-channel": everything + b"S;0S<0S=0U;",
        "limit-of-channels": two_channels + b"S00S10S20S00U0S60",
        "client-events": everything + b"S10S22S30E10E11E12E13E14E15E16E17E20E30E70",
        "client-events-off": b"\x00S10E10",
        "client-events-in-encrypted": b"\x01S30S80E30E80",
        "client-events-elsewhere": everything + b"S00E00E:0E;0E40E10",
        "rate": one_event + b"S10E10E10T9E10T1E10E10",
        "rate-in-the-first-second": one_event + b"T9S10E10T1E10T8E10T1E10",
        "leave-and-join-in-one-turn": everything + b"S10U1S10U1E10S10E10",
        "data-as-text": text + b"S10S21I0E10U1W10",
        "cut": everything + b"C\x80S10C1S10C\x00P0C\x50I0S10",
        "spoilt": everything + b"X\x40xS10X\x60\"S21X\x30{I0X\x05\\P0X\xff\xffS10",
        "any-text": everything + b"R\x02{}R\x00R\x18" + b'{"event":"pusher:ping"}x' + b"R\x05[[[[[",
        "duplicate-names": everything + b"R\x2e" + b'{"event":"pusher:ping","event":"pusher:signin"}',
    }
    for name, data in cases.items():
        put("pusher_session", name, data)


def pusher_presence():
    # Joins without info are 1, with it 3; leaves are 0; the user is in the bits above; the last has a name of its own.
    def user(number, operation):
        return bytes([number << 2 | operation])

    cases = {
        "one-comes-and-goes": user(0, 3) + user(0, 0),
        "two-connections-of-a-user": user(0, 3) + user(0, 1) + user(0, 0) + user(0, 0) + user(0, 0),
        "first-info-stays": user(0, 1) + user(0, 3) + user(0, 0),
        "all-users": b"".join(user(number, 3) for number in range(7)),
        "name-of-its-own": user(7, 3) + b"\x03a\"b" + user(7, 1) + b"\x03a\"b" + user(7, 0) + b"\x03a\"b",
        "called-nobody": b"\x1e\x03\x03\x01\xff\xff\xffnobody",
        "leaves-and-was-none": user(1, 0) + user(1, 3) + user(2, 0),
    }
    for name, data in cases.items():
        put("pusher_presence", name, data)


def pusher_rest():
    event = b'{"name":"e","data":"x","channels":["a"]}'

    def case(line, body=b"", flags=0, clock=128):
        return bytes([flags, clock]) + line + b"\n" + body

    def post(path, body=event, more=b"", **options):
        return case(b"POST " + path + b"?\3&body_md5=\2" + more + b"&auth_signature=\1", body, **options)

    def get(path, more=b"", **options):
        return case(b"GET " + path + b"?\3" + more + b"&auth_signature=\1", **options)

    batch = b'{"batch":[{"name":"e","data":"x","channel":"a","info":"user_count"},{"name":"f","data":"","channel":"b"}]}'
    cases = {
        "event": post(b"/apps/3/events"),
        "event-in-query": case(b"POST /apps/3/events?\3&name=e&data=x&channels[]=a&channels[]=b&auth_signature=\1"),
        "event-by-the-other-secret": post(b"/apps/3/events", flags=1),
        "event-of-an-object": post(b"/apps/3/events", b'{"name":"e","data":{"a":[1]},"channel":"a"}'),
        "batch": post(b"/apps/3/batch_events", batch),
        "digest-of-an-empty-body": get(b"/apps/3/channels", b"&body_md5=\2"),
        "digest-of-another-body": case(b"POST /apps/3/events?\3&body_md5=abc&auth_signature=\1", event),
        "channels": get(b"/apps/3/channels", b"&filter_by_prefix=presence-&info=user_count"),
        "channels-spaced": get(b"/apps/3/channels", b"&filter_by_prefix=a+b%20c%2Bd", flags=8),
        "channel": get(b"/apps/3/channels/presence-cache-a", b"&info=user_count,subscription_count,cache"),
        "users": get(b"/apps/3/channels/presence-a/users"),
        "stats": get(b"/apps/3/channels/a/stats"),
        "raw-event": post(b"/apps/3/channels/a/events", b"{}", b"&name=e&socket_id=1.2"),
        "terminate": post(b"/apps/3/users/u/terminate_connections", b"{}"),
        "terminate-by-key": post(b"/users/u1@x/terminate_connections", b"{}"),
        "path-decoded": post(b"/apps/3/users/a%20b/terminate_connections", b"{}", flags=4),
        "prefix": post(b"/ws/apps/3/events"),
        "prefix-not-signed": post(b"/ws/apps/3/events", flags=2),
        "names-in-capitals": case(b"GET /apps/3/channels?AUTH_KEY=key&Auth_Timestamp=1353088179&auth_version=1.0&Auth_Signature=\1"),
        "key-twice": get(b"/apps/3/channels", b"&auth_key=key"),
        "late": get(b"/apps/3/channels", clock=203),
        "too-late": get(b"/apps/3/channels", clock=204),
        "early": get(b"/apps/3/channels", clock=53),
        "too-early": get(b"/apps/3/channels", clock=52),
        "not-utf8": get(b"/apps/3/channels/%ff", b"&info=%ff&%ff=1"),
    }
    for name, data in cases.items():
        put("pusher_rest", name, data)


def pusher_fallback():
    publish, flush, deliver, come = 0, 1, 2, 3

    def case(body=b"[]", *operations):
        return bytes([len(body)]) + body + bytes(byte for operation in operations for byte in operation)

    stream, poll, write, read = (come, 0), (come, 1), (flush, 0), (deliver, 254)
    long = [(publish, 250), write, read]
    cases = {
        "stream": case(b'["a"]', stream, (publish, 1), write, read),
        "poll": case(b'["a","b"]', poll, read, (publish, 1), poll, write, read),
        "rotation": case(b"[]", stream, *(long * 40), stream, *(long * 40), stream),
        "rotation-in-pieces": case(b"[]", stream, *[(publish, 251), (publish, 252)] * 30, *[write, (deliver, 90), (deliver, 7)] * 60, stream, write),
        "stream-then-poll": case(b"[]", stream, *(long * 40), poll, write, read, stream),
        "published-before-anything-comes": case(b"[]", (publish, 9), (publish, 8), poll, write, read),
        "second-while-the-first-is-read": case(b"[]", stream, stream, poll, (publish, 3), write, poll, read),
        "post-is-no-array": case(b'{"a":1}'),
        "post-of-numbers": case(b"[1]"),
        "post-lone-surrogate": case(b'["\\ud800"]'),
        "post-pair": case(b'["\\ud83d\\ude00"]'),
        "post-cut": case(b'["a"'),
        "post-more": case(b'["a"]x'),
        "post-not-utf8": case(b'["\xff"]'),
    }
    for name, data in cases.items():
        put("pusher_fallback", name, data)


def token():
    at = 1790000000

    def case(header, claims, form=1, clock=0):
        return bytes([form, clock]) + header + b"\n" + claims

    def claims(more=b"", fanfare=b"", exp=at + 3600, iat=at):
        return b'{"exp":%d,"iat":%d%s,"fanfare":{%s}}' % (exp, iat, more, fanfare)

    hs256, eddsa = b'{"alg":"HS256"}', b'{"alg":"EdDSA","kid":"a-eddsa"}'
    lists = b'"subscribe":["news","chat-*","?"],"publish":["chat-7"],"presence":["*"],"info":{ "a b":[1.0,"\\" "] },"stay":60.5'
    cases = {
        "all": case(hs256, claims(b',"sub":"u42","jti":"9f2c","aud":["fanfare","x"],"nbf":%d' % at, lists)),
        "eddsa": case(eddsa, claims(b',"sub":"u42"', lists), form=2),
        "ed25519": case(b'{"alg":"Ed25519"}', claims(), form=2),
        "of-another-secret": case(hs256, claims(), form=3),
        "of-another-key": case(eddsa, claims(), form=1),
        "none": case(b'{"alg":"none"}', claims()),
        "no-alg": case(b"{}", claims()),
        "alg-unknown": case(b'{"alg":"HS512"}', claims()),
        "kid": case(b'{"alg":"HS256","kid":"a-hs256","typ":"JWT"}', claims()),
        "kid-unknown": case(b'{"alg":"HS256","kid":"b"}', claims()),
        "kid-no-text": case(b'{"alg":"HS256","kid":null}', claims()),
        "jku": case(b'{"alg":"HS256","jku":"https://example.test"}', claims()),
        "crit": case(b'{"alg":"HS256","crit":["b64"],"b64":false}', claims()),
        "alg-twice": case(b'{"alg":"none","alg":"HS256"}', claims()),
        "exp-twice": case(hs256, claims(b',"exp":9')),
        "expires": case(hs256, claims(exp=at + 90), clock=1),
        "expired": case(hs256, claims(exp=at + 90), clock=1).replace(b"90,", b"89,"),
        "not-yet": case(hs256, claims(), clock=255),
        "nbf": case(hs256, claims(b',"nbf":%d' % (at + 31))),
        "fraction": case(hs256, claims(b',"nbf":1.7e9').replace(b"3600", b"3600.75")),
        "life-too-long": case(hs256, claims(exp=at + 86401)),
        "milliseconds": case(hs256, claims(exp=at * 1000)),
        "no-fanfare": case(hs256, b'{"exp":%d,"iat":%d}' % (at + 60, at)),
        "fanfare-list": case(hs256, b'{"exp":%d,"iat":%d,"fanfare":[]}' % (at + 60, at)),
        "sub-empty": case(hs256, claims(b',"sub":""')),
        "sub-of-201": case(hs256, claims(b',"sub":"%s"' % (b"x" * 201))),
        "globs-64": case(hs256, claims(fanfare=b'"subscribe":[%s]' % b",".join([b'"*a?*"'] * 64))),
        "globs-65": case(hs256, claims(fanfare=b'"publish":[%s]' % b",".join([b'"a"'] * 65))),
        "glob-number": case(hs256, claims(fanfare=b'"presence":[1]')),
        "info-of-1025": case(hs256, claims(fanfare=b'"info":"%s"' % (b"x" * 1023))),
        "info-null": case(hs256, claims(fanfare=b'"info":null')),
        "deep": case(hs256, b'{"a":' + b"[" * 200 + b"]" * 200 + b"}"),
        "not-utf8": case(hs256, claims(b',"sub":"\xff"')),
        "surrogate": case(hs256, claims(b',"sub":"\\ud800"')),
        "too-long": case(hs256, claims() + b" " * 4000),
        "key": b"\0\0fk_billing_x",
        "dots": b"\0\0eyJ..",
        "five-parts": b"\0\0eyJ.a.b.c.d",
    }
    for name, data in cases.items():
        put("token", name, data)
    recorded = Path(__file__).parent.parent / "tests" / "tokens" / "recorded.txt"
    for line in recorded.read_text().splitlines():
        library, algorithm, text = line.split()
        put("token", f"{library}-{algorithm}", b"\0\0" + text.encode())


def commands():
    def case(text, channels_max=5):
        return bytes([channels_max]) + (text.encode() if isinstance(text, str) else text)

    def command(event, data, more=',"ref":1'):
        return case('{"event":"fanfare:%s"%s,"data":%s}' % (event, more, data))

    def publish(more):
        return case('{"channel":"chat-7","ref":2,%s}' % more)

    three = '[{"channel":"news","since":"8c1f5d0e7a21-7"},{"channel":"chat-7","last":10,"presence":true},{"channel":"ops"}]'
    cases = {
        "subscribe": command("subscribe", three),
        "subscribe-to-too-many": case('{"event":"fanfare:subscribe","data":%s}' % three, 2),
        "subscribe-to-none": command("subscribe", "[]"),
        "subscribe-from-now": command("subscribe", '[{"channel":"a","since":"","presence":false}]'),
        "subscribe-twice": command("subscribe", '[{"channel":"a"},{"channel":"\\u0061"}]'),
        "subscribe-in-part": command("subscribe", '[{"channel":"7/a"},{"channel":"@fanfare.a"},{"channel":"a","sinc":1},{"channel":"b"}]'),
        "subscribe-from-two-positions": command("subscribe", '[{"channel":"a","since":"b-1","last":1}]'),
        "subscribe-without-object": command("subscribe", '["a"]'),
        "subscribe-with-names-twice": command("subscribe", '[{"channel":"a","last":1,"last":2},{"channel":"b","channel":"c"}]'),
        "last-of-all-kinds": command("subscribe", '[{"channel":"a","last":-0},{"channel":"b","last":1e1},{"channel":"c","last":18446744073709551616}]'),
        "unsubscribe": command("unsubscribe", '["news","a b",""]', ',"ref":"\\u0041"'),
        "history": command("history", '{"channel":"news","last":1}'),
        "history-since": command("history", '{"channel":"news","since":"a-3"}', ""),
        "history-of-nothing": command("history", '{"channel":"news"}'),
        "presence": command("presence", '{"channel":"chat-7"}'),
        "authorize": command("authorize", '{"token":"eyJ.e.s"}'),
        "authorize-without-token": command("authorize", '{"token":""}'),
        "no-command": command("subscribed", "[]"),
        "event-of-another-protocol": publish('"event":"pusher:ping","data":1'),
        "publish-text": publish('"event":"say","key":"7f3a","data":"h\\n\\ud83d\\ude00"'),
        "publish-json": publish('"id":"a-1","data":{"p": 1.50,"p":[null]}'),
        "publish-null": publish('"event":null,"key":null,"encoding":null,"data":null'),
        "publish-base64": publish('"data":"AP8=","encoding":"base64"'),
        "publish-base64-with-loose-bits": publish('"data":"AP9=","encoding":"base64"'),
        "publish-no-base64": publish('"data":1,"encoding":"base64"'),
        "publish-in-another-encoding": publish('"data":"ff","encoding":"hex"'),
        "publish-with-key-of-two-words": publish('"data":1,"key":"a b"'),
        "publish-nothing": publish('"event":"a"'),
        "publish-nowhere": case('{"ref":[1],"data":1}'),
        "reference-too-long": case('{"channel":"a","ref":"%s","data":1}' % ("a" * 65)),
        "reference-as-long-as-may-be": case('{"channel":"a","ref":%s,"data":1}' % ("1" * 64)),
        "reference-twice": case('{"event":1,"event":2,"ref":1,"ref":2}'),
        "half-of-a-pair": publish('"data":["\\ud83d"]'),
        "half-of-a-pair-in-a-name": case('{"\\ud83d":1,"ref":1}'),
        "half-of-a-pair-in-the-reference": case('{"channel":"a","ref":"\\ude00","data":1}'),
        "number-beyond": publish('"data":-1e309'),
        "number-of-400-digits": publish('"data":' + "9" * 400),
        "nested-100-deep": publish('"data":' + "[" * 99 + "]" * 99),
        "nested-101-deep": publish('"data":' + "[" * 100 + "]" * 100),
        "nested-too-deep-for-the-stack": publish('"data":' + "[" * 20000 + "]" * 20000),
        "list": case("[]"),
        "no-json": case("hello"),
        "no-json-behind-json": case("{} {}"),
        "cut": case('{"event":"fanfare:subscribe","ref":1,"data":[{"chan'),
        "white-space": case(' {\n"ref" :\t1 , "event": "fanfare:presence" , "data" : { "channel" : "a" } }\r\n'),
        "not-utf8": case(b'{"channel":"a","data":"\xff"}'),
    }
    for name, data in cases.items():
        put("commands", name, data)


def batch():
    # As bodies/batch.rs reads it: whether items are on lines, then the text.
    def case(text, lines=False):
        return bytes([lines]) + text.encode()

    cases = {
        "list": case('[{"channel":"news","data":"hi"},{"channels":["a","b"],"event":"tick","data":{"p":1},"key":"7f3a"}]'),
        "lines": case('{"channel":"a","data":1}\r\n\n{"channel":"b","data":null}\n', True),
        "binary": case('[{"channel":"a","encoding":"base64","data":"/wA="}]'),
        "escaped": case('[{"channel":"\\u0061","data":"\\u00fc\\ud83d\\ude00","key":"\\u006b"}]'),
        "none": case("[]"),
        "no-list": case('{"channel":"a","data":1}'),
        "both": case('[{"channel":"a","channels":["b"],"data":1}]'),
        "neither": case('[{"data":1}]'),
        "twice": case('[{"channels":["a","\\u0061"],"data":1}]'),
        "second-is-wrong": case('[{"channel":"a","data":1},2]'),
        "half-a-pair": case('[{"channel":"a","data":"\\ud800"}]'),
        "out-of-range": case('[{"channel":"a","data":1e999}]'),
        "reserved": case('[{"channel":"@fanfare.a","data":1}]'),
        "too-many": case("[%s]" % ",".join(['{"channel":"a","data":1}'] * 101)),
        "too-many-lines": case('{"channel":"a","data":1}\n' * 101, True),
        "too-many-in-all": case("[%s]" % ",".join(['{"channels":[%s],"data":1}' % ",".join('"%d"' % n for n in range(100))] * 11)),
    }
    for name, data in cases.items():
        put("batch", name, data)


shutil.rmtree(CORPUS, ignore_errors=True)
def forwarded():
    # As bodies/forwarded.rs numbers what proxies write; the byte before an element is what ends the one before it.
    def case(elements, trusted=0, peer=0):
        return bytes([trusted, peer]) + b"".join(elements)

    def element(number, ending=2):
        return bytes([ending, number])

    def text(bytes_, ending=2):
        return bytes([ending, 255, len(bytes_)]) + bytes_

    cases = {
        "client": case([element(1, 1)]),
        "client-behind-two": case([element(1, 1), element(0), element(3)]),
        "left-end-is-the-clients": case([text(b"6.6.6.6", 1), element(1), element(0)]),
        "several-fields": case([text(b"6.6.6.6", 1), element(1, 0), element(0, 0)]),
        "unknown": case([element(1, 1), element(2), element(0)]),
        "empty": case([element(1, 1), element(26), element(0)]),
        "untrusted-peer": case([element(1, 1)], peer=3),
        "nobody-trusted": case([element(1, 1)], trusted=1),
        "everybody-trusted": case([element(1, 1), element(0)], trusted=4),
        "mapped-network": case([element(1, 1), element(22)], trusted=3),
        "mapped-peer": case([element(1, 1)], peer=1),
        "ipv6-with-port": case([element(1, 1), element(11)], trusted=2, peer=2),
        "zone": case([element(1, 1), element(18)], trusted=3, peer=4),
        "percent-after-a-port": case([element(0), text(b":0%0", 1)]),
        "not-utf8": case([text(b"6.6.6.6,\xff", 1), element(0)]),
        "quotes": case([text(b'"203.0.113.9:1"', 1), element(5)]),
    }
    for number in range(28):
        cases[f"element-{number:02}"] = case([text(b"203.0.113.9", 1), element(number)], trusted=2)
    for name, data in cases.items():
        put("forwarded", name, data)


def proxy_header():
    signature = b"\r\n\r\n\0\r\nQUIT\n"

    def case(data, cuts=b"\1\3"):
        return b"\0" + bytes([len(cuts)]) + cuts + data

    def binary(after, command=0x21, family=0x11):
        return signature + bytes([command, family]) + len(after).to_bytes(2, "big") + after

    v4 = bytes([203, 0, 113, 9, 127, 0, 0, 1, 4, 210, 0, 80])
    v6 = bytes.fromhex("20010db8" + "00" * 11 + "09" + "00" * 15 + "01" + "04d20050")
    get = b"GET / HTTP/1.1\r\n\r\n"
    longest = b" ".join([b"ffff:" * 7 + b"ffff"] * 2)
    cases = {
        "v1-tcp4": b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n" + get,
        "v1-tcp6": b"PROXY TCP6 2001:db8::9 ::1 56324 443\r\n" + get,
        "v1-tcp6-mapped": b"PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n",
        "v1-tcp6-longest": b"PROXY TCP6 " + longest + b" 65535 65535\r\n",
        "v1-unknown": b"PROXY UNKNOWN\r\n" + get,
        "v1-unknown-longest": b"PROXY UNKNOWN " + longest + b" 65535 65535\r\n",
        "v1-unknown-too-long": b"PROXY UNKNOWN " + longest + b" 65535 65535 \r\n",
        "v1-no-end": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2",
        "v1-lf": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n" + get * 6,
        "v1-two-spaces": b"PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n",
        "v1-port-65536": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        "v1-port-zero-ahead": b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
        "v1-other-family": b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        "http": get,
        "tls": b"\x16\x03\x01\x00\xa5",
        "v2-tcp4": binary(v4) + get,
        "v2-udp4": binary(v4, family=0x12) + get,
        "v2-tcp6": binary(v6, family=0x21) + get,
        "v2-unix": binary(b"/" * 216, family=0x31) + get,
        "v2-tlvs": binary(v4 + b"\x04\x00\x03abc\xea\x00\x01x") + get,
        "v2-local": binary(b"", command=0x20, family=0) + get,
        "v2-local-with-addresses": binary(v4, command=0x20) + get,
        "v2-unspec": binary(b"abc", family=0) + get,
        "v2-longest": binary(v4 + b"z" * (65535 - len(v4))) + get,
        "v2-cut": binary(v4)[:-1],
        "v2-version-3": binary(v4, command=0x31),
        "v2-command-2": binary(v4, command=0x22),
        "v2-family-4": binary(v4, family=0x41),
        "v2-short-for-ipv4": binary(v4[:-1]),
        "v2-short-for-ipv6": binary(v4, family=0x21),
        "v2-signature-broken": binary(v4).replace(b"QUIT", b"QUIX"),
    }
    for name, data in cases.items():
        put("proxy_header", name, case(data))
    put("proxy_header", "planned-line", b"\1\0" + bytes([5, 0, 0, 0, 3, 0, 3, 0, 6, 0, 6, 0]) + get)
    put("proxy_header", "planned-binary", b"\3\0" + bytes([0, 0, 0, 12, 0, 0]) + v4 + get)


def redis_reply():
    # The bounds (0: wide, 1: narrow), cuts, then the bytes of a connection.
    def case(data, narrow=0, cuts=b"\1\3"):
        return bytes([narrow, len(cuts)]) + cuts + data

    shard = b"%2\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n$5\r\nnodes\r\n*1\r\n%1\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
    cases = {
        "hello": b"%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$7\r\nmodules\r\n*0\r\n",
        "subscribed-and-opened": b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$1\r\ne\r\n:7\r\n_\r\n",
        "published": b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\n\r\n\0$3\r\n:1\r\n",
        "fields": b"*4\r\n$2\r\ne1\r\n$-1\r\n$0\r\n\r\n$3\r\nabc\r\n",
        "shards": b"*1\r\n" + shard,
        "errors": b"-NOSCRIPT No matching script.\r\n!9\r\nERR a\r\nb\r\n-MOVED 1 :2\r\n",
        "scalars": b"+\r\n_\r\n*-1\r\n#t\r\n#f\r\n,-inf\r\n,1.5e3\r\n(-12345678901234567890\r\n=5\r\ntxt:a\r\n~1\r\n:-9\r\n",
        "attributes": b"|1\r\n+a\r\n*1\r\n:0\r\n*2\r\n|0\r\n:1\r\n|1\r\n+a\r\n+b\r\n:2\r\n",
        "depth-8": b"*1\r\n" * 8 + b":1\r\n",
        "depth-9": b"*1\r\n" * 9 + b":1\r\n",
        "depth-bomb": b"*1\r\n" * 500,
        "huge-list": b"*9223372036854775807\r\n",
        "huge-map": b"%4611686018427387904\r\n",
        "huge-text": b"$9223372036854775807\r\n",
        "length-overflow": b"$18446744073709551616\r\n",
        "length-negative": b"$-2\r\n",
        "number-overflow": b":9223372036854775808\r\n",
        "lf-alone": b"+OK\n:1\r\n",
        "cr-inside": b"+a\rb\r\n",
        "text-without-end": b"$3\r\nabcd\r\n",
        "streamed": b"$?\r\n;4\r\nabcd\r\n;0\r\n",
        "push-inside": b"*1\r\n>1\r\n+a\r\n",
        "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    }
    for name, data in cases.items():
        put("redis_reply", name, case(data))
    put("redis_reply", "narrow-text", case(b"$16\r\n0123456789abcdef\r\n$17\r\n", 1))
    put("redis_reply", "narrow-reply", case(b"*5\r\n" + b"$16\r\n0123456789abcdef\r\n" * 5, 1))
    put("redis_reply", "narrow-attributes", case(b"|0\r\n" * 40, 1))


def tls_receive():
    # Version, cuts, the changed byte and how, the room of the socket, then steps.
    def case(steps, version=0, cuts=b"", change=(0, 0), room=0):
        at, how = change
        return bytes([version, len(cuts)]) + cuts + at.to_bytes(2, "big") + bytes([how, room]) + bytes(steps)

    say, say_much, renew, owe, carry, answer = range(6)
    talk = [carry, 0, carry, 0, say, 200, renew, 1, carry, 0, owe, 9, answer, 0, say_much, 200, carry, 0]
    for version in (0, 1):
        put("tls_receive", f"whole-{version}", case(talk, version))
        put("tls_receive", f"byte-by-byte-{version}", case(talk, version, b"\1"))
        put("tls_receive", f"request-with-finished-{version}", case([say, 100, carry, 0, carry, 0], version, b"\7\1"))
        put("tls_receive", f"slow-socket-{version}", case(talk, version, b"\x50", room=1))
    put("tls_receive", "many-renewals", case([carry, 0, carry, 0] + [renew, 1, say, 1] * 9 + [carry, 0], 0, b"\x1b\1"))
    put("tls_receive", "much-is-owed", case([carry, 0, carry, 0] + [owe, 255] * 12, 0, b"\x50", room=1))
    # In the hello, in the handshake, and in data.
    for at in (6, 60, 300, 420, 700, 2000):
        put("tls_receive", f"changed-{at}", case(talk, 0, b"\x20", (at, 0x40)))


def stored_record():
    def text(text):
        return len(text).to_bytes(4, "big") + text

    def record(kinds, after=b"", payload=b"hi"):
        return b"\1" + bytes([1, kinds]) + after + payload

    owner = (3).to_bytes(8, "big") + (258).to_bytes(8, "big")
    cases = {
        "text": record(0x00),
        "json": record(0x01, payload=b"{}"),
        "binary": record(0x02, payload=b"\xff\x00"),
        "event": record(0x04, text("\u00e9".encode())),
        "client": record(0x2D, text(b"client-x") + text(b"1.2") + text(b"n1") + owner),
        "user-of-another-node": record(0x35, text(b"client-x") + text(b"7") + text(b"1.2") + text(b"n2") + owner),
        "socket": record(0x40, text(b"12.34")),
        "socket-of-none": record(0x40, text(b"01.2")),
        "protocol": record(0x1C, text(b"pusher_internal:member_added")),
        "reserved-event": record(0x04, text(b"pusher:x")),
        "event-of-201": record(0x04, text(b"e" * 201)),
        "unused-bit": record(0x80),
        "content-3": record(0x03),
        "excluded-3": record(0x60),
        "not-utf-8": record(0x00, payload=b"\xff"),
        "length-of-4-gib": record(0x04, b"\xff\xff\xff\xff"),
        "cut": record(0x0C, text(b"client-x") + b"\0\0"),
        "other-version": b"\1\2\0hi",
        "stored": b"\x0011700000000123\1\0hi",
        "stored-version-2": b"\x0021700000000123\1\0hi",
        "stored-time": b"\x001170000000012x\1\0hi",
        "stored-short": b"\x00117000",
        "message": b"\2abcdefabcdef-17 11700000000123\1\0hi",
        "message-longest-id": b"\2ffffffffffffffff-18446744073709551615 x",
        "message-no-id": b"\2abcdefabcdef-017 x",
        "known": b"\3000102030405060708090a0b0c0d0e0f abcdefabcdef-17 a:1:2;b:3:4;",
        "known-short": b"\3000102030405060708090a0b0c0d0e0f abcdefabcdef-17",
    }
    for name, data in cases.items():
        put("stored_record", name, data)


for target in (frames, mask, utf8, request, upgrade, hub, extension, deflated, event_stream, pusher_session, pusher_presence, pusher_rest, pusher_fallback, token, commands, batch, forwarded, proxy_header, redis_reply, stored_record, tls_receive):
    target()

"""A scripted HTTP/2 origin: python's h2 over TLS with ALPN, or by prior knowledge. What a path
does stands in PATHS. Each request's head goes to the test, one line of JSON each; each line on
standard input lets `/events` send one more event."""

import argparse
import asyncio
import hashlib
import json
import os
import struct
import threading
import urllib.parse

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from peer import LIFETIME_S_MAX, say, server_tls

PIECE = 16 * 1024
CLOSE, PING, PONG = 8, 9, 10


class Exchange:
    """One stream: the request as it came, and the ways to answer it."""

    def __init__(self, connection, stream, headers):
        self.connection, self.stream = connection, stream
        self.headers = headers
        self.head = dict(headers)
        self.url = urllib.parse.urlsplit(self.head.get(":path", ""))
        self.query = dict(urllib.parse.parse_qsl(self.url.query))
        self.body = asyncio.Queue()
        self.trailers = []
        self.window = asyncio.Event()

    async def piece(self):
        """The next bytes of the body; None at its end."""
        data, length = await self.body.get()
        if data is not None:
            self.connection.h2.acknowledge_received_data(length, self.stream)
            self.connection.flush()
        return data

    async def whole(self):
        held = b""
        while (data := await self.piece()) is not None:
            held += data
        return held

    def respond(self, status, headers=(), end=False):
        head = [(":status", str(status)), *headers]
        self.connection.h2.send_headers(self.stream, head, end_stream=end)
        self.connection.flush()

    async def send(self, data, end=False):
        """Sends as fast as the windows allow."""
        codec = self.connection.h2
        while data:
            room = codec.local_flow_control_window(self.stream)
            if room <= 0:
                self.window.clear()
                await self.window.wait()
                continue
            size = min(room, codec.max_outbound_frame_size, len(data))
            codec.send_data(self.stream, data[:size])
            data = data[size:]
            await self.connection.drain()
        if end:
            codec.end_stream(self.stream)
            await self.connection.drain()

    async def answer(self, body, *headers):
        length = ("content-length", str(len(body)))
        self.respond(200, [length, *headers], end=not body)
        if body:
            await self.send(body, end=True)


def pattern(size):
    """Bytes that tell where they belong."""
    return (b"".join(struct.pack("!I", i) for i in range(size // 4 + 1)))[:size]


async def hello(exchange):
    await exchange.whole()
    await exchange.answer(b"hello over two", ("content-type", "text/plain"))


async def echo(exchange):
    """Gives the body back as it comes."""
    exchange.respond(200, [("content-type", "application/octet-stream")])
    while (data := await exchange.piece()) is not None:
        await exchange.send(data)
    await exchange.send(b"", end=True)


async def told(exchange):
    """Tells what came."""
    body = await exchange.whole()
    found = {
        "headers": exchange.headers,
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "trailers": exchange.trailers,
    }
    await exchange.answer(json.dumps(found).encode(), ("content-type", "application/json"))


async def sized(exchange):
    """`?n=` bytes with their length told before."""
    await exchange.whole()
    body = pattern(int(exchange.query["n"]))
    if exchange.head[":method"] == "HEAD":
        exchange.respond(200, [("content-length", str(len(body)))], end=True)
    else:
        await exchange.answer(body)


async def unsized(exchange):
    """The same without."""
    await exchange.whole()
    exchange.respond(200)
    await exchange.send(pattern(int(exchange.query["n"])), end=True)


async def hints(exchange):
    """Early hints before the answer."""
    await exchange.whole()
    exchange.respond(103, [("link", "</style.css>; rel=preload; as=style")])
    await exchange.answer(b"hinted")


async def trailers(exchange):
    await exchange.whole()
    exchange.respond(200, [("trailer", "x-digest")])
    await exchange.send(b"with trailers")
    ends = [("x-digest", hashlib.sha256(b"with trailers").hexdigest())]
    exchange.connection.h2.send_headers(exchange.stream, ends, end_stream=True)
    exchange.connection.flush()


async def status(exchange):
    """`/status/NNN`: that status and no body."""
    await exchange.whole()
    exchange.respond(int(exchange.url.path.rsplit("/", 1)[1]), [("etag", '"e"')], end=True)


async def hang(exchange):
    await asyncio.sleep(LIFETIME_S_MAX)


async def early(exchange):
    """Answers without reading the body, and asks for no more of it (RFC 9113, section 8.1)."""
    exchange.respond(413, end=True)
    exchange.connection.h2.reset_stream(exchange.stream, h2.errors.ErrorCodes.NO_ERROR)
    exchange.connection.flush()


async def events(exchange):
    """One server-sent event for each line on standard input."""
    exchange.respond(200, [("content-type", "text/event-stream"), ("cache-control", "no-store")])
    for number in range(int(exchange.query.get("n", 3))):
        await turns.get()
        await exchange.send(f"id: {number}\ndata: event {number}\n\n".encode())
    await exchange.send(b"", end=True)


async def refused(exchange):
    """Refuses each path once, as a server does that is about to restart."""
    path = exchange.head[":path"]
    if path not in refusals:
        refusals.add(path)
        code = h2.errors.ErrorCodes.REFUSED_STREAM
        exchange.connection.h2.reset_stream(exchange.stream, code)
        exchange.connection.flush()
        return
    await exchange.answer(b"taken at last")


async def goaway(exchange):
    """Answers, and takes no further stream on this connection."""
    await exchange.whole()
    exchange.connection.h2.close_connection(last_stream_id=exchange.stream)
    # The codec sends nothing behind GOAWAY, so the answer is written frame by frame.
    head = exchange.connection.h2.encoder.encode([(":status", "200"), ("content-length", "4")])
    frames = frame(1, 4, exchange.stream, head) + frame(0, 1, exchange.stream, b"last")
    exchange.connection.writer.write(exchange.connection.h2.data_to_send() + frames)
    await exchange.connection.writer.drain()


def frame(kind, flags, stream, payload):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


async def websocket(exchange):
    """RFC 8441: gives back each message, the closing handshake included."""
    if exchange.head.get(":protocol") != "websocket":
        exchange.respond(400, end=True)
        return
    offered = exchange.head.get("sec-websocket-protocol", "").split(",")[0].strip()
    exchange.respond(200, [("sec-websocket-protocol", offered)] if offered else [])
    held, code = b"", 1006
    while (data := await exchange.piece()) is not None:
        held += data
        while (parsed := websocket_frame(held)) is not None:
            first, payload, held = parsed
            if first & 0x0F == PING:
                first = first & 0xF0 | PONG
            await exchange.send(websocket_head(first, len(payload)) + payload)
            if first & 0x0F == CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if payload else 1005
        # RFC 6455, section 7.1.1: the server is the first to close.
        if code != 1006:
            break
    say(closed=exchange.url.path, code=code)
    await exchange.send(b"", end=True)


def websocket_frame(held):
    """The first whole frame of a client: its first byte, payload unmasked, and the rest."""
    if len(held) < 2:
        return None
    size, at = held[1] & 0x7F, 2
    if size >= 126:
        wide = 2 if size == 126 else 8
        size, at = int.from_bytes(held[2 : 2 + wide], "big"), 2 + wide
    if len(held) < at + 4 + size:
        return None
    mask, payload = held[at : at + 4], held[at + 4 : at + 4 + size]
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    payload = (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
    return held[0], payload, held[at + 4 + size :]


def websocket_head(first, size):
    if size < 126:
        return struct.pack("!BB", first, size)
    if size < 65536:
        return struct.pack("!BBH", first, 126, size)
    return struct.pack("!BBQ", first, 127, size)


PATHS = {
    "/hello": hello,
    "/echo": echo,
    "/told": told,
    "/sized": sized,
    "/unsized": unsized,
    "/hints": hints,
    "/trailers": trailers,
    "/status": status,
    "/hang": hang,
    "/early": early,
    "/events": events,
    "/refused": refused,
    "/goaway": goaway,
    "/ws": websocket,
}


class Connection:
    """One connection; each of its streams is a task."""

    def __init__(self, reader, writer, streams):
        self.reader, self.writer = reader, writer
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="latin-1")
        )
        self.h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: streams,
                h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 65535,
            },
        )
        self.exchanges, self.tasks = {}, {}

    def flush(self):
        self.writer.write(self.h2.data_to_send())

    async def drain(self):
        self.flush()
        await self.writer.drain()

    async def run(self):
        self.h2.initiate_connection()
        self.flush()
        try:
            while data := await self.reader.read(65536):
                for event in self.h2.receive_data(data):
                    self.handle(event)
                self.flush()
        except (OSError, h2.exceptions.ProtocolError) as error:
            say(broken=type(error).__name__, why=str(error))
        finally:
            for task in self.tasks.values():
                task.cancel()
            self.writer.close()

    def handle(self, event):
        stream = getattr(event, "stream_id", None)
        exchange = self.exchanges.get(stream)
        if isinstance(event, h2.events.RequestReceived):
            exchange = Exchange(self, stream, event.headers)
            self.exchanges[stream] = exchange
            say(request=exchange.headers, connection=id(self) % 1_000_000)
            path = "/" + exchange.url.path.split("/")[1]
            self.tasks[stream] = asyncio.create_task(self.serve(PATHS.get(path, hello), exchange))
        elif isinstance(event, h2.events.DataReceived):
            exchange.body.put_nowait((event.data, event.flow_controlled_length))
            if self.tasks[stream].done():
                self.discard(exchange)
        elif isinstance(event, h2.events.TrailersReceived):
            exchange.trailers = event.headers
        elif isinstance(event, h2.events.StreamEnded):
            exchange.body.put_nowait((None, 0))
        elif isinstance(event, h2.events.StreamReset) and stream in self.tasks:
            say(reset=int(event.error_code), path=exchange.head.get(":path"))
            self.tasks[stream].cancel()
        elif isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
            for waiting in self.exchanges.values():
                waiting.window.set()

    async def serve(self, act, exchange):
        try:
            if exchange.head.get("expect") == "100-continue":
                exchange.respond(100)
            await act(exchange)
        except (OSError, h2.exceptions.ProtocolError) as error:
            say(broken=type(error).__name__, why=str(error))
        finally:
            self.discard(exchange)

    def discard(self, exchange):
        """Gives back the connection's window for a body that nobody reads."""
        while not exchange.body.empty():
            _, length = exchange.body.get_nowait()
            if length:
                self.h2.acknowledge_received_data(length, exchange.stream)
        self.flush()


async def main():
    options = argparse.ArgumentParser()
    options.add_argument("--cert")
    options.add_argument("--key")
    options.add_argument("--streams", type=int, default=100)
    told = options.parse_args()
    tls = server_tls(told.cert, told.key, ["h2"]) if told.cert else None
    loop = asyncio.get_running_loop()

    async def accept(reader, writer):
        await Connection(reader, writer, told.streams).run()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    over = asyncio.Event()

    def watch():
        while read := os.read(0, 4096):
            for _ in range(read.count(b"\n")):
                loop.call_soon_threadsafe(turns.put_nowait, None)
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=watch, daemon=True).start()
    say(port=server.sockets[0].getsockname()[1])
    await asyncio.wait_for(over.wait(), LIFETIME_S_MAX)


refusals = set()
turns = asyncio.Queue()

if __name__ == "__main__":
    asyncio.run(main())

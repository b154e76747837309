"""A WebSocket client over HTTP/2 (RFC 8441): python's h2 for the connection, and the few lines
of RFC 6455 framing that a client needs. Cases and output are those of ws_client.py."""

import argparse
import os
import socket
import ssl
import struct
import time

import h2.config
import h2.connection
import h2.events
import h2.settings

from peer import client_tls, end_with_stdin, say

LARGE = 1 << 20
PATIENCE_S = 20
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


# The library takes a connection for closed once GOAWAY has come; RFC 9113, section 6.8 says that
# its streams go on.
GOING = h2.connection.ConnectionInputs.RECV_GOAWAY
OPEN = h2.connection.ConnectionState.CLIENT_OPEN
h2.connection.H2ConnectionStateMachine._transitions[(OPEN, GOING)] = (None, OPEN)


class Refused(Exception):
    """The answer to the extended CONNECT is not a 200."""


class Stream:
    """One extended CONNECT stream with WebSocket frames on it."""

    def __init__(self, sock):
        self.sock = sock
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.flush()
        self.held = b""
        self.ended = False
        self.reset = None
        self.headers = {}
        self.connect_protocol = None

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def receive(self):
        """Takes in what comes next; False at the end of the connection."""
        data = self.sock.recv(65536)
        if not data:
            self.ended = True
            return False
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RemoteSettingsChanged):
                self.connect_protocol = self.h2.remote_settings.enable_connect_protocol
            elif isinstance(event, h2.events.ResponseReceived):
                self.headers = {k.decode(): v.decode() for k, v in event.headers}
            elif isinstance(event, h2.events.DataReceived):
                self.held += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                self.reset, self.ended = int(event.error_code), True
            elif isinstance(event, (h2.events.StreamEnded, h2.events.ConnectionTerminated)):
                self.ended = self.ended or isinstance(event, h2.events.StreamEnded)
        self.flush()
        return True

    def open(self, scheme, name, path, subprotocols):
        while self.connect_protocol is None:
            if not self.receive():
                raise Refused("closed")
        if not self.connect_protocol:
            raise Refused("SETTINGS_ENABLE_CONNECT_PROTOCOL is not 1")
        head = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", scheme),
            (":path", path),
            (":authority", name),
            ("sec-websocket-version", "13"),
        ]
        if subprotocols:
            head.append(("sec-websocket-protocol", ", ".join(subprotocols)))
        self.id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(self.id, head)
        self.flush()
        while not self.headers and not self.ended:
            self.receive()
        if self.headers.get(":status") != "200":
            raise Refused(self.headers.get(":status") or f"reset {self.reset}")

    def send_bytes(self, data):
        while data:
            window = min(
                self.h2.local_flow_control_window(self.id), self.h2.max_outbound_frame_size
            )
            if window <= 0:
                self.receive()
                continue
            self.h2.send_data(self.id, data[:window])
            data = data[window:]
            self.flush()

    def send(self, opcode, payload):
        """One frame, masked as a client's must be."""
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
        elif size < 65536:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
        mask = os.urandom(4)
        key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        masked = (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
        self.send_bytes(head + mask + masked)

    def take(self, count):
        while len(self.held) < count:
            if self.ended or not self.receive():
                return None
        taken, self.held = self.held[:count], self.held[count:]
        return taken

    def frame(self):
        """The next frame as opcode and payload; None at the end."""
        head = self.take(2)
        if head is None:
            return None
        size = head[1] & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self.take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self.take(8))
        payload = self.take(size)
        return None if payload is None else (head[0] & 0x0F, payload)

    def message(self):
        """The next text or binary message, of one frame or several."""
        whole, first = b"", None
        while True:
            frame = self.frame()
            if frame is None or frame[0] == CLOSE:
                return frame
            first = first or frame[0]
            whole += frame[1]
            # The origin of the tests sends each message in one frame.
            return first, whole

    def close(self, code):
        """The closing handshake, begun here; what the other side says."""
        self.send(CLOSE, struct.pack("!H", code))
        frame = self.frame()
        self.h2.end_stream(self.id)
        self.flush()
        return closing(frame)


def closing(frame):
    if frame is None or frame[0] != CLOSE:
        return {"code": 1006, "reason": ""}
    payload = frame[1]
    code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
    return {"code": code, "reason": payload[2:].decode()}


def echo(stream):
    got = []
    for opcode, word in ((TEXT, b"one"), (TEXT, "zwei ü".encode()), (BINARY, b"\x00\x01\xff")):
        stream.send(opcode, word)
        opcode, reply = stream.message()
        got.append(reply.decode() if opcode == TEXT else reply.hex())
    return {"got": got, **stream.close(1000)}


def large(stream):
    sent = bytes(range(256)) * (LARGE // 256)
    same = True
    for _ in range(4):
        stream.send(BINARY, sent)
        same = same and stream.message() == (BINARY, sent)
    return {"same": same, **stream.close(1000)}


def ping(stream):
    stream.send(PING, b"are you there")
    return {"answered": stream.frame() == (PONG, b"are you there"), **stream.close(1000)}


def hold(stream):
    say(open=True)
    frame = stream.frame()
    while frame is not None and frame[0] != CLOSE:
        frame = stream.frame()
    return closing(frame)


def chat(stream):
    say(open=True)
    count = 0
    while True:
        stream.send(TEXT, b"still here")
        reply = stream.message()
        if reply is None or reply[0] == CLOSE:
            return {"exchanged": count, **closing(reply)}
        count += 1
        time.sleep(0.1)


CASES = {case.__name__: case for case in (echo, large, ping, hold, chat)}


def main():
    options = argparse.ArgumentParser()
    options.add_argument("connect", help="host:port")
    options.add_argument("case", choices=CASES)
    options.add_argument("--path", default="/echo")
    options.add_argument("--name", default="gateway.test")
    options.add_argument("--ca", help="speak TLS and trust this authority alone")
    options.add_argument("--subprotocol", action="append")
    told = options.parse_args()
    end_with_stdin()
    host, port = told.connect.rsplit(":", 1)
    sock = socket.create_connection((host, int(port)), PATIENCE_S)
    if told.ca:
        sock = client_tls(told.ca, ["h2"]).wrap_socket(sock, server_hostname=told.name)
        assert sock.selected_alpn_protocol() == "h2", sock.selected_alpn_protocol()
    stream = Stream(sock)
    try:
        stream.open("https" if told.ca else "http", told.name, told.path, told.subprotocol)
        found = CASES[told.case](stream)
        found["subprotocol"] = stream.headers.get("sec-websocket-protocol")
    except Refused as refused:
        found = {"refused": str(refused)}
    except (ssl.SSLError, ConnectionError, TimeoutError) as error:
        found = {"failed": type(error).__name__}
    say(**found, connect_protocol=stream.connect_protocol)


if __name__ == "__main__":
    main()

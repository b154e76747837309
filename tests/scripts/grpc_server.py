"""A gRPC origin: grpcio with generic handlers over raw bytes, so that no schema is compiled.

The service proof.Proof has all four kinds of calls, and calls about time, metadata, status and
size; grpc.health.v1.Health answers beside it. What a call met after its end is kept and told by
Events."""

import argparse
import hashlib
import json
import threading
import time
from concurrent import futures

import grpc

from peer import end_with_stdin, say

MESSAGE_BYTES_MAX = 8 << 20
SERVING, NOT_SERVING, SERVICE_UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"

events = []
counts = {"echo": 0}
changed = threading.Condition()
health = {b"": SERVING, b"proof.Proof": SERVING}


def note(**event):
    with changed:
        events.append(event)
        changed.notify_all()


def as_json(value):
    return json.dumps(value).encode()


def echo(request, call):
    """Gives the message back, and the metadata that begin with `echo-`."""
    with changed:
        counts["echo"] += 1
    sent = call.invocation_metadata()
    call.send_initial_metadata([(m.key, m.value) for m in sent if m.key.startswith("echo-")])
    call.set_trailing_metadata((("behind", "it all"), ("behind-bin", b"\x00\xff\x80")))
    return request


def echoes(request, call):
    """How many messages were given back so far."""
    with changed:
        return as_json({"count": counts["echo"]})


def collect(requests, call):
    """Counts and digests what the client streams."""
    count, size, digest = 0, 0, hashlib.sha256()
    for message in requests:
        count, size = count + 1, size + len(message)
        digest.update(message)
    return as_json({"count": count, "bytes": size, "sha256": digest.hexdigest()})


def expand(request, call):
    """Streams as many messages as it is asked for."""
    wanted = json.loads(request)
    for at in range(wanted["count"]):
        yield bytes([at % 251]) * wanted["size"]
        time.sleep(wanted.get("pause", 0))


def chat(requests, call):
    """Answers each message before the client sends the next."""
    for message in requests:
        yield b"re: " + message


def fail(request, call):
    """Ends with the status it is told, before any message: trailers only."""
    wanted = json.loads(request)
    call.set_trailing_metadata((("why", "asked to"),))
    call.abort(getattr(grpc.StatusCode, wanted["code"]), wanted["message"])


def fail_late(request, call):
    """The same after two messages."""
    yield b"one"
    yield b"two"
    fail(request, call)


def slow(request, call):
    """Answers only after a long time, unless the call ends before."""
    remaining = call.time_remaining()
    ended = threading.Event()
    call.add_callback(ended.set)
    note(slow="began", remaining=remaining)
    ended.wait(30)
    note(slow="cancelled" if ended.is_set() else "finished")
    return b"late"


def forever(request, call):
    """Streams until nobody listens."""
    ended = threading.Event()
    call.add_callback(ended.set)
    try:
        while not ended.wait(0.02):
            yield b"tick"
    finally:
        # A call that ends between two messages is not asked for the next: it is closed.
        note(forever="cancelled")


def listen(requests, call):
    """Reads a stream until it ends or breaks, and notes which."""
    count, ended = 0, threading.Event()
    call.add_callback(ended.set)
    try:
        for _ in requests:
            count += 1
            note(listen="message", count=count)
    except Exception:  # grpcio raises a bare one for a broken stream
        ended.set()
    # A broken stream may look like an ended one until the call itself is told.
    note(listen="broken" if ended.wait(0.5) else "ended", count=count)
    return b"heard"


def metadata(request, call):
    """Tells what the call came with."""
    found = {}
    for item in call.invocation_metadata():
        value = item.value if isinstance(item.value, str) else item.value.hex()
        found.setdefault(item.key, []).append(value)
    return as_json({"metadata": found, "remaining": call.time_remaining(), "peer": call.peer()})


def told(request, call):
    """Waits until an event holds all that is asked for, and gives every event so far."""
    wanted = json.loads(request or b"{}")
    end = time.monotonic() + 20

    def came():
        return not wanted or any(wanted.items() <= e.items() for e in events)

    with changed:
        changed.wait_for(came, timeout=end - time.monotonic())
        return as_json({"came": came(), "events": events})


def set_health(request, call):
    wanted = json.loads(request)
    with changed:
        health[wanted["service"].encode()] = SERVING if wanted["serving"] else NOT_SERVING
        changed.notify_all()
    return b""


def service_asked(request):
    """The string of field 1, by hand: 0x0a, a length below 128, the bytes."""
    return request[2 : 2 + request[1]] if request else b""


def health_check(request, call):
    service = service_asked(request)
    if service not in health:
        call.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return health[service]


def health_watch(request, call):
    service, last = service_asked(request), None

    def wake():
        with changed:
            changed.notify_all()

    call.add_callback(wake)
    while call.is_active():
        now = health.get(service, SERVICE_UNKNOWN)
        if now != last:
            last = now
            yield now
        with changed:
            changed.wait(0.5)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--cert")
    options.add_argument("--key")
    options.add_argument("--streams", type=int, help="SETTINGS_MAX_CONCURRENT_STREAMS")
    told_options = options.parse_args()
    settings = [
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.so_reuseport", 0),
    ]
    if told_options.streams:
        settings.append(("grpc.max_concurrent_streams", told_options.streams))
    server = grpc.server(futures.ThreadPoolExecutor(32), options=settings)
    one, many = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "proof.Proof",
                {
                    "Echo": one(echo),
                    "Echoes": one(echoes),
                    "Collect": grpc.stream_unary_rpc_method_handler(collect),
                    "Expand": many(expand),
                    "Chat": grpc.stream_stream_rpc_method_handler(chat),
                    "Fail": one(fail),
                    "FailLate": many(fail_late),
                    "Slow": one(slow),
                    "Forever": many(forever),
                    "Listen": grpc.stream_unary_rpc_method_handler(listen),
                    "Metadata": one(metadata),
                    "Events": one(told),
                    "SetHealth": one(set_health),
                },
            ),
            grpc.method_handlers_generic_handler(
                "grpc.health.v1.Health",
                {"Check": one(health_check), "Watch": many(health_watch)},
            ),
        )
    )
    if told_options.cert:
        pair = [open(path, "rb").read() for path in (told_options.key, told_options.cert)]
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([tuple(pair)]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    end_with_stdin()
    say(port=port)
    server.wait_for_termination()


if __name__ == "__main__":
    main()

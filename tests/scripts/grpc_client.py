"""A gRPC client that runs the cases it is told against one address and prints what came of
each, as one JSON object by name. It judges nothing: the tests do."""

import argparse
import hashlib
import json
import threading
import time

import grpc

from peer import say

LARGE = 4 << 20
PATIENCE_S = 20


class Calls:
    """The methods of proof.Proof on one channel, as raw bytes."""

    def __init__(self, channel):
        self.channel = channel

    def one(self, method, service="proof.Proof"):
        return self.channel.unary_unary(f"/{service}/{method}")

    def upload(self, method):
        return self.channel.stream_unary(f"/proof.Proof/{method}")

    def download(self, method, service="proof.Proof"):
        return self.channel.unary_stream(f"/{service}/{method}")

    def both(self, method):
        return self.channel.stream_stream(f"/proof.Proof/{method}")

    def events(self, **wanted):
        """What the origin noted, once there is such an event or it gave up waiting."""
        reply = self.one("Events")(json.dumps(wanted).encode(), timeout=PATIENCE_S + 5)
        return json.loads(reply)


def pairs(metadata):
    """Metadata as JSON can hold it."""
    shown = {}
    for key, value in metadata or ():
        shown[key] = value if isinstance(value, str) else value.hex()
    return shown


def failure(error):
    """How a call failed, as the client library tells it."""
    return {
        "code": error.code().name,
        "details": error.details(),
        "trailing": pairs(error.trailing_metadata()),
    }


def outcome(act):
    """`act`'s result as OK, or its failure."""
    try:
        return {"code": "OK", **act()}
    except grpc.RpcError as error:
        return failure(error)


def unary(calls):
    sent = (("echo-word", "x y"), ("echo-raw-bin", b"\x00\x01\xfe\xff"))
    reply, call = calls.one("Echo").with_call(b"hello", metadata=sent, timeout=PATIENCE_S)
    return {
        "reply": reply.decode(),
        "initial": pairs(call.initial_metadata()),
        "trailing": pairs(call.trailing_metadata()),
    }


def empty(calls):
    return {"length": len(calls.one("Echo")(b"", timeout=PATIENCE_S))}


def client_stream(calls):
    sent = [bytes([i % 251]) * (1 + i * 37 % 5000) for i in range(200)]
    reply = json.loads(calls.upload("Collect")(iter(sent), timeout=PATIENCE_S))
    whole = b"".join(sent)
    reply["whole"] = (
        reply["count"] == len(sent)
        and reply["bytes"] == len(whole)
        and reply["sha256"] == hashlib.sha256(whole).hexdigest()
    )
    return reply


def server_stream(calls):
    wanted = json.dumps({"count": 200, "size": 3000}).encode()
    got = list(calls.download("Expand")(wanted, timeout=PATIENCE_S))
    return {
        "count": len(got),
        "whole": all(m == bytes([i % 251]) * 3000 for i, m in enumerate(got)),
    }


def bidirectional(calls):
    """Each message waits for the answer to the one before: nothing may be held back."""
    turns = threading.Semaphore(1)

    def talk():
        for i in range(20):
            if not turns.acquire(timeout=PATIENCE_S):
                return
            yield f"word {i}".encode()

    got = []
    for reply in calls.both("Chat")(talk(), timeout=PATIENCE_S):
        got.append(reply.decode())
        turns.release()
    return {"replies": got}


def large(calls):
    """A message of 4 MiB each way, as the limit of most clients is."""
    sent = bytes(range(256)) * (LARGE // 256)
    return {"same": calls.one("Echo")(sent, timeout=PATIENCE_S) == sent}


def large_streams(calls):
    """Several of them in a stream each way, read slowly."""
    sent = [bytes([i]) * LARGE for i in range(4)]
    got = []
    for reply in calls.both("Chat")(iter(sent), timeout=PATIENCE_S):
        got.append(len(reply))
        time.sleep(0.05)
    return {"lengths": got}


def trailers_only(calls):
    wanted = {"code": "FAILED_PRECONDITION", "message": "no: 50% of ünïcode\n"}
    calls.one("Fail")(json.dumps(wanted).encode(), timeout=PATIENCE_S)
    return {}


def late_failure(calls):
    wanted = {"code": "ABORTED", "message": "midway"}
    got = []
    try:
        stream = calls.download("FailLate")(json.dumps(wanted).encode(), timeout=PATIENCE_S)
        for message in stream:
            got.append(message.decode())
    except grpc.RpcError as error:
        return {**failure(error), "got": got}
    return {"got": got}


def deadline(calls):
    """A deadline of the client's, on a method that takes far longer."""
    found = outcome(lambda: {"reply": calls.one("Slow")(b"", timeout=0.6).decode()})
    return {**found, "origin": calls.events(slow="cancelled")}


def deadline_told(calls):
    """What the origin is told of the client's deadline."""
    return json.loads(calls.one("Metadata")(b"", timeout=15))


def gateway_deadline(calls):
    """A method that takes long without a deadline of the client's own."""
    return {"reply": calls.one("Slow")(b"", timeout=PATIENCE_S).decode()}


def cancel_unary(calls):
    call = calls.one("Slow").future(b"", timeout=PATIENCE_S)
    calls.events(slow="began")
    call.cancel()
    return {"cancelled": call.cancelled(), "origin": calls.events(slow="cancelled")}


def cancel_server_stream(calls):
    stream = calls.download("Forever")(b"", timeout=PATIENCE_S)
    got = [next(stream) for _ in range(3)]
    stream.cancel()
    return {"got": len(got), "origin": calls.events(forever="cancelled")}


def cancel_client_stream(calls):
    hold = threading.Event()

    def talk():
        yield b"one"
        hold.wait(PATIENCE_S)

    call = calls.upload("Listen").future(talk(), timeout=PATIENCE_S)
    calls.events(listen="message")
    call.cancel()
    found = calls.events(listen="broken")
    hold.set()
    return {"origin": found}


def metadata(calls):
    sent = (
        ("x-word", "one"),
        ("x-word", "two"),
        ("x-raw-bin", b"\x00\x80\xff"),
        ("x-spaces", "a  b"),
    )
    return json.loads(calls.one("Metadata")(b"", metadata=sent, timeout=PATIENCE_S))


def unimplemented(calls):
    calls.one("NoSuchMethod")(b"", timeout=PATIENCE_S)
    return {}


def no_route(calls):
    calls.one("Anything", service="nowhere.Nothing")(b"", timeout=PATIENCE_S)
    return {}


def unavailable(calls):
    calls.one("Echo", service="dead.Dead")(b"x", timeout=PATIENCE_S)
    return {}


def denied(calls):
    calls.one("Echo", service="denied.Denied")(b"x", timeout=PATIENCE_S)
    return {}


def too_large(calls):
    calls.one("Echo", service="small.Small")(b"x" * 100_000, timeout=PATIENCE_S)
    return {}


def health(calls):
    check = calls.one("Check", service="grpc.health.v1.Health")
    serving = check(b"\x0a\x0bproof.Proof", timeout=PATIENCE_S)
    unknown = outcome(lambda: {"reply": check(b"\x0a\x01x", timeout=PATIENCE_S).hex()})
    watch = calls.download("Watch", service="grpc.health.v1.Health")
    stream = watch(b"\x0a\x0bproof.Proof", timeout=PATIENCE_S)
    seen = [next(stream).hex()]
    turn = json.dumps({"service": "proof.Proof", "serving": False}).encode()
    calls.one("SetHealth")(turn, timeout=PATIENCE_S)
    seen.append(next(stream).hex())
    stream.cancel()
    return {"check": serving.hex(), "unknown": unknown, "watch": seen}


def slow_stream(calls):
    """A stream that takes four seconds."""
    wanted = json.dumps({"count": 40, "size": 10, "pause": 0.1}).encode()
    return {"count": sum(1 for _ in calls.download("Expand")(wanted, timeout=PATIENCE_S))}


def serve(calls, serving):
    turn = json.dumps({"service": "proof.Proof", "serving": serving}).encode()
    calls.one("SetHealth")(turn, timeout=PATIENCE_S)
    return {}


def stop_serving(calls):
    return serve(calls, False)


def start_serving(calls):
    return serve(calls, True)


def echoes(calls):
    """How often the origin was asked to echo."""
    return json.loads(calls.one("Echoes")(b"", timeout=PATIENCE_S))


def many_at_once(calls):
    """More calls at a time than one connection takes streams by default."""
    echo = calls.one("Echo")
    going = [echo.future(f"{i}".encode(), timeout=PATIENCE_S) for i in range(300)]
    replies = [call.result().decode() for call in going]
    return {"same": replies == [f"{i}" for i in range(300)]}


def streams_at_once(calls):
    """Conversations side by side, each at its own pace."""
    found = []

    def converse():
        found.append(bidirectional(calls)["replies"])

    talks = [threading.Thread(target=converse) for _ in range(20)]
    for talk in talks:
        talk.start()
    for talk in talks:
        talk.join()
    expected = [f"re: word {i}" for i in range(20)]
    return {"whole": sum(1 for replies in found if replies == expected)}


CASES = [
    unary, empty, client_stream, server_stream, bidirectional, large, large_streams,
    trailers_only, late_failure, deadline, deadline_told, gateway_deadline,
    cancel_unary, cancel_server_stream, cancel_client_stream, metadata,
    unimplemented, no_route, unavailable, denied, too_large, health, many_at_once,
    streams_at_once, stop_serving, start_serving, echoes, slow_stream,
]  # fmt: skip


def main():
    options = argparse.ArgumentParser()
    options.add_argument("address")
    options.add_argument("--ca", help="speak TLS and trust this authority alone")
    options.add_argument("--name", help="the name to ask for and to verify")
    options.add_argument("cases", nargs="+")
    told = options.parse_args()
    settings = [
        ("grpc.max_receive_message_length", 2 * LARGE),
        ("grpc.max_send_message_length", 2 * LARGE),
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
    ]
    if told.ca:
        trusted = grpc.ssl_channel_credentials(open(told.ca, "rb").read())
        if told.name:
            settings.append(("grpc.ssl_target_name_override", told.name))
            settings.append(("grpc.default_authority", told.name))
        channel = grpc.secure_channel(told.address, trusted, settings)
    else:
        if told.name:
            settings.append(("grpc.default_authority", told.name))
        channel = grpc.insecure_channel(told.address, settings)
    known = {case.__name__: case for case in CASES}
    with channel:
        calls = Calls(channel)
        say(**{name: outcome(lambda: known[name](calls)) for name in told.cases})


if __name__ == "__main__":
    main()

"""A WebSocket client over HTTP/1.1, plain or in TLS: python's websockets. It runs one case and
prints what came of it as JSON; the tests judge. `hold` announces that it is open and then waits
for the other side to close."""

import argparse
import asyncio
import hashlib

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from peer import client_tls, end_with_stdin, say

LARGE = 1 << 20
PATIENCE_S = 20


async def echo(connection):
    got = []
    for word in ("one", "zwei ü", b"\x00\x01\xff"):
        await connection.send(word)
        reply = await connection.recv()
        got.append(reply if isinstance(reply, str) else reply.hex())
    await connection.close(1000, "done")
    return {"got": got}


async def large(connection):
    sent = bytes(range(256)) * (LARGE // 256)
    for _ in range(4):
        await connection.send(sent)
    digests = {hashlib.sha256(await connection.recv()).hexdigest() for _ in range(4)}
    await connection.close()
    return {"same": digests == {hashlib.sha256(sent).hexdigest()}}


async def ping(connection):
    delay = await (await connection.ping(b"are you there"))
    await connection.close()
    return {"answered": delay >= 0}


async def hold(connection):
    say(open=True)
    try:
        async for _ in connection:
            pass
    except ConnectionClosed:
        pass
    return {}


async def chat(connection):
    """Sends something every 100 ms until the other side closes."""
    say(open=True)
    count = 0
    try:
        while True:
            await connection.send("still here")
            await connection.recv()
            count += 1
            await asyncio.sleep(0.1)
    except ConnectionClosed:
        return {"exchanged": count}


CASES = {case.__name__: case for case in (echo, large, ping, hold, chat)}


async def run(told):
    tls = client_tls(told.ca, ["http/1.1"]) if told.ca else None
    # Connect to where the gateway is and speak to the name it serves.
    where = {"host": told.connect.rsplit(":", 1)[0], "port": int(told.connect.rsplit(":", 1)[1])}
    if tls:
        where |= {"ssl": tls, "server_hostname": told.name}
    scheme = "wss" if tls else "ws"
    try:
        async with connect(
            f"{scheme}://{told.name}{told.path}",
            max_size=8 * LARGE,
            ping_interval=None,
            proxy=None,
            compression="deflate" if told.deflate else None,
            subprotocols=told.subprotocol,
            open_timeout=PATIENCE_S,
            **where,
        ) as connection:
            found = await CASES[told.case](connection)
            found["subprotocol"] = connection.subprotocol
            found["extensions"] = connection.response.headers.get("Sec-WebSocket-Extensions")
    except InvalidStatus as refused:
        return {"refused": refused.response.status_code}
    return {**found, "code": connection.close_code, "reason": connection.close_reason}


async def main():
    options = argparse.ArgumentParser()
    options.add_argument("connect", help="host:port")
    options.add_argument("case", choices=CASES)
    options.add_argument("--path", default="/echo")
    options.add_argument("--name", default="gateway.test")
    options.add_argument("--ca", help="speak TLS and trust this authority alone")
    options.add_argument("--deflate", action="store_true")
    options.add_argument("--subprotocol", action="append")
    told = options.parse_args()
    end_with_stdin()
    say(**await asyncio.wait_for(run(told), 60))


if __name__ == "__main__":
    asyncio.run(main())

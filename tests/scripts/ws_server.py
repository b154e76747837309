"""A WebSocket origin over HTTP/1.1: python's websockets. `/echo` gives messages back, `/close`
closes with 4001, `/count` sends a number each time it is asked, `/quiet` says nothing. How each
connection ended goes to the test, one line of JSON each."""

import argparse
import asyncio
import logging

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from peer import end_with_stdin, say, server_tls

MESSAGE_BYTES_MAX = 8 << 20


async def talk(connection):
    path = connection.request.path
    try:
        if path.startswith("/close"):
            await connection.close(4001, "asked to")
        elif path.startswith("/quiet"):
            await connection.wait_closed()
        else:
            async for message in connection:
                await connection.send(message)
    except ConnectionClosed:
        pass
    finally:
        await connection.wait_closed()
        say(closed=path, code=connection.close_code, reason=connection.close_reason)


async def main():
    options = argparse.ArgumentParser()
    options.add_argument("--cert")
    options.add_argument("--key")
    told = options.parse_args()
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    tls = server_tls(told.cert, told.key, ["http/1.1"]) if told.cert else None
    async with serve(
        talk,
        "127.0.0.1",
        0,
        ssl=tls,
        max_size=MESSAGE_BYTES_MAX,
        ping_interval=None,
        select_subprotocol=lambda connection, offered: offered[0] if offered else None,
    ) as server:
        end_with_stdin()
        say(port=server.sockets[0].getsockname()[1])
        await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())

"""An HTTP/1.1 origin in TLS whose answers end with their connection: `/whole` says so with
close_notify, `/cut` just closes, as somebody in between could (RFC 8446, section 6.1)."""

import argparse
import socket
import ssl
import threading

from peer import end_with_stdin, say, server_tls


def answer(tls, connection):
    try:
        with tls.wrap_socket(connection, server_side=True) as secure:
            head = b""
            while b"\r\n\r\n" not in head:
                read = secure.recv(4096)
                if not read:
                    return
                head += read
            secure.sendall(b"HTTP/1.1 200 OK\r\n\r\nall there is")
            if head.startswith(b"GET /whole"):
                secure.unwrap()
    except (OSError, ssl.SSLError):
        pass


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--cert", required=True)
    options.add_argument("--key", required=True)
    told = options.parse_args()
    tls = server_tls(told.cert, told.key, ["http/1.1"])
    listener = socket.create_server(("127.0.0.1", 0))
    end_with_stdin()
    say(port=listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(tls, connection), daemon=True).start()


if __name__ == "__main__":
    main()

"""What the scripted peers share: they announce themselves in one line of JSON and end with
their standard input, so none outlives the test that started it."""

import json
import os
import ssl
import sys
import threading

# No peer lives longer, whatever happens to the test; the soak test needs them for long.
LIFETIME_S_MAX = 120 + int(os.environ.get("RINGGATE_SOAK_SECONDS", "0"))


def say(**facts):
    """Writes one line of JSON to the test."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def end_with_stdin():
    """Ends this process when the test closes its standard input, or after its lifetime."""

    def watch():
        # Not through sys.stdin, whose lock this thread would hold when the process ends.
        while os.read(0, 4096):
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
    timer = threading.Timer(LIFETIME_S_MAX, os._exit, [3])
    timer.daemon = True
    timer.start()


def server_tls(cert, key, alpn):
    """The TLS of a server with one certificate."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    tls.set_alpn_protocols(alpn)
    return tls


def client_tls(ca, alpn):
    """The TLS of a client that trusts `ca` alone."""
    tls = ssl.create_default_context(cafile=ca)
    tls.set_alpn_protocols(alpn)
    return tls

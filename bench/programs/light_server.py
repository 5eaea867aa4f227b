"""A server that answers at once: with it Swarm and the spawner are measured, not JupyterLab's own start.

A websocket, at any path, is sent the text ``beat`` every 0.2 s.
"""

import base64
import hashlib
import http.server
import signal
import sys
import time

WEBSOCKET_KEY = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
BEAT = b"\x81\x04beat"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self.beat()
            return
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def beat(self) -> None:
        key = self.headers["Sec-WebSocket-Key"] + WEBSOCKET_KEY
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.close_connection = True
        try:
            while True:
                self.wfile.write(BEAT)
                time.sleep(0.2)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        return


# As process 1 of a container without an init it would otherwise ignore SIGTERM and be killed later.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server = http.server.ThreadingHTTPServer(("0.0.0.0", 8888), Handler)
server.daemon_threads = True
server.serve_forever()

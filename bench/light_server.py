"""A server that answers at once: with it Swarm and the spawner are measured, not JupyterLab's own start."""

import http.server


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        return


http.server.ThreadingHTTPServer(("0.0.0.0", 8888), Handler).serve_forever()

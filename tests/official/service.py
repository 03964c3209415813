"""A service inside a sandbox, for what a proxy in front of it may spoil."""
import json
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def head(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def pieces(self):
        """The body of the request as it comes."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left and (piece := self.rfile.read1(min(left, 65536))):
            left -= len(piece)
            yield piece

    def seen(self):
        body = b"".join(self.pieces())
        text = json.dumps(
            {
                "method": self.command,
                "path": self.path,
                "headers": {k.lower(): v for k, v in self.headers.items()},
                "body": body.decode("latin-1"),
            }
        ).encode()
        self.head(200, Content_Type="application/json", Content_Length=str(len(text)), X_Own="yes")
        if self.command != "HEAD":
            self.wfile.write(text)

    def echo(self):
        self.head(200, Transfer_Encoding="chunked")
        for piece in self.pieces():
            self.chunk(piece)
        self.wfile.write(b"0\r\nX-Trailer: t\r\n\r\n")

    def big(self):
        self.head(200)
        self.close_connection = True
        for _ in range(int(self.path.rsplit("/", 1)[1])):
            self.wfile.write(bytes(range(256)) * 256)

    def early(self):
        self.head(413, Content_Length="5")
        self.wfile.write(b"large")

    def unasked(self):
        self.head(101, Connection="Upgrade", Upgrade="any")
        self.close_connection = True

    def upgrade(self):
        if self.headers.get("Connection") != "Upgrade":
            self.head(400, Content_Length="0")
            return
        self.head(101, Connection="Upgrade", Upgrade=self.headers["Upgrade"])
        self.close_connection = True
        total = 0
        while data := self.rfile.read1(65536):
            total += len(data)
            self.wfile.write(data.upper())
        self.wfile.write(b"%d read" % total)

    def interim(self):
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        self.head(204)

    def garbage(self):
        self.wfile.write(b"no HTTP at all\r\n\r\n")
        self.close_connection = True

    def cut(self):
        self.head(200, Content_Length="100")
        self.wfile.write(b"only this")
        self.close_connection = True

    def hang(self):
        """Answers, and never ends the connection."""
        self.head(200, Transfer_Encoding="chunked")
        self.chunk(b"whole")
        self.wfile.write(b"0\r\n\r\n")
        self.rfile.read()

    def drip(self):
        self.head(200, Content_Type="text/event-stream")
        self.close_connection = True
        try:
            for i in range(1000):
                self.wfile.write(b"data: %d\n\n" % i)
                if self.rfile.raw and self.gone(0.2):
                    break
        except OSError:
            pass
        with open("/root/drip-ended", "w") as f:
            f.write("gone")

    def gone(self, seconds):
        self.connection.settimeout(seconds)
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return False

    def serve(self):
        name = self.path.split("/")[1].split("?")[0]
        getattr(self, name if name in self.own else "seen")()

    own = {"echo", "big", "early", "upgrade", "unasked", "interim", "garbage", "cut", "hang", "drip"}

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.serve
        raise AttributeError(name)


class Server(ThreadingHTTPServer):
    request_queue_size = 200
    address_family = socket.AF_INET6 if len(sys.argv) > 2 else socket.AF_INET


Server((sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

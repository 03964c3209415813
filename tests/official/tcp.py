"""A TCP service inside a sandbox: the first line of a connection says what it does."""
import socket
import struct
import sys
import time
from socketserver import StreamRequestHandler, ThreadingTCPServer


class Handler(StreamRequestHandler):
    def handle(self):
        word, *rest = self.rfile.readline().decode().split() or [""]
        getattr(self, word)(*rest)

    def echo(self):
        while data := self.rfile.read1(65536):
            self.request.sendall(data)

    def count(self):
        """How much comes until the other side ends its half."""
        total = 0
        while data := self.rfile.read1(65536):
            total += len(data)
        self.wfile.write(b"%d" % total)

    def source(self, n):
        piece = bytes(range(256)) * 256
        for _ in range(int(n)):
            self.wfile.write(piece)

    def first(self):
        """Ends its half before it reads."""
        self.wfile.write(b"bye")
        self.request.shutdown(socket.SHUT_WR)
        total = 0
        while data := self.rfile.read1(65536):
            total += len(data)
            time.sleep(0.01)
        with open("/root/first", "w") as f:
            f.write(str(total))

    def reset(self):
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.request.close()

    def hold(self):
        """Reads nothing until it is told to."""
        while True:
            try:
                open("/root/go").close()
                break
            except OSError:
                time.sleep(0.02)
        self.count()

    def told(self):
        """Notes how the connection ends."""
        try:
            end = "end" if not self.rfile.read1(1) else "data"
        except ConnectionResetError:
            end = "reset"
        with open("/root/told", "w") as f:
            f.write(end)


class Server(ThreadingTCPServer):
    request_queue_size = 1500
    daemon_threads = True


Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

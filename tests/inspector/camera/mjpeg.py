"""An MJPEG server on loopback that can fall silent, hang up and come back."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np


class MjpegServer:
    """Serves pictures whose gray value is their number times ten, 25 a second."""

    def __init__(self, port: int = 0) -> None:
        self.stall = threading.Event()
        self.stop = threading.Event()
        self.connections = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=f")
                self.end_headers()
                outer.feed(self.wfile)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/live.mjpg"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def feed(self, out) -> None:
        number = 0
        self.connections += 1
        while not self.stop.is_set():
            if self.stall.is_set():
                time.sleep(0.02)
                continue
            number += 1
            jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), number * 10 % 250, np.uint8))[1].tobytes()
            head = f"--f\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
            try:
                out.write(head + jpeg + b"\r\n")
            except OSError:
                return
            time.sleep(0.04)

    def close(self) -> None:
        self.stop.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

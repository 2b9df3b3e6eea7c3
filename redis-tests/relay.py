"""A small proxy on a port of its own: a link that a test can cut, and slow."""
import select
import socket
import threading
import time


class Relay:
    """Connections to `port` go on to that of the server. Each is served by a thread of its own."""

    def __init__(self, target_port):
        self.target_port = target_port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.pairs = []
        self.accepted = 0
        self.open = True
        self.pause = 0  # seconds before each piece goes on
        self.loses_answer_to = None  # a word: the next request with it is the last thing that its connection carries
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if not self.open:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target_port))
            except OSError:
                near.close()
                continue
            with self.lock:
                self.accepted += 1
                self.pairs.append((near, far))
            threading.Thread(target=self.carry, args=(near, far), daemon=True).start()

    def carry(self, near, far):
        other = {near: far, far: near}
        try:
            while True:
                for ready in select.select([near, far], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    if self.pause > 0:
                        time.sleep(self.pause)
                    other[ready].sendall(data)
                    if ready is near and self.loses_answer_to is not None and self.loses_answer_to in data:
                        self.loses_answer_to = None
                        far.recv(65536)
                        return
        except (OSError, ValueError):
            pass
        finally:
            near.close()
            far.close()

    def cut(self):
        """All connections end now; later ones are taken unless it is shut."""
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def shut(self):
        """As cut, and none is taken until `mend`."""
        self.open = False
        self.cut()

    def mend(self):
        self.open = True

    def close(self):
        self.shut()
        self.listener.close()

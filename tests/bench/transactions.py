"""What an interactive transaction costs beside a MULTI block: ./dev bench transactions

50 connections, each of which sends one command at a time: BEGIN, four commands, COMMIT, and in turn MULTI, the same commands, EXEC. Keys are
each connection's own: nobody loses. Quoted is the server's CPU time for a transaction, the median of the rounds, and how many times MULTI's number of
transactions BEGIN does with the same CPU time.
"""
import selectors
import socket
import statistics
import sys

from growth import Server, cpu_seconds, fail, request

CONNECTIONS, ROUNDS, TRANSACTIONS = 50, 9, 12000
WAYS = {"MULTI": ("MULTI", "EXEC"), "BEGIN": ("BEGIN", "COMMIT")}


class Talker:
    def __init__(self, path, number):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        a, b = "a:%d" % number, "b:%d" % number
        work = [("GET", a), ("SET", a, "x" * 100), ("GET", b), ("SET", b, "y" * 100)]
        self.steps = {way: [request(first), *(request(*words) for words in work), request(last)] for way, (first, last) in WAYS.items()}
        self.step = 0

    def say(self, way):
        self.socket.send(self.steps[way][self.step])

    def hear(self, way):
        """The reply is there, and short: in one piece. Whether it was the transaction's last."""
        reply = self.socket.recv(65536)
        if not reply.endswith(b"\r\n") or reply.startswith(b"-"):
            fail("%s answers %r" % (self.steps[way][self.step], reply))
        self.step = (self.step + 1) % len(self.steps[way])
        return self.step == 0


def run(server, talkers, selector, way):
    """CPU microseconds of the server for a transaction."""
    begun = done = 0
    before = cpu_seconds(server)
    for talker in talkers:
        talker.say(way)
        begun += 1
    while done < TRANSACTIONS:
        for key, _ in selector.select():
            talker = key.data
            over = talker.hear(way)
            done += over
            if over and begun == TRANSACTIONS:
                continue
            begun += over
            talker.say(way)
    return (cpu_seconds(server) - before) / TRANSACTIONS * 1e6


def main():
    server = Server(sys.argv[1], "--io-threads", 1)
    try:
        server.start()
        talkers = [Talker(server.socket, number) for number in range(CONNECTIONS)]
        selector = selectors.DefaultSelector()
        for talker in talkers:
            selector.register(talker.socket, selectors.EVENT_READ, talker)
        for way in WAYS:
            run(server, talkers, selector, way)
        figures = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way in WAYS:
                figures[way].append(run(server, talkers, selector, way))
        medians = {way: statistics.median(values) for way, values in figures.items()}
        ratios = sorted(m / b for m, b in zip(figures["MULTI"], figures["BEGIN"]))
        for way, value in medians.items():
            print("%s: %.1f us of CPU for a transaction of four commands" % (way, value))
        print("by CPU, BEGIN does %.2f times as many as MULTI (%.2f to %.2f)" %
              (medians["MULTI"] / medians["BEGIN"], ratios[0], ratios[-1]))
    finally:
        server.clean_up()


main()

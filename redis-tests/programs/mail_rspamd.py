"""rspamd, with what Debian's package configures and its data here: messages are learned by its Bayes classifier and then told apart, greylisted,
limited by rate (scripts), and kept in its history. What has been learned outlives the kill."""
import email.utils
import json
import os
import random
import subprocess
import tempfile
import urllib.error
import urllib.request
import redis
from program import PORT, free_port, holds, note, noted, run, same, until

OURS = {
    "redis.conf": 'servers = "127.0.0.1:{redis}"; timeout = 30s;',
    "worker-normal.inc": 'bind_socket = "127.0.0.1:{scanner}"; count = 1;',
    "worker-controller.inc": 'bind_socket = "127.0.0.1:{controller}";',
    "worker-proxy.inc": "count = -1;",
    "classifier-bayes.conf": "min_learns = 10;",
    "actions.conf": "greylist = 0.1; add_header = 100; reject = 200;",
    "greylist.conf": "timeout = 2s;",
    "ratelimit.conf": 'rates {{ to = {{ bucket = {{ burst = 3; rate = "1 / 1h"; }} }} }}',
    # Nothing is asked outside.
    # Without what it would compile at each start for long: regular expressions for all, and all 9,628 ends of names.
    "options.inc": 'dns {{ nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; }} disable_hyperscan = true; '
                   'url_tld = "{folder}/ends-of-names";',
    **{module + ".conf": "enabled = false;" for module in ("rbl", "fuzzy_check", "surbl", "asn", "spf", "dmarc", "dkim", "arc", "mx_check", "phishing",
                                                           "mime_types", "hfilter", "rspamd_update")},
}
SPAM = "cheap pills winner lottery casino refund offer click urgent wire prince diamonds discount viagra jackpot loan".split()
HAM = "meeting report minutes agenda budget review patch compiler kernel release schedule lunch invoice project draft thesis".split()


def words_of(kind, seed):
    chance = random.Random("%s %s" % (kind, seed))
    return " ".join(chance.choice(SPAM if kind == "spam" else HAM) for _ in range(40))


def message(kind, seed):
    return ("From: a%s@example.org\r\nTo: b@example.net\r\nSubject: %s\r\nMessage-ID: <%s.%s@example.org>\r\nDate: %s\r\n"
            "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n%s number %s\r\n"
            % (seed, words_of(kind, "%s subject" % seed)[:40], kind, seed, email.utils.formatdate(), words_of(kind, seed), seed)).encode()


class Rspamd:
    def __enter__(self):
        self.scanner, self.controller = free_port(), free_port()
        self.folder = tempfile.TemporaryDirectory()
        os.mkdir(self.folder.name + "/local.d")
        for name, text in OURS.items():
            with open("%s/local.d/%s" % (self.folder.name, name), "w") as file:
                file.write(text.format(redis=PORT, scanner=self.scanner, controller=self.controller, folder=self.folder.name))
        with open(self.folder.name + "/ends-of-names", "w") as file:
            file.write("com\nnet\norg\n")
        command = ["/usr/bin/rspamd", "-c", "/etc/rspamd/rspamd.conf", "-f", "-i"]
        for name in ("DBDIR", "LOGDIR", "RUNDIR", "LOCAL_CONFDIR"):
            command += ["--var", "%s=%s" % (name, self.folder.name)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Killed, it leaves what is in the kernel: so an answer of this connection says that the server was there until now.
        self.direct = redis.Redis(port=PORT)
        until("rspamd answers", lambda: self.answers(self.scanner) and self.answers(self.controller))
        return self

    def answers(self, port):
        if self.process.poll() is not None:
            raise AssertionError("rspamd ended: " + self.log()[-3000:])
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d/ping" % port, timeout=10) as answer:
                return answer.read().strip() == b"pong"
        except OSError:
            return False

    def ask(self, port, path, body=None, **headers):
        request = urllib.request.Request("http://127.0.0.1:%d/%s" % (port, path), data=body,
                                         headers={name.replace("_", "-"): value for name, value in headers.items()})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def learn(self, kind, seed):
        """Its status: 200, or 208 for what was learned before."""
        return self.ask(self.controller, "learn" + kind, message(kind, seed), Learn_Type="bulk")[0]

    def learned(self):
        """How many of each were learned, as it has seen some seconds ago; nothing before it has looked."""
        status, found = self.ask(self.controller, "stat")
        same(status, 200, "stat: %s" % found)
        return {file["symbol"]: file["revision"] for file in found["statfiles"]}

    def scan(self, kind, seed, **headers):
        # Who comes again from the same sender is held back by what greylisting knows, and not looked at.
        headers.setdefault("From", "%s.%s@example.org" % (kind, seed))
        status, found = self.ask(self.scanner, "checkv2", message(kind, seed), **headers)
        same(status, 200, "a scan: %s" % found)
        return found

    def log(self):
        path = self.folder.name + "/rspamd.log"
        if not os.path.exists(path):
            return "without a log"
        with open(path) as file:
            return file.read()

    def complaints(self):
        return [line for line in self.log().splitlines() if "redis" in line.lower() and any(word in line for word in ("error", "cannot", "fail"))]

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.folder.cleanup()


def bayes(rspamd):
    for n in range(12):
        same([rspamd.learn("spam", n), rspamd.learn("ham", n)], [200, 200], "learned")
    same(rspamd.learn("spam", 3), 208, "it is known that this was learned")
    until("all are counted", lambda: rspamd.learned() == {"BAYES_SPAM": 12, "BAYES_HAM": 12})
    for kind in ("spam", "ham"):
        symbols = rspamd.scan(kind, "new")["symbols"]
        same([name for name in symbols if name.startswith("BAYES")], ["BAYES_" + kind.upper()], "what it is taken for")
    # Learned as the other: what it was counted as before is taken back.
    status, said = rspamd.ask(rspamd.controller, "learnham", message("spam", 3), Learn_Type="bulk")
    same(status, 200, "learned anew: %s" % said)
    until("it is counted as the other", lambda: rspamd.learned() == {"BAYES_SPAM": 11, "BAYES_HAM": 13})


def greylisting(rspamd):
    envelope = {"From": "x@example.org", "Rcpt": "grey@example.net", "IP": "198.51.100.7", "Helo": "mail.example.org"}
    same(rspamd.scan("spam", "grey", **envelope)["action"], "soft reject", "who is new")
    until("the record is kept", lambda: list(rspamd.direct.scan_iter("rg*")))
    same(rspamd.scan("spam", "grey", **envelope)["action"], "soft reject", "who comes too early")
    until("who comes again passes", lambda: rspamd.scan("spam", "grey", **envelope)["action"] != "soft reject")


def rates(rspamd):
    seen = [rspamd.scan("ham", "rate%d" % n, From="x@example.org", Rcpt="many@example.net", IP="198.51.100.8") for n in range(6)]
    holds("atelimit" in json.dumps(seen[-1]) and seen[-1]["action"] == "soft reject", "after three of a recipient: %s" % seen[-1])
    holds("atelimit" not in json.dumps(seen[0]), "the first: %s" % seen[0])
    # Its scripts are gone: they are loaded again.
    rspamd.direct.script_flush()
    again = rspamd.scan("ham", "rate", From="x@example.org", Rcpt="many@example.net", IP="198.51.100.8")
    same(again["action"], "soft reject", "with scripts loaded again")


def history(rspamd):
    def rows():
        status, found = rspamd.ask(rspamd.controller, "history")
        return [row["message-id"] for row in found["rows"]] if status == 200 else []

    until("it is in the history", lambda: "ham.rate@example.org" in rows())
    holds(rspamd.direct.llen(next(rspamd.direct.scan_iter("rs_history*"))) >= len(rows()) > 8, "the history's length")


def tour():
    with Rspamd() as rspamd:
        for part in bayes, greylisting, rates, history:
            part(rspamd)
        same(rspamd.complaints(), [], "what rspamd says")


def load():
    with Rspamd() as rspamd:
        n = 0
        while True:
            kind = "spam" if n % 2 else "ham"
            same(rspamd.learn(kind, n), 200, "learned %d" % n)
            rspamd.direct.ping()
            note("%s %d" % (kind, n))
            n += 1


def settle():
    with Rspamd() as rspamd:
        for kind in ("spam", "ham"):
            numbers = noted(kind)
            symbol = "BAYES_" + kind.upper()
            until("all that were learned are counted", lambda: len(numbers) <= rspamd.learned().get(symbol, 0) <= len(numbers) + 1)
            same([n for n in numbers if rspamd.learn(kind, n) != 208], [], "those of %s that are not known any more" % kind)
            symbols = rspamd.scan(kind, "new")["symbols"]
            same([name for name in symbols if name.startswith("BAYES")], [symbol], "what it is taken for")


run(tour=tour, load=load, settle=settle)

#!/usr/bin/env python3
"""What testssl.sh (Debian's package of that name) says of the protocols and ciphers that the server speaks.

    tls_scan.py SERVER [PORT]

Asked for: protocols, classes of ciphers, their order, renegotiation. The known holes of TLS libraries are OpenSSL's, and would take many times as long. The
server runs once with a certificate of ECDSA and with the defaults, by which the client's order of ciphers counts, as in Redis; and once with one of
RSA and tls-prefer-server-ciphers. What testssl.sh calls worse than low is a failure, but for what it says of web servers.
"""
import json
import os
import subprocess
import sys

from certificates import Certificates, openssl
from own_server import Server, fail

FINE = ("OK", "INFO", "LOW", "DEBUG")
# Of HTTP, or of clients that are asked for.
BESIDE_THE_POINT = ("BREACH", "clientsimulation", "scanTime", "scanProblem", "engine_problem", "service", "optimal_proto", "DNS_")
SECONDS = 600


def scan(program, port, certificates, name, own_order):
    server = Server(program, "--port", "0", "--tls-port", port, "--bind", "127.0.0.1", "--tls-auth-clients", "no",
                    "--tls-cert-file", certificates(name + ".crt"), "--tls-key-file", certificates(name + ".key"),
                    "--tls-ca-cert-file", certificates("ca.crt"), "--tls-prefer-server-ciphers", own_order)
    server.start()
    found = server.directory + "/found.json"
    try:
        # Exit codes count findings: what they are is in the file.
        subprocess.run(["testssl", "--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none",
                        "--protocols", "--std", "--server-preference", "--renegotiation", "--jsonfile", found,
                        "127.0.0.1:%d" % port],
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=SECONDS, check=False)
        if not server.answers(server.connect()):
            fail("the server does not answer after the scan")
        with open(found, encoding="utf-8") as file:
            return json.load(file)
    finally:
        server.clean_up()


def judge(name, findings, own_order):
    by_id = {f["id"]: f for f in findings}
    for protocol, offered in (("SSLv2", False), ("SSLv3", False), ("TLS1", False), ("TLS1_1", False), ("TLS1_2", True),
                              ("TLS1_3", True)):
        if protocol not in by_id:
            fail("%s: testssl.sh did not come to %s" % (name, protocol))
        if by_id[protocol]["finding"].startswith("offered") != offered:
            fail("%s: %s is %s" % (name, protocol, by_id[protocol]["finding"]))
    if own_order == "yes" and by_id["cipher_order"]["severity"] != "OK":
        fail("%s: cipher_order: %s" % (name, by_id["cipher_order"]["finding"]))
    for renegotiation in ("secure_renego", "secure_client_renego"):
        if by_id[renegotiation]["severity"] not in ("OK", "INFO"):
            fail("%s: %s: %s" % (name, renegotiation, by_id[renegotiation]["finding"]))
    beside = BESIDE_THE_POINT + (("cipher_order",) if own_order == "no" else ())
    worse = [f for f in findings if f["severity"] not in FINE and not f["id"].startswith(beside)]
    if worse:
        fail("%s:\n%s" % (name, "\n".join("%(id)s: %(severity)s: %(finding)s" % f for f in worse)))
    print("%s: %d findings, none worse than low" % (name, len(findings)), flush=True)


def main():
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 21600
    certificates = Certificates()
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", certificates("rsa.key"), "-out", certificates("rsa.csr"), "-subj", "/CN=rsa")
    openssl("x509", "-req", "-in", certificates("rsa.csr"), "-CA", certificates("ca.crt"), "-CAkey", certificates("ca.key"),
            "-CAcreateserial", "-days", "2", "-out", certificates("rsa.crt"))
    try:
        for name, own_order in (("server", "no"), ("rsa", "yes")):
            judge(name, scan(sys.argv[1], port, certificates, name, own_order), own_order)
    finally:
        certificates.remove()
    print("all as it should be")


if __name__ == "__main__":
    main()

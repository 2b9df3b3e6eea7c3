"""Certificates for tests, made by openssl."""
import os
import shutil
import ssl
import subprocess
import tempfile

from own_server import fail


def openssl(*words):
    done = subprocess.run(["openssl", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        fail("openssl %s: %s" % (" ".join(words), done.stdout.decode()))


class Certificates:
    """Two authorities, a server's certificate of each, a client's certificate of each."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="sett-tls.")
        for name in ("ca", "other-ca"):
            self.authority(name)
        for name, authority in (("server", "ca"), ("server2", "ca"), ("client", "ca"), ("stranger", "other-ca")):
            self.sign(name, authority)
        openssl("ec", "-in", self("server.key"), "-aes128", "-passout", "pass:secret", "-out", self("locked.key"))
        openssl("genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048", "-out", self("dh"))
        os.mkdir(self("cas"))
        shutil.copy(self("ca.crt"), self("cas/ca.pem"))
        openssl("rehash", self("cas"))

    def __call__(self, name):
        return self.directory + "/" + name

    def authority(self, name):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-keyout", self(name + ".key"), "-out", self(name + ".crt"), "-subj", "/CN=" + name)

    def sign(self, name, authority):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self(name + ".key"),
                "-out", self(name + ".csr"), "-subj", "/CN=" + name)
        openssl("x509", "-req", "-in", self(name + ".csr"), "-CA", self(authority + ".crt"), "-CAkey",
                self(authority + ".key"), "-CAcreateserial", "-days", "2", "-out", self(name + ".crt"))

    def server_options(self):
        return ["--tls-cert-file", self("server.crt"), "--tls-key-file", self("server.key"), "--tls-ca-cert-file",
                self("ca.crt")]

    def context(self, name="client", authority="ca"):
        """A client's; name None: without a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self(authority + ".crt"))
        if name is not None:
            context.load_cert_chain(self(name + ".crt"), self(name + ".key"))
        return context

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)

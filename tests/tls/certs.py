#!/usr/bin/env python3
"""Certificates for the tests, from a CA made on the spot: `certs.py DIR`.

NAME.pem holds a certificate and what the server sends with it, NAME.key its
key. ca.pem is what a client should trust, other_ca.pem what it should not.
"""
import datetime
import ipaddress
import os
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
HERE = ("localhost", "127.0.0.1", "::1")


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def alternative(name, names_only=False):
    try:
        if names_only:
            return x509.DNSName(name)
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Authority:
    """A certificate that signs others; `parent` None = a root."""

    def __init__(self, name, parent=None, key=None):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = parent or self
        self.certificate = (
            signer.begin(self.name, self.key, 0, 30)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), True)
            .sign(signer.key, hashes.SHA256()))

    def begin(self, subject, key, first_day, last_day):
        now = datetime.datetime.utcnow()
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + first_day * DAY - DAY / 24).not_valid_after(now + last_day * DAY)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False))

    def issue(self, names, key=None, first_day=0, last_day=10, client=False, names_only=False):
        """(certificate, key) of an end entity."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = (
            self.begin(subject, key, first_day, last_day)
            .add_extension(x509.SubjectAlternativeName([alternative(name, names_only) for name in names]), False)
            .add_extension(x509.ExtendedKeyUsage([usage]), False)
            .sign(self.key, hashes.SHA256()))
        return certificate, key


def save(folder, name, issued, *chain):
    certificate, key = issued
    with open(os.path.join(folder, name + ".pem"), "wb") as f:
        f.write(b"".join(map(pem, (certificate, *chain))))
    with open(os.open(os.path.join(folder, name + ".key"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
        f.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def trust(folder, name, *authorities):
    with open(os.path.join(folder, name + ".pem"), "wb") as f:
        f.write(b"".join(pem(a.certificate) for a in authorities))


def make_server(folder):
    """For a server on loopback: ca.pem, server.pem and server.key."""
    root = Authority("sandbox.h test CA")
    trust(folder, "ca", root)
    save(folder, "server", root.issue(HERE))


def self_signed(names):
    """Its own issuer, and no CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    lone = Authority.__new__(Authority)
    lone.key, lone.name = key, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    return lone.issue(names, key)


def make_all(folder):
    root, other = Authority("sandbox.h test CA"), Authority("another CA")
    old = Authority("sandbox.h test RSA CA", key=rsa.generate_private_key(65537, 2048))
    middle = Authority("sandbox.h test intermediate", root)
    trust(folder, "ca", root, old)
    trust(folder, "other_ca", other)
    save(folder, "right", root.issue(HERE))
    save(folder, "rsa", old.issue(HERE, rsa.generate_private_key(65537, 2048)))
    save(folder, "p384", root.issue(HERE, ec.generate_private_key(ec.SECP384R1())))
    save(folder, "expired", root.issue(HERE, first_day=-10, last_day=-2))
    save(folder, "future", root.issue(HERE, first_day=2))
    save(folder, "wrong_name", root.issue(("other.test", "www.other.test")))
    save(folder, "wildcard", root.issue(("*.wild.test",)))
    save(folder, "ip", root.issue(("127.0.0.1",)))
    save(folder, "ip_as_name", root.issue(("127.0.0.1",), names_only=True))
    save(folder, "ip_wrong", root.issue(("127.0.0.9", "localhost")))
    save(folder, "unknown_ca", other.issue(HERE))
    save(folder, "self_signed", self_signed(HERE))
    leaf = middle.issue(HERE)
    save(folder, "chain", leaf, middle.certificate)
    save(folder, "no_intermediate", leaf)
    save(folder, "client", root.issue(("client.test",), client=True))
    save(folder, "client_unknown", other.issue(("client.test",), client=True))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    os.makedirs(sys.argv[1], exist_ok=True)
    make_all(sys.argv[1])

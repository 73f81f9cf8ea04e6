#!/usr/bin/env python3
"""A pooled helper: signs nodes of example.net with an intermediate.

usage: helper.py CERTIFICATE KEY   (PEM files; needs the package `cryptography`)

    [ca]
    kind = "pool"
    command = ["docs/helper.py", "intermediate.pem", "intermediate.key"]
    roots = "ca.pem"
"""

import datetime
import json
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE = datetime.timedelta(days=90)


class Authority:
    """The intermediate that signs."""

    def __init__(self, certificate, key):
        with open(certificate, "rb") as file:
            self.pem = file.read().decode()
        self.certificate = x509.load_pem_x509_certificate(self.pem.encode())
        with open(key, "rb") as file:
            self.key = serialization.load_pem_private_key(file.read(), password=None)

    def sign(self, identity, csr_pem):
        """A chain in PEM for the key of the request; its other wishes do not count."""
        key = x509.load_pem_x509_csr(csr_pem.encode()).public_key()
        now = datetime.datetime.now(datetime.timezone.utc)
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity)]))
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + LIFE)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(identity)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(
                x509.KeyUsage(True, False, False, False, False, False, False, False, False), critical=True
            )
            .sign(self.key, hashes.SHA256())
        )
        return leaf.public_bytes(serialization.Encoding.PEM).decode() + self.pem


def decide(authority, question):
    """The answer to one question, without the `request_id`."""
    if question["op"] == "health":
        return {"decision": "ok"}
    if question["op"] != "sign":
        return {"decision": "refuse", "reason_code": "unknown_op"}
    identity = question["identity"]
    if not identity.endswith(".example.net"):
        return {"decision": "refuse", "reason_code": "foreign_domain", "message": f"{identity} is not ours"}
    if question["inventory"].get("facts", {}).get("site") == "closed":
        return {"decision": "defer", "retry_after_s": 3600, "message": "its site opens tomorrow"}
    if question["dry_run"]:
        return {"decision": "issue"}
    return {"decision": "issue", "cert_chain_pem": authority.sign(identity, question["csr_pem"])}


def main():
    """Answers one line after the other until the service closes our input."""
    authority = Authority(*sys.argv[1:3])
    for line in sys.stdin:
        question = json.loads(line)
        answer = decide(authority, question)
        answer["request_id"] = question["request_id"]
        print(json.dumps(answer), flush=True)


main()

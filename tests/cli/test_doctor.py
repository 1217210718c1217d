"""`chainhub doctor`: each thing that can be wrong is told from the others, for nothing."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
import trustme

from chainhub_async.cli import diagnosis
from chainhub_async.errors import DeadlineError
from chainhub_async.testing import Emulator, MisbehavingServer
from chainhub_async.testing.bad_answers import Answer, EchoKey, HtmlError, Redirect
from chainhub_async.testing.faults import AcceptAndClose, ResetAfter

from .conftest import call, command, point_to

MODELS = Answer.json({"object": "list", "data": []})


def examined(*arguments: str) -> tuple[int, dict[str, str], str]:
    """The code, the state of each check, and all the text."""
    done = call("doctor", "--json", *arguments)
    told = json.loads(done.stdout)
    states = {check["name"]: check["state"] for check in told["checks"]}
    assert (done.exit_code == 0) is told["ok"]
    return done.exit_code, states, done.stdout


def failed(states: dict[str, str]) -> list[str]:
    """The names of what failed."""
    return [name for name, state in states.items() if state == "failed"]


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is set."""
    monkeypatch.setenv("CHAINHUB_API_KEY", "sk-secret-of-tests")


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(
    authority: trustme.CA, key: None, monkeypatch: pytest.MonkeyPatch
) -> Generator[MisbehavingServer, None, None]:
    """A server that speaks TLS with a certificate nobody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)  # pyright: ignore[reportUnknownMemberType] - trustme's
    with MisbehavingServer.in_thread(ssl_context=context) as running:
        monkeypatch.setenv("CHAINHUB_BASE_URL", running.base_url)
        running.gets.always(MODELS)
        yield running


def test_all_is_well(emulator: Emulator) -> None:
    """A good key at a good gateway is code 0; only the list of models was asked for."""
    code, states, _ = examined()
    assert code == 0
    assert set(states.values()) == {"ok"}
    assert [record.method for record in emulator.requests] == ["GET"]
    assert not emulator.billed


def test_as_a_checklist(emulator: Emulator) -> None:
    """For people it is a list, with a next step under what failed, and never the key."""
    emulator.api_keys = ("another",)
    done = call("doctor")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ok      versions: chainhub-async ")
    assert lines[-2].startswith("failed  key accepted: The gateway responded with 401")
    assert lines[-1].startswith("        -> Check CHAINHUB_API_KEY")
    assert "emulator-key" not in done.stdout


@pytest.mark.parametrize("odd", ["", "sk with a space", "sk-\u00e4"])
def test_no_key_or_an_odd_one(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    """The way is checked all the same, the key's acceptance is left out."""
    monkeypatch.setenv("CHAINHUB_API_KEY", odd)
    code, states, _ = examined()
    assert code == 1
    assert failed(states) == ["key"]
    assert states["gateway"] == "ok"
    assert states["key accepted"] == "skipped"


def test_a_name_that_does_not_exist(key: None) -> None:
    """The lookup fails, the rest is left out."""
    code, states, _ = examined("--base-url", "http://does-not-exist.invalid")
    assert code == 1
    assert failed(states) == ["name lookup"]
    assert states["connection"] == states["gateway"] == "skipped"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_closed_port(key: None, scheme: str) -> None:
    """The connection fails, after a lookup that went well."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        _, states, text = examined("--base-url", f"{scheme}://127.0.0.1:{bound.getsockname()[1]}")
    assert failed(states) == ["connection"]
    assert states["name lookup"] == "ok"
    assert "Nothing listens there" in text


def test_an_unknown_certificate(secure: MisbehavingServer) -> None:
    """TLS fails, and the advice is about certificates."""
    _, states, text = examined()
    assert failed(states) == ["TLS"]
    assert states["connection"] == "ok"
    assert "SSL_CERT_FILE" in text


def test_a_certificate_of_ones_own(
    secure: MisbehavingServer, authority: trustme.CA, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The advice helps."""
    authority.cert_pem.write_to_path(str(place / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(place / "ca.pem"))
    done = subprocess.run(command("doctor"), capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout
    assert b"ok      TLS\n" in done.stdout


def test_no_tls_where_it_is_expected(emulator: Emulator) -> None:
    """An http port asked for https is told from a bad certificate."""
    _, states, text = examined("--base-url", emulator.base_url.replace("http", "https"))
    assert failed(states) == ["TLS"]
    assert "The TLS handshake fails" in text


def test_tls_that_breaks_off(secure: MisbehavingServer) -> None:
    """The port is open and the handshake ends: that is TLS, not the connection."""
    secure.always(AcceptAndClose())
    _, states, text = examined()
    assert failed(states) == ["TLS"]
    assert "The port is open" in text


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Answer(headers=(("Content-Type", "text/html"),), body=b"<html>Hello</html>"), "not JSON"),
        (Answer.json({"status": "up"}), "not a list of models"),
        (Answer(status=404, body=b"<html>nginx</html>"), "not from the gateway"),
        (Answer(status=401, body=b"<html>Log in</html>"), "not from the gateway"),
        (HtmlError(502), "not from the gateway"),
        (Answer.json({"error": {"message": "down"}}, status=503), "has a problem"),
        (Redirect(301, location="https://example.com/"), "https://example.com/"),
        (ResetAfter(), "may be a different server"),
    ],
)
def test_something_else_answers(server: MisbehavingServer, fault: Answer, words: str) -> None:
    """Whatever is not the gateway, or is in trouble, is a failed gateway, and says what it was."""
    server.gets.always(fault)
    code, states, text = examined()
    assert code == 1
    assert failed(states) == ["gateway"]
    assert states["key accepted"] == "skipped"
    assert words in text


def test_a_path_too_many(emulator: Emulator) -> None:
    """A base URL with a path that the gateway does not know is told to lose it."""
    _, states, text = examined("--base-url", emulator.base_url + "/v1")
    assert failed(states) == ["gateway"]
    assert "Remove the path '/v1'" in text


def test_a_gateway_without_that_list(server: MisbehavingServer) -> None:
    """It is said what is not known, and the code is 1: the key was not seen to be accepted."""
    code, states, text = examined()
    assert code == 1
    assert failed(states) == []
    assert (states["gateway"], states["key accepted"]) == ("ok", "skipped")
    assert "only a paid call would tell" in text


@pytest.mark.parametrize(
    ("status", "state", "words"),
    [
        (402, "failed", "top it up"),
        (403, "failed", "not allowed to do this"),
        (429, "skipped", "Too many requests"),
        (400, "skipped", "does not accept the request"),
    ],
)
def test_other_refusals(server: MisbehavingServer, status: int, state: str, words: str) -> None:
    """The gateway answers; what it says about the key is told apart."""
    server.gets.always(Answer.json({"error": {"message": "no"}}, status=status))
    code, states, text = examined()
    assert code == 1
    assert (states["gateway"], states["key accepted"]) == ("ok", state)
    assert words in text


def test_an_echoed_key_is_not_shown(server: MisbehavingServer) -> None:
    """A server that sends the key back does not bring it to the screen."""
    server.gets.always(EchoKey())
    _, _, text = examined()
    assert point_to(server)["CHAINHUB_API_KEY"] not in text


def test_an_unusable_address(key: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base URL that is none is told with where it came from; nothing else is tried."""
    monkeypatch.setenv("CHAINHUB_BASE_URL", "gateway.example")
    code, states, text = examined()
    assert code == 1
    assert failed(states) == ["base URL"]
    assert "from CHAINHUB_BASE_URL" in text


def test_the_default_address(key: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without option or variable it is the gateway's own address; here behind a closed proxy."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{bound.getsockname()[1]}")
        _, states, text = examined()
    assert "https://api.chainhub.tech, from the default" in text
    assert "from HTTPS_PROXY" in text
    assert failed(states) == ["way through the proxy"]


def test_a_proxy_that_works(server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named with its variable, without its password; the way leads through it."""
    port = server.base_url.rpartition(":")[2]
    monkeypatch.setenv("http_proxy", f"http://user:hush@127.0.0.1:{port}")
    server.gets.always(MODELS)
    code, states, text = examined("--base-url", "http://gateway.invalid")
    assert code == 0
    assert states["way through the proxy"] == "ok"
    assert "name lookup" not in states
    assert f"http://127.0.0.1:{port}, with a user name, from http_proxy" in text
    assert "hush" not in text


def test_a_proxy_that_refuses(server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tunnel that is refused is the proxy's fault; its password is in no message."""
    port = server.base_url.rpartition(":")[2]
    monkeypatch.setenv("all_proxy", f"http://user:hush@127.0.0.1:{port}")
    server.gets.always(Answer(status=407))
    code, states, text = examined("--base-url", "https://gateway.invalid")
    assert code == 1
    assert failed(states) == ["way through the proxy"]
    assert "from all_proxy" in text
    assert "hush" not in text


def test_a_proxy_that_cannot_be_used(key: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of another kind is told before anything is tried."""
    monkeypatch.setenv("all_proxy", "socks5://user:hush@127.0.0.1:1")
    code, states, text = examined("--base-url", "http://gateway.invalid")
    assert code == 1
    assert failed(states) == ["proxy"]
    assert "hush" not in text


def test_a_proxy_of_the_system(server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that no variable names comes from the system's settings."""
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"http": server.base_url})
    server.gets.always(MODELS)
    code, _, text = examined("--base-url", "http://gateway.invalid")
    assert code == 0
    assert "from the system's settings" in text


def test_nothing_answers() -> None:
    """A port that takes connections and never finishes them is told as such."""
    late = DeadlineError("After 5 s no connection was ready.", phase="connect")
    url = "http://192.0.2.1"
    found = diagnosis.of_error(late, url, proxied=False, connects=False)
    assert [(check.name, check.state) for check in found] == [("connection", "failed")]
    assert "firewall" in found[0].advice
    through = diagnosis.of_error(late, url, proxied=True, connects=False)
    assert through[0].name == diagnosis.PROXY

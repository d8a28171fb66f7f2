import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter import config as config_module
from ollama_jupyter.config import Config, Host, allowed_origins, check_origins
from ollama_jupyter.errors import BadRequest
from ollama_jupyter.quantities import FOREVER_NS, MINUTE_NS, SECOND_NS

HOME = {"HOME": "/home/me", "USERPROFILE": "/home/me"}


def read(**environment: str) -> Config:
    return Config.from_environment(HOME | environment)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        (":1234", "http://:1234"),
        ("1.2.3.4:1234", "http://1.2.3.4:1234"),
        ("example.com", "http://example.com:11434"),
        (":0", "http://:0"),
        (":66000", "http://:11434"),
        (":-1", "http://:11434"),
        ("1.2.3.4:", "http://1.2.3.4:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:1337", "http://[::1]:1337"),
        ("a:b:c", "http://[a:b:c]:11434"),
        (' " 1.2.3.4 " ', "http://1.2.3.4:11434"),
        ("'1.2.3.4'", "http://1.2.3.4:11434"),
        ("http://1.2.3.4", "http://1.2.3.4:80"),
        ("https://1.2.3.4", "https://1.2.3.4:443"),
        ("https://1.2.3.4:x", "https://1.2.3.4:443"),
        ("tcp://1.2.3.4", "tcp://1.2.3.4:11434"),
        ("https://example.com/a b/", "https://example.com:443/a%20b"),
        ("example.com/x", "http://example.com:11434/x"),
        ("ollama.com", "https://ollama.com:443"),
        ("unix:/run/o.sock", "unix:/run/o.sock"),
        ("unix:///run/o.sock", "unix:/run/o.sock"),
    ],
)
def test_host_follows_the_variable(text: str, url: str) -> None:
    assert read(OLLAMA_HOST=text).host.url == url


@pytest.mark.parametrize(
    ("text", "url", "dial_name"),
    [
        ("0.0.0.0:1", "http://127.0.0.1:1", "127.0.0.1"),
        ("[::]:1", "http://[::1]:1", "::1"),
        (":1", "http://:1", "127.0.0.1"),
        ("1.2.3.4:1", "http://1.2.3.4:1", "1.2.3.4"),
        ("example.com:1", "http://example.com:1", "example.com"),
        ("[fe80::1%eth0]:1", "http://[fe80::1%eth0]:1", "fe80::1%eth0"),
    ],
)
def test_host_is_connectable_where_it_listens_everywhere(
    text: str, url: str, dial_name: str
) -> None:
    host = Host.parse(text)
    assert (host.connectable.url, host.dial_name) == (url, dial_name)


@pytest.mark.parametrize(
    ("text", "is_loopback"),
    [
        ("", True),
        ("127.8.8.8", True),
        ("LocalHost", True),
        ("[::1]", True),
        ("[::ffff:127.0.0.1]", True),
        ("unix:/s", True),
        ("0.0.0.0", False),
        (":1", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
    ],
)
def test_host_knows_whether_others_reach_it(text: str, is_loopback: bool) -> None:
    assert Host.parse(text).is_loopback is is_loopback


@given(st.text())
def test_host_is_made_of_any_text(text: str) -> None:
    host = Host.parse(text)
    assert 0 <= host.port <= 65535
    assert host.url


def test_config_has_the_defaults_in_an_empty_environment() -> None:
    config = read()
    assert config.models == Path("/home/me/.ollama/models")
    assert config.user_dir == Path("/home/me/.ollama")
    assert not config.is_host_set
    assert (config.keep_alive_ns, config.load_timeout_ns) == (5 * MINUTE_NS, 5 * MINUTE_NS)
    assert config.idle_exit_ns == 30 * MINUTE_NS
    assert (config.max_loaded_models, config.num_parallel, config.max_queue) == (0, 0, 512)
    assert (config.context_length, config.kv_cache_type) == (0, "")
    assert (config.flash_attention, config.go_template) == (None, None)
    switches = (config.noprune, config.nohistory, config.shared, config.insecure_no_key)
    assert not any(switches)
    assert config.offered_models
    assert config.prefix_sharing
    assert (config.api_key, config.memory_limit_bytes) == (None, None)
    assert (config.allowed_hosts, config.warnings) == ((), ())
    assert config.log_level == "info"


def test_config_reads_what_is_set() -> None:
    config = read(
        OLLAMA_HOST="h:1",
        OLLAMA_MODELS="~/models",
        OLLAMA_KEEP_ALIVE="-1",
        OLLAMA_LOAD_TIMEOUT="0",
        OLLAMA_JUPYTER_IDLE_EXIT="-5m",
        OLLAMA_MAX_LOADED_MODELS="2",
        OLLAMA_NUM_PARALLEL=" '3' ",
        OLLAMA_MAX_QUEUE="0",
        OLLAMA_CONTEXT_LENGTH="8192",
        OLLAMA_FLASH_ATTENTION="false",
        OLLAMA_KV_CACHE_TYPE="Q8_0",
        OLLAMA_GO_TEMPLATE="yes",
        OLLAMA_NOPRUNE="1",
        OLLAMA_NOHISTORY="true",
        OLLAMA_OFFERED_MODELS="0",
        OLLAMA_JUPYTER_PREFIX_SHARING="0",
        OLLAMA_INSECURE_NO_KEY="1",
        OLLAMA_API_KEY="secret",
        OLLAMA_ALLOWED_HOSTS="Box.lan, other",
        OLLAMA_JUPYTER_MEMORY_LIMIT="8GiB",
        OLLAMA_JUPYTER_RUNTIME_DIR="/run/x",
    )
    assert config.is_host_set
    assert config.models == Path("/home/me/models")
    assert (config.keep_alive_ns, config.load_timeout_ns) == (FOREVER_NS, FOREVER_NS)
    assert config.idle_exit_ns == 0
    assert (config.max_loaded_models, config.num_parallel, config.max_queue) == (2, 3, 0)
    assert (config.context_length, config.kv_cache_type) == (8192, "q8_0")
    assert (config.flash_attention, config.go_template) == (False, True)
    assert config.noprune
    assert config.nohistory
    assert config.insecure_no_key
    assert not config.offered_models
    assert not config.prefix_sharing
    assert config.api_key == "secret"
    assert config.allowed_hosts == ("box.lan", "other")
    assert config.memory_limit_bytes == 8 << 30
    assert config.runtime_dir == Path("/run/x")
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("name", "text", "default"),
    [
        ("OLLAMA_MAX_QUEUE", "many", "512"),
        ("OLLAMA_MAX_QUEUE", "-1", "512"),
        ("OLLAMA_MAX_QUEUE", "0x10", "512"),
        ("OLLAMA_NUM_PARALLEL", "18446744073709551616", "0"),
        ("OLLAMA_NUM_PARALLEL", "9" * 5000, "0"),
        ("OLLAMA_JUPYTER_IDLE_EXIT", "soon", "30m"),
        ("OLLAMA_JUPYTER_MEMORY_LIMIT", "lots", "no limit"),
    ],
)
def test_config_warns_of_a_text_that_makes_no_sense(name: str, text: str, default: str) -> None:
    config = read(**{name: text})
    assert config.warnings == (f"{name}={text!r} makes no sense, using {default}",)


@pytest.mark.parametrize("text", ["512", "0512", "0" * 5000 + "512"])
def test_config_does_not_warn_of_the_default_itself(text: str) -> None:
    config = read(OLLAMA_MAX_QUEUE=text, OLLAMA_NUM_PARALLEL="00")
    assert (config.max_queue, config.num_parallel, config.warnings) == (512, 0, ())


@pytest.mark.parametrize(
    ("text", "keep_alive_ns", "load_timeout_ns"),
    [
        ("1m", MINUTE_NS, MINUTE_NS),
        ("120", 120 * SECOND_NS, 120 * SECOND_NS),
        ("0", 0, FOREVER_NS),
        ("-0", 0, FOREVER_NS),
        ("-1m", FOREVER_NS, FOREVER_NS),
        ("1y", 5 * MINUTE_NS, 5 * MINUTE_NS),
    ],
)
def test_config_reads_durations(text: str, keep_alive_ns: int, load_timeout_ns: int) -> None:
    config = read(OLLAMA_KEEP_ALIVE=text, OLLAMA_LOAD_TIMEOUT=text)
    assert (config.keep_alive_ns, config.load_timeout_ns) == (keep_alive_ns, load_timeout_ns)


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("", "info"),
        ("false", "info"),
        ("0", "info"),
        ("1", "debug"),
        ("t", "debug"),
        ("2", "trace"),
        ("9", "trace"),
        ("-1", "warn"),
        ("-2", "error"),
        ("-9", "error"),
        ("random", "info"),
    ],
)
def test_config_reads_the_log_level(text: str, level: str) -> None:
    assert read(OLLAMA_DEBUG=text).log_level == level


def test_config_takes_a_hub_for_a_shared_machine_unless_told_otherwise() -> None:
    assert read(JUPYTERHUB_USER="me").shared
    assert not read(JUPYTERHUB_USER="me", OLLAMA_SHARED="0").shared
    assert read(OLLAMA_SHARED="1").shared


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"OLLAMA_JUPYTER_RUNTIME_DIR": "~/run", "XDG_RUNTIME_DIR": "/x"}, "/home/me/run"),
        ({"OLLAMA_JUPYTER_RUNTIME_DIR": "~", "XDG_RUNTIME_DIR": "/x"}, "/home/me"),
        ({"XDG_RUNTIME_DIR": "/x", "TMPDIR": "/t"}, "/x/ollama_jupyter"),
        ({"TMPDIR": "/t", "TEMP": "/u"}, f"/t/ollama_jupyter-{os.getuid()}"),
        ({"TEMP": "/u"}, f"/u/ollama_jupyter-{os.getuid()}"),
        ({}, f"/tmp/ollama_jupyter-{os.getuid()}"),
    ],
)
def test_config_finds_the_runtime_folder(environment: dict[str, str], folder: str) -> None:
    assert read(**environment).runtime_dir == Path(folder)


def test_config_names_the_runtime_folder_after_the_user_where_there_are_no_ids(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "getuid")
    assert read(USERNAME="me", TEMP="/t").runtime_dir == Path("/t/ollama_jupyter-me")


def test_config_asks_the_system_for_a_home_that_is_not_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert Config.from_environment({}).user_dir == tmp_path / ".ollama"


def test_allowed_origins_are_those_named_and_this_machine() -> None:
    origins = allowed_origins("https://a.example, ,app://*")
    assert origins[:2] == ("https://a.example", "app://*")
    assert {"http://localhost", "https://127.0.0.1:*", "http://[::1]:*"} < set(origins)
    assert not any(origin.startswith(("file:", "vscode")) for origin in origins)
    check_origins(origins)
    assert read(OLLAMA_ORIGINS="app://*").origins[0] == "app://*"


@pytest.mark.parametrize(
    ("origin", "is_good"),
    [
        ("http://a", True),
        ("chrome-extension://abc", True),
        ("*", True),
        ("app://*", True),
        ("a.example", False),
        ("app://x", False),
        ("http://*.a.*", False),
    ],
)
def test_check_origins_refuses_what_could_not_match(origin: str, is_good: bool) -> None:
    if is_good:
        check_origins((origin,))
    else:
        with pytest.raises(BadRequest, match="is no origin"):
            check_origins((origin,))


def test_config_docstring_lists_every_variable_that_is_read() -> None:
    documented = set(re.findall(r"^ +(OLLAMA_[A-Z_]+) ", str(config_module.__doc__), re.MULTILINE))
    source = Path(str(config_module.__file__)).read_text("utf-8")
    assert set(re.findall(r'"(OLLAMA_[A-Z_]+)"', source)) == documented

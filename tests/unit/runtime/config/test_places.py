from __future__ import annotations

from pathlib import Path

from finial.runtime.config import default_data_dir, default_socket
from finial.runtime.config.places import run_folder, state_folder


def test_root_keeps_its_state_where_services_do() -> None:
    environ = {"XDG_STATE_HOME": "/x", "XDG_RUNTIME_DIR": "/x"}
    assert state_folder("server", root=True, environ=environ) == Path("/var/lib/finial/server")
    assert run_folder("agent", root=True, environ=environ) == Path("/run/finial/agent")


def test_others_keep_it_where_the_xdg_folders_are() -> None:
    assert state_folder("server", root=False, environ={"XDG_STATE_HOME": "/x"}) == Path("/x/finial/server")
    assert run_folder("agent", root=False, environ={"XDG_RUNTIME_DIR": "/y"}) == Path("/y/finial/agent")


def test_without_them_it_is_in_the_home() -> None:
    environ = {"HOME": "/home/u", "XDG_STATE_HOME": "relative"}
    assert state_folder("agent", root=False, environ=environ) == Path("/home/u/.local/state/finial/agent")
    assert run_folder("agent", root=False, environ=environ) == Path("/home/u/.local/state/finial/run/agent")


def test_server_and_agent_never_share_a_folder() -> None:
    # The server's folder is closed to others and the agent's is open to all.
    assert default_socket("server").parent != default_socket("agent").parent
    assert default_data_dir("server") != default_data_dir("agent")
    assert default_socket("server").name == "server.sock"

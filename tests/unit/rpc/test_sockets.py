from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from finial.rpc import LOCAL, Channel, ListenError, Server, Tcp, Unix
from finial.rpc.sockets import bind
from support.rpc import ECHO, Service, run


def test_the_socket_file_has_its_mode_and_goes_with_the_listener(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = bind(Unix(str(path), 0o700), None, LOCAL)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    listener.close()
    assert not path.exists()
    listener.socket.close()


def test_a_socket_file_that_changed_hands_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = bind(Unix(str(path)), None, LOCAL)
    path.rename(tmp_path / "old")
    other = bind(Unix(str(path)), None, LOCAL)
    listener.close()
    assert path.exists()
    other.close()
    listener.socket.close()
    other.socket.close()


def test_a_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = bind(Unix(str(path)), None, LOCAL)
    listener.close()
    listener.socket.close()


def test_a_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = bind(Unix(str(path)), None, LOCAL)
    with pytest.raises(ListenError, match="another process does") as refused:
        bind(Unix(str(path)), None, LOCAL)
    assert refused.value.reason.id == "listen-in-use"
    assert path.exists()
    listener.close()
    listener.socket.close()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(ListenError, match="a file that is no socket is there"):
        bind(Unix(str(path)), None, LOCAL)
    assert path.read_text() == "precious"


def test_paths_that_cannot_be() -> None:
    with pytest.raises(ListenError, match="longer than 107 bytes") as refused:
        bind(Unix("/tmp/" + "x" * 103), None, LOCAL)
    assert refused.value.reason.id == "listen-path"
    with pytest.raises(ListenError, match="No such file or directory"):
        bind(Unix("/nonexistent/s"), None, LOCAL)


def test_a_socket_that_may_not_be_asked(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(ListenError, match=r"Protocol wrong type|wrong type"):
            bind(Unix(str(path)), None, LOCAL)


def test_a_port_in_use_and_an_address_that_is_not_ours() -> None:
    listener = bind(Tcp("127.0.0.1", 0), None, LOCAL)
    assert isinstance(listener.address, Tcp)
    assert listener.address.port > 0
    with pytest.raises(ListenError, match="the port is in use"):
        bind(listener.address, None, LOCAL)
    with pytest.raises(ListenError, match="cannot listen on 192.0.2.1:1: Cannot assign"):
        bind(Tcp("192.0.2.1", 1), None, LOCAL)
    with pytest.raises(ListenError, match="cannot listen on no.such.host.invalid:1"):
        bind(Tcp("no.such.host.invalid", 1), None, LOCAL)
    listener.close()
    listener.socket.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_tcp(host: str) -> None:
    async def main() -> None:
        service = Service()
        async with Server(service.routes()) as server:
            address = await server.listen(Tcp(host, 0))
            async with Channel(address) as channel:
                assert await channel.unary(ECHO, b"x") == b"x"
            assert service.calls[0].peer.address.startswith("[::1]:" if ":" in host else "127.0.0.1:")
            assert service.calls[0].peer.process is None

    run(main())


def test_unix_peers_are_known(tmp_path: Path) -> None:
    async def main() -> None:
        service = Service()
        async with Server(service.routes()) as server:
            address = await server.listen(Unix(str(tmp_path / "s")))
            async with Channel(address) as channel:
                assert await channel.unary(ECHO, b"x") == b"x"
                peer = service.calls[0].peer
                assert peer.process is not None
                assert peer.process.alive()
                assert peer.address == f"unix (pid {peer.process.pid})"

    run(main())


def test_two_routes_for_one_path_are_refused() -> None:
    service = Service()
    with pytest.raises(ValueError, match="two routes for /finial.test.Bytes/Echo"):
        Server([*service.routes(), *service.routes()])
    assert {m.name for m in Server(service.routes()).methods} >= {"Echo", "Chat"}

"""The Bundle service as its callers see it: the own bundle, and foreign ones kept by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.core.keys import public_key_der
from finial.core.x509cert import Certificate
from finial.rpc import StatusCode
from finial.server.api.bundle import BundleService
from finial.server.api.chain import Caller
from finial.server.policy import Role
from finial.server.store import bundles
from finial.server.store.errors import UNAVAILABLE, StoreError
from finial.server.store.writer import Store
from finial.wire import registry
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_types as types
from support import forge
from support.certs import Authority
from support.rpc import run
from support.server_api import Served, served
from support.server_store import DOMAIN, an_entry

_SERVICE = bundle_pb.Bundle
_DERS = [Authority("example.org").der for _ in range(2)]
_FOREIGN = [Authority("b.test").der for _ in range(2)]
_OK = (0, "OK")
_JWT_KEY = public_key_der(forge.key("token").public_key())
_WIT = types.WITKey(public_key=_JWT_KEY, key_id="w")


def _test(path: Path, scenario: Callable[[Served], Awaitable[None]]) -> None:
    async def main() -> None:
        async with served(path / "db") as server:
            own = Bundle(trust_domain=DOMAIN, x509_authorities=(Certificate.parse(_DERS[0]),))
            await server.world.store.write(lambda tx: bundles.publish(tx, DOMAIN, lambda _: own))
            await scenario(server)

    run(main())


def _x509(*ders: bytes, tainted: bool = False) -> list[types.X509Certificate]:
    return [types.X509Certificate(asn1=der, tainted=tainted) for der in ders]


def _bundle(name: str = "b.test", *ders: bytes, **more: object) -> types.Bundle:
    return types.Bundle(
        trust_domain=name,
        x509_authorities=_x509(*(ders or _FOREIGN[:1])),
        **more,  # type: ignore[arg-type]
    )


def _jwt(key_id: str = "k") -> types.JWTKey:
    return types.JWTKey(public_key=_JWT_KEY, key_id=key_id, expires_at=9)


_Result = (
    bundle_pb.BatchCreateFederatedBundleResponse.Result
    | bundle_pb.BatchUpdateFederatedBundleResponse.Result
    | bundle_pb.BatchSetFederatedBundleResponse.Result
    | bundle_pb.BatchDeleteFederatedBundleResponse.Result
)


def _statuses(results: Iterable[_Result]) -> list[tuple[int, str]]:
    return [(result.status.code, result.status.message) for result in results]


async def _set(
    server: Served, *given: types.Bundle
) -> list[bundle_pb.BatchSetFederatedBundleResponse.Result]:
    request = bundle_pb.BatchSetFederatedBundleRequest(bundle=given)
    return list((await server.call(_SERVICE.BatchSetFederatedBundle, request)).results)


async def _get(server: Served, name: str) -> types.Bundle:
    request = bundle_pb.GetFederatedBundleRequest(trust_domain=name)
    return await server.call(_SERVICE.GetFederatedBundle, request)


def test_the_own_bundle(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        whole = await server.call(_SERVICE.GetBundle, bundle_pb.GetBundleRequest())
        assert whole == _bundle("example.org", _DERS[0], sequence_number=1)
        masked = bundle_pb.GetBundleRequest(output_mask=types.BundleMask(sequence_number=True))
        expected = types.Bundle(trust_domain="example.org", sequence_number=1)
        assert await server.call(_SERVICE.GetBundle, masked) == expected
        assert (await server.call(_SERVICE.CountBundles, bundle_pb.CountBundlesRequest())).count == 1

    _test(tmp_path, scenario)


def test_a_server_without_a_bundle_yet(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path / "db") as server:
            refused = await server.refused(_SERVICE.GetBundle, bundle_pb.GetBundleRequest())
            assert refused == (StatusCode.NOT_FOUND, "bundle not found")

    run(main())


def test_authorities_are_appended_once(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        request = bundle_pb.AppendBundleRequest(
            x509_authorities=_x509(*_DERS, tainted=True),
            jwt_authorities=[_jwt()],
            wit_authorities=[types.WITKey(key_id="w")],
        )
        for _ in range(2):
            reply = await server.call(_SERVICE.AppendBundle, request)
            assert reply == _bundle("example.org", *_DERS, sequence_number=2, jwt_authorities=[_jwt()])
        masked = bundle_pb.AppendBundleRequest(jwt_authorities=[_jwt("l")], output_mask=types.BundleMask())
        assert await server.call(_SERVICE.AppendBundle, masked) == types.Bundle(trust_domain="example.org")
        bundle = server.world.index.bundle
        assert bundle is not None
        assert bundle.sequence == 3

    _test(tmp_path, scenario)


def test_what_cannot_be_appended(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        nothing = bundle_pb.AppendBundleRequest(wit_authorities=[types.WITKey(key_id="w")])
        refused = await server.refused(_SERVICE.AppendBundle, nothing)
        assert refused == (StatusCode.INVALID_ARGUMENT, "no authorities to append")
        garbage = bundle_pb.AppendBundleRequest(x509_authorities=_x509(b"garbage"))
        code, message = await server.refused(_SERVICE.AppendBundle, garbage)
        assert code is StatusCode.INVALID_ARGUMENT
        assert message.startswith("x509_authorities[0]: ")

    _test(tmp_path, scenario)


def test_a_foreign_bundle_is_created_once(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        given = _bundle(sequence_number=7, refresh_hint=60, jwt_authorities=[_jwt()])
        request = bundle_pb.BatchCreateFederatedBundleRequest(
            bundle=[given, given, _bundle("example.org"), _bundle("B"), _bundle("c.test", b"garbage")]
        )
        results = (await server.call(_SERVICE.BatchCreateFederatedBundle, request)).results
        statuses = _statuses(results)
        assert statuses[:2] == [_OK, (6, "bundle already exists")]
        own = "creating a federated bundle for the server's own trust domain is not allowed"
        assert statuses[2] == (3, own)
        assert [code for code, _ in statuses[3:]] == [3, 3]
        assert statuses[3][1].startswith("trust domain argument is not valid: ")
        assert statuses[4][1].startswith("failed to convert bundle: x509_authorities[0]: ")
        assert results[0].bundle == given
        assert not results[1].HasField("bundle")
        assert await _get(server, "b.test") == given

    _test(tmp_path, scenario)


def test_setting_creates_or_replaces(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        (first,) = await _set(server, _bundle(sequence_number=7))
        assert _statuses([first]) == [_OK]
        assert first.bundle == _bundle(sequence_number=7)
        lower = _bundle("b.test", b"".join(_FOREIGN), sequence_number=3, wit_authorities=[types.WITKey()])
        request = bundle_pb.BatchSetFederatedBundleRequest(
            bundle=[lower, _bundle("example.org")], output_mask=types.BundleMask(sequence_number=True)
        )
        results = (await server.call(_SERVICE.BatchSetFederatedBundle, request)).results
        own = "setting a federated bundle for the server's own trust domain is not allowed"
        assert _statuses(results) == [_OK, (3, own)]
        assert results[0].bundle == types.Bundle(trust_domain="b.test", sequence_number=3)
        assert await _get(server, "spiffe://b.test") == _bundle("b.test", *_FOREIGN, sequence_number=3)

    _test(tmp_path, scenario)


def test_keys_for_wit_svids_are_kept_by_a_server_that_has_opted_in(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        service = BundleService(server.world.index, server.world.store, wit=True)
        setting = bundle_pb.BatchSetFederatedBundleRequest(bundle=[_bundle(wit_authorities=[_WIT])])
        (result,) = (await service.batch_set(setting, Caller(Role.LOCAL, "unix:1"))).results
        assert list(result.bundle.wit_authorities) == [_WIT]
        assert list((await _get(server, "b.test")).wit_authorities) == [_WIT]
        (plain,) = await _set(server, _bundle(wit_authorities=[_WIT]))
        assert not plain.bundle.wit_authorities

    _test(tmp_path, scenario)


def test_an_update_changes_what_is_selected(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await _set(server, _bundle(sequence_number=7, jwt_authorities=[_jwt()]))
        request = bundle_pb.BatchUpdateFederatedBundleRequest(
            bundle=[
                _bundle("b.test", b"not looked at", refresh_hint=60, sequence_number=9),
                _bundle("c.test"),
                _bundle("example.org"),
                _bundle(refresh_hint=-1),
            ],
            input_mask=types.BundleMask(refresh_hint=True),
        )
        results = (await server.call(_SERVICE.BatchUpdateFederatedBundle, request)).results
        statuses = _statuses(results)
        own = "updating a federated bundle for the server's own trust domain is not allowed"
        assert statuses[:3] == [_OK, (5, "bundle not found"), (3, own)]
        assert statuses[3][0] == 3
        assert statuses[3][1].startswith("failed to convert bundle: refresh_hint: ")
        expected = _bundle(sequence_number=7, jwt_authorities=[_jwt()], refresh_hint=60)
        assert results[0].bundle == expected
        assert await _get(server, "b.test") == expected
        everything = bundle_pb.BatchUpdateFederatedBundleRequest(bundle=[_bundle("b.test", _FOREIGN[1])])
        (result,) = (await server.call(_SERVICE.BatchUpdateFederatedBundle, everything)).results
        assert result.bundle == _bundle("b.test", _FOREIGN[1])

    _test(tmp_path, scenario)


def test_getting_one(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        async def refused(name: str) -> tuple[StatusCode, str]:
            request = bundle_pb.GetFederatedBundleRequest(trust_domain=name)
            return await server.refused(_SERVICE.GetFederatedBundle, request)

        assert await refused("b.test") == (StatusCode.NOT_FOUND, "bundle not found")
        text = "getting a federated bundle for the server's own trust domain is not allowed"
        assert await refused("example.org") == (StatusCode.INVALID_ARGUMENT, text)
        code, message = await refused("")
        assert code is StatusCode.INVALID_ARGUMENT
        assert message.startswith("trust domain argument is not valid: ")
        await _set(server, _bundle(refresh_hint=1))
        request = bundle_pb.GetFederatedBundleRequest(
            trust_domain="b.test", output_mask=types.BundleMask(refresh_hint=True)
        )
        cut = await server.call(_SERVICE.GetFederatedBundle, request)
        assert cut == types.Bundle(trust_domain="b.test", refresh_hint=1)

    _test(tmp_path, scenario)


def test_pages_leave_the_own_bundle_out(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        names = ["a.test", "b.test", "c.test"]
        await _set(server, *map(_bundle, names))
        token, pages = "", []
        while True:
            request = bundle_pb.ListFederatedBundlesRequest(
                page_size=2, page_token=token, output_mask=types.BundleMask()
            )
            reply = await server.call(_SERVICE.ListFederatedBundles, request)
            pages.append([bundle.trust_domain for bundle in reply.bundles])
            token = reply.next_page_token
            if not token:
                break
        assert pages == [["a.test", "b.test"], ["c.test"], []]
        whole = await server.call(_SERVICE.ListFederatedBundles, bundle_pb.ListFederatedBundlesRequest())
        assert list(whole.bundles) == list(map(_bundle, names))
        assert (await server.call(_SERVICE.CountBundles, bundle_pb.CountBundlesRequest())).count == 4

    _test(tmp_path, scenario)


_Mode = bundle_pb.BatchDeleteFederatedBundleRequest
_OTHER, _LEFT = TrustDomain("b.test"), TrustDomain("c.test")


async def _federate(server: Served) -> None:
    await _set(server, _bundle("b.test"), _bundle("c.test"))
    await server.world.create(
        an_entry("one", federates_with=(_OTHER, _LEFT)),
        an_entry("two", federates_with=(_OTHER,)),
        an_entry("three", federates_with=(_LEFT,)),
    )


async def _delete(server: Served, mode: str, *names: str) -> list[tuple[int, str]]:
    request = _Mode(trust_domains=names, mode=_Mode.Mode.Value(mode))
    reply = await server.call(_SERVICE.BatchDeleteFederatedBundle, request)
    assert [result.trust_domain for result in reply.results] == list(names)
    return _statuses(reply.results)


def test_a_bundle_that_entries_name_is_not_deleted(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await _federate(server)
        await _set(server, _bundle("lonely.test"))
        failed = "failed to delete federated bundle"
        statuses = await _delete(
            server, "RESTRICT", "b.test", "lonely.test", "lonely.test", "example.org", ""
        )
        assert statuses[:4] == [
            (9, f"{failed}: cannot delete bundle; federated with 2 registration entries"),
            _OK,
            (5, "bundle not found"),
            (3, "removing the bundle for the server trust domain is not allowed"),
        ]
        assert statuses[4][0] == 3
        assert server.world.index.bundles.get("b.test") is not None
        assert server.world.index.bundles.get("lonely.test") is None

    _test(tmp_path, scenario)


def test_a_bundle_is_deleted_with_the_entries_that_name_it(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await _federate(server)
        assert await _delete(server, "DELETE", "b.test") == [_OK]
        assert [record.id for record in server.world.index.entries.after(0)] == ["three"]
        assert server.world.index.bundles.get("b.test") is None

    _test(tmp_path, scenario)


def test_a_bundle_is_deleted_and_entries_lose_the_reference(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        await _federate(server)
        assert await _delete(server, "DISSOCIATE", "b.test") == [_OK]
        found = {record.id: record for record in server.world.index.entries.after(0)}
        # The revision rises: agents that sync by it have to learn of the change.
        assert {key: record.revision for key, record in found.items()} == {"one": 1, "two": 1, "three": 0}
        left = {key: registry.decode_entry(record.data).federates_with for key, record in found.items()}
        assert left == {"one": (_LEFT,), "two": (), "three": (_LEFT,)}

    _test(tmp_path, scenario)


def test_an_unknown_mode_is_refused(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        request = _Mode.FromString(b"\x10\x09")
        refused = await server.refused(_SERVICE.BatchDeleteFederatedBundle, request)
        assert refused == (StatusCode.INVALID_ARGUMENT, "unhandled delete mode 9")

    _test(tmp_path, scenario)


def test_a_database_that_fails_is_told_of_each_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(store: Store, work: object) -> None:
        raise StoreError(UNAVAILABLE, "disk full")

    async def scenario(server: Served) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(Store, "write", broken)
            assert _statuses(await _set(server, _bundle())) == [(14, "failed to set bundle: disk full")]
            deleted = await _delete(server, "RESTRICT", "b.test")
        assert deleted == [(14, "failed to delete federated bundle: disk full")]

    _test(tmp_path, scenario)


def test_what_is_not_served_is_unimplemented(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        code, _ = await server.refused(_SERVICE.PublishWITAuthority, bundle_pb.PublishWITAuthorityRequest())
        assert code is StatusCode.UNIMPLEMENTED

    _test(tmp_path, scenario)

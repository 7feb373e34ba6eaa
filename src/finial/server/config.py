"""The settings of a server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal

from finial.core.errors import shown
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.keys import KeyType
from finial.core.revision import STANDARDS
from finial.core.rotation import longest_svid_ttl
from finial.rpc import Limits, Tcp
from finial.runtime.config import (
    SIZE,
    SOCKET,
    Form,
    Reload,
    Remark,
    Settings,
    address,
    default_data_dir,
    default_socket,
    revision,
    setting,
    settings,
    write_duration,
)

_RPC = Limits()
_SECOND = timedelta(seconds=1)
_NEVER = timedelta(0)
_SHORTEST_CA = timedelta(minutes=1)  # of a shorter one hardly more is left than the time to publish the next
_LONGEST = timedelta(days=36_525)  # a century: certificates cannot name every instant that a number can

# spec: RFC 7519 2, what holds a colon has to be a URI
_ISSUER = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+|[!-9;-~]+")


def _read_issuer(raw: object) -> str:
    if isinstance(raw, str) and _ISSUER.fullmatch(raw):
        return raw
    given = shown(raw) if isinstance(raw, str) else raw
    raise ValueError(f"{given} is neither a URI such as https://issuer.example.org nor a word")


@settings
class ServerSettings(Settings):
    """What an operator decides about a server; only the trust domain has to be given."""

    trust_domain: TrustDomain = setting("The trust domain that the server signs for, such as example.org.")
    data_dir: Path = setting(
        "The folder of its database and keys.", default_factory=lambda: default_data_dir("server")
    )
    bind: Tcp = setting(
        "Where agents reach it; an IPv6 address stands in brackets.",
        default=Tcp("0.0.0.0", 8081),  # noqa: S104 - agents come from other machines
        form=address(Tcp),
    )
    socket: Path = setting(
        "The Unix socket for administration; whoever can open it may do everything.",
        default_factory=lambda: default_socket("server"),
        form=SOCKET,
    )

    ca_ttl: timedelta = setting(
        "How long an authority lives, for SVIDs of each kind; it is replaced before it ends.",
        default=timedelta(hours=24),
        least=_SHORTEST_CA,
        most=_LONGEST,
        reload=Reload.LIVE,
    )
    ca_key_type: KeyType = setting(
        "The kind of key that the next X.509 authority gets.", default=KeyType.EC_P256, reload=Reload.LIVE
    )
    default_x509_svid_ttl: timedelta = setting(
        "How long an X.509-SVID lives whose entry does not say it.",
        default=timedelta(hours=1),
        least=_SECOND,
        most=_LONGEST,
        reload=Reload.LIVE,
    )
    default_jwt_svid_ttl: timedelta = setting(
        "How long a JWT-SVID lives whose entry does not say it.",
        default=timedelta(minutes=5),
        least=_SECOND,
        most=_LONGEST,
        reload=Reload.LIVE,
    )
    max_jwt_svid_ttl: timedelta | None = setting(
        "How long any JWT-SVID lives at most, whatever its entry or an operator asks for.",
        default=None,
        least=_SECOND,
        most=_LONGEST,
        default_text="as long as its key",
        reload=Reload.LIVE,
    )
    default_wit_svid_ttl: timedelta = setting(
        "How long a WIT-SVID lives whose entry does not say it by its x509_svid_ttl.",
        default=timedelta(hours=1),
        least=_SECOND,
        most=_LONGEST,
        reload=Reload.LIVE,
    )
    jwt_key_type: KeyType | None = setting(
        "The kind of key that the next JWT authority gets.",
        default=None,
        default_text="as ca_key_type",
        reload=Reload.LIVE,
    )
    wit_key_type: KeyType = setting(
        "The kind of key that the next WIT authority gets.", default=KeyType.EC_P256, reload=Reload.LIVE
    )
    jwt_issuer: str | None = setting(
        "What JWT-SVIDs name as their issuer; OpenID Connect wants the URL where the keys can be discovered.",
        default=None,
        default_text="no issuer",
        form=Form("URI", _read_issuer),
        reload=Reload.LIVE,
    )
    disable_jwt_svids: bool = setting("Sign no JWT-SVIDs, and have no keys for them.", default=False)
    refuse_wide_audiences: bool = setting(
        "Sign no JWT-SVID for a whole trust domain, whose every service could show it to all others; "
        "otherwise that is only warned of.",
        default=False,
        reload=Reload.LIVE,
    )
    agent_ttl: timedelta = setting(
        "How long the SVIDs of agents live; 0 for the same as default_x509_svid_ttl.",
        default=_NEVER,
        least=_NEVER,
        most=_LONGEST,
        default_text="as default_x509_svid_ttl",
        reload=Reload.LIVE,
    )
    max_join_token_ttl: timedelta = setting(
        "The longest life of a join token that is granted.",
        default=timedelta(hours=24),
        least=_SECOND,
        most=_LONGEST,
        reload=Reload.LIVE,
    )
    prune_interval: timedelta = setting(
        "How often expired entries, tokens and authorities are removed.",
        default=timedelta(minutes=5),
        least=_SECOND,
        reload=Reload.LIVE,
    )
    admin_ids: tuple[SpiffeID, ...] = setting(
        "SPIFFE IDs that may administer the server over TLS.", default=(), reload=Reload.LIVE
    )

    key_manager: str = setting("The plugin that keeps the server's keys.", default="disk")
    node_attestors: tuple[str, ...] = setting(
        "The plugins that attest nodes, beside join tokens, which are always there.", default=()
    )
    plugins: Mapping[str, Mapping[str, Mapping[str, object]]] = setting(
        "The settings of plugins: a table [plugins.KIND.NAME] for each.", default_factory=dict, option=False
    )

    incubating_wit_svid: str | None = setting(
        "Sign WIT-SVIDs by this revision of their standard, which is still to change. Older consumers refuse "
        "the whole trust bundle once it has keys for them.",
        default=None,
        default_text="no WIT-SVIDs",
        form=revision(STANDARDS),
        key="incubating.wit_svid",
    )

    ratelimit_attestation: bool = setting(
        "Let each address attest once a second, and no more.", default=True, key="ratelimit.attestation"
    )
    ratelimit_signing: bool = setting(
        "Let each address have 500 SVIDs of each kind signed a second, and no more.",
        default=True,
        key="ratelimit.signing",
    )
    limits_max_connections: int = setting(
        "How many connections over TLS are open at once; further ones are closed.",
        default=_RPC.max_connections,
        least=1,
        key="limits.max_connections",
    )
    limits_max_connections_per_address: int = setting(
        "How many of those one IPv4 address or IPv6 /64 has; agents behind one NAT share an address.",
        default=_RPC.max_connections_per_address,
        least=1,
        key="limits.max_connections_per_address",
    )
    limits_max_handshakes: int = setting(
        "How many connections over TLS are still in their handshake.",
        default=_RPC.max_handshakes,
        least=1,
        key="limits.max_handshakes",
    )
    limits_max_concurrent_streams: int = setting(
        "How many calls one connection has open at once.",
        default=_RPC.max_concurrent_streams,
        least=1,
        key="limits.max_concurrent_streams",
    )
    limits_max_receive_bytes: int = setting(
        "The longest message that is accepted.",
        default=_RPC.max_receive_bytes,
        form=SIZE,
        least=64 << 10,
        most=_RPC.max_buffered_bytes,
        key="limits.max_receive_bytes",
    )
    limits_handshake_timeout: timedelta = setting(
        "How long a handshake may take.",
        default=_RPC.handshake_timeout,
        least=_SECOND,
        key="limits.handshake_timeout",
    )
    limits_max_connection_age: timedelta = setting(
        "How old a connection over TLS gets, give or take a fifth, before agents are asked to make a new "
        "one; 0 for any age.",
        default=timedelta(hours=1),
        least=_NEVER,
        key="limits.max_connection_age",
    )
    limits_max_connection_grace: timedelta = setting(
        "How long calls may go on over a connection that has got so old; 0 for ever.",
        default=_RPC.max_connection_grace or _NEVER,
        least=_NEVER,
        key="limits.max_connection_grace",
    )
    limits_send_timeout: timedelta = setting(
        "How long an answer may wait for a peer that takes nothing before its call is ended; 0 for ever.",
        default=_RPC.send_timeout or _NEVER,
        least=_NEVER,
        key="limits.send_timeout",
    )
    metrics_bind: Tcp | None = setting(
        "Where figures can be fetched by HTTP at /metrics, such as 127.0.0.1:9988; whoever reaches it may "
        "read them.",
        default=None,
        default_text="nowhere",
        form=address(Tcp),
        key="metrics.bind",
    )
    shutdown_grace: timedelta = setting(
        "How long calls may go on when the server ends.", default=timedelta(seconds=10), least=_NEVER
    )

    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "From which level on events are logged.", default="info", reload=Reload.LIVE
    )
    log_format: Literal["text", "json"] = setting("How they are written.", default="text")

    @property
    def agent_svid_ttl(self) -> timedelta:
        """How long the SVIDs of agents live."""
        return self.agent_ttl or self.default_x509_svid_ttl

    @property
    def jwt_authority_key_type(self) -> KeyType:
        """The kind of key that the next JWT authority gets."""
        return self.jwt_key_type or self.ca_key_type

    @property
    def limits(self) -> Limits:
        """What peers over TLS are granted."""
        return Limits(
            max_connections=self.limits_max_connections,
            max_connections_per_address=self.limits_max_connections_per_address,
            max_handshakes=self.limits_max_handshakes,
            max_concurrent_streams=self.limits_max_concurrent_streams,
            max_receive_bytes=self.limits_max_receive_bytes,
            handshake_timeout=self.limits_handshake_timeout,
            send_timeout=self.limits_send_timeout or None,
            max_connection_age=self.limits_max_connection_age or None,
            max_connection_grace=self.limits_max_connection_grace or None,
        )

    def remarks(self) -> Iterator[Remark]:
        """Settings that together do something else than each of them says."""
        yield from self._cut_short()
        default, most = self.default_jwt_svid_ttl, self.max_jwt_svid_ttl
        if not self.disable_jwt_svids and most is not None and most < default:
            message = f"JWT-SVIDs end after {write_duration(most)}, not after {write_duration(default)}"
            yield Remark(("default_jwt_svid_ttl", "max_jwt_svid_ttl"), message, wrong=False)
        if self.disable_jwt_svids and self.jwt_issuer is not None:
            message = "there are no JWT-SVIDs to name the issuer in"
            yield Remark(("jwt_issuer", "disable_jwt_svids"), message, wrong=False)
        elif self.incubating_wit_svid is not None and self.jwt_issuer is not None:
            message = "WIT-SVIDs name none: it would be taken for one to discover"
            yield Remark(("jwt_issuer", "incubating.wit_svid"), message, wrong=False)

    def _cut_short(self) -> Iterator[Remark]:
        """SVIDs that outlive what the authority can promise are cut short, which surprises people."""
        longest = longest_svid_ttl(self.ca_ttl)
        asked = {"default_x509_svid_ttl": self.default_x509_svid_ttl, "agent_ttl": self.agent_ttl}
        if not self.disable_jwt_svids:
            asked["default_jwt_svid_ttl"] = self.default_jwt_svid_ttl
        if self.incubating_wit_svid is not None:
            asked["default_wit_svid_ttl"] = self.default_wit_svid_ttl
        for key, ttl in asked.items():
            if ttl > longest:
                message = (
                    f"SVIDs of {write_duration(ttl)} may end earlier: with ca_ttl "
                    f"{write_duration(self.ca_ttl)} only {write_duration(longest)} always fit"
                )
                yield Remark((key, "ca_ttl"), message, wrong=False)

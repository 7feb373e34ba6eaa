"""The ID parser and the rule table behind it say the same, and what is accepted keeps its shape."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from finial.core.errors import SpiffeIDError
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.rules.engine import Stage
from finial.core.rules.spiffe_id import TABLE, cut, of_name
from fuzz.targets.ids import valid

# Machines that are busy with other things make no input slow.
CALM = settings(deadline=None)

NAME = st.text("abcxyz0189.-_", min_size=1, max_size=255)
SEGMENT = st.text("abzABZ09.-_", min_size=1, max_size=40).filter(lambda text: text not in {".", ".."})
PIECES = st.sampled_from(
    ["spiffe://", "a.test", "/", "//", ".", "..", "A", "%2e", "?", "#", "@", ":", "[", "\n", "\u212a"]
)
CLAIMED = st.one_of(
    st.text(max_size=50),
    st.lists(PIECES, max_size=10).map("".join),
    st.lists(PIECES, max_size=10).map(lambda pieces: "spiffe://" + "".join(pieces)),
    st.tuples(NAME, st.lists(SEGMENT, max_size=4)).map(
        lambda parts: "/".join(["spiffe://" + parts[0], *parts[1]])
    ),
)


def accepts(text: str) -> bool:
    try:
        SpiffeID(text)
    except SpiffeIDError:
        return False
    return True


@CALM
@given(CLAIMED)
def test_expression_table_and_standard_agree(text: str) -> None:
    assert accepts(text) == (not TABLE.findings(cut(text), Stage.PARSE)) == valid(text)


@CALM
@given(st.one_of(NAME, st.text(max_size=20), st.text("aA.-_/?#@:", max_size=8)))
def test_a_name_is_judged_as_in_an_id(name: str) -> None:
    try:
        domain = TrustDomain(name)
    except SpiffeIDError:
        assert not accepts(f"spiffe://{name}") or "/" in name
    else:
        assert domain.id.trust_domain == domain
        assert not TABLE.findings(of_name(name), Stage.PARSE)


@CALM
@given(NAME, st.lists(SEGMENT, max_size=5))
def test_parts_make_the_id_that_is_parsed(name: str, segments: list[str]) -> None:
    domain = TrustDomain(name)
    made = SpiffeID.from_parts(domain, *segments)
    assert made == SpiffeID.from_path(domain, made.path) == SpiffeID(made.text)
    assert made.trust_domain == domain
    assert made.path.split("/")[1:] == segments


@CALM
@given(NAME, st.text(max_size=10))
def test_a_segment_never_changes_the_shape(name: str, segment: str) -> None:
    domain = TrustDomain(name)
    try:
        made = SpiffeID.from_parts(domain, "before", segment, "after")
    except SpiffeIDError:
        return
    assert made.path.split("/") == ["", "before", segment, "after"]
    assert made.trust_domain == domain

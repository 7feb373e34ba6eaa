from __future__ import annotations

import pytest

from finial.cli.spelling import Option, translate

OPTIONS = (
    Option("--spiffe-id"),
    Option("--x509-svid-ttl"),
    Option("--store-svid", "--no-store-svid", takes_value=False),
    Option("--silent", takes_value=False),
    Option("--socket"),
    Option("--trust-domain"),
)


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        ("-spiffeID X", "--spiffe-id X"),
        ("-spiffeID=X", "--spiffe-id X"),
        ("--spiffeID=X", "--spiffe-id X"),
        ("--spiffe-id X", "--spiffe-id X"),
        ("-spiffeid X", "--spiffe-id X"),
        ("-x509SVIDTTL 60", "--x509-svid-ttl 60"),
        ("-socketPath /s", "--socket /s"),
        ("-id td", "--trust-domain td"),
        ("-storeSVID", "--store-svid"),
        ("-storeSVID=true", "--store-svid"),
        ("-storeSVID=false", "--no-store-svid"),
        ("--store-svid=false", "--no-store-svid"),
        ("--no-store-svid", "--no-store-svid"),
        ("--no-store-svid=true", "--no-store-svid"),
        ("--no-store-svid=false", "--store-svid"),
        ("-silent=false", ""),
        ("-storeSVID true", "--store-svid"),
        ("-storeSVID FALSE -silent", "--no-store-svid --silent"),
        ("-silent=1", "--silent"),
        ("-spiffeID -storeSVID", "--spiffe-id -storeSVID"),
        ("-spiffeID=-a=b", "--spiffe-id -a=b"),
        ("a -b -c", "a -b -c"),
        ("-- -spiffeID", "-- -spiffeID"),
        ("-storeSVID=maybe", "--storeSVID=maybe"),
        ("--silent=maybe", "--silent=maybe"),
        ("-unknown x", "--unknown x"),
        ("--unknown x", "--unknown x"),
        ("-spiffeID", "--spiffe-id"),
        ("- -h", "- -h"),
    ],
)
def test_each_spelling_becomes_ours(words: str, ours: str) -> None:
    assert translate(words.split(), OPTIONS) == ours.split()


def test_a_word_that_means_another_option_elsewhere_is_left_alone() -> None:
    assert translate(["-id", "x"], [Option("--spiffe-id")]) == ["--id", "x"]

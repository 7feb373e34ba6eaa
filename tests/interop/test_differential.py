"""Generated inputs, good and bad, before go-spiffe and our core: every disagreement is a documented one.

DIFFERENCES inputs of each kind are tried, SEED says which.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from differential.run import KINDS, Tally, cases
from support.judge import GO, Judge

_USUAL = 4000
_COUNT = int(os.environ.get("DIFFERENCES", _USUAL))
_SEED = int(os.environ.get("SEED", "1"))
_SHOWN = 10

# It reads the certificate, and this reading refuses it for its serial number.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")


@pytest.mark.timeout(120 + _COUNT // 50)
@pytest.mark.parametrize("kind", KINDS)
def test_every_disagreement_with_go_spiffe_is_documented(spiffepeer: Path, kind: str) -> None:
    async def main() -> Tally:
        tally = Tally()
        async with Judge(GO, spiffepeer) as judge:
            async for case in cases(judge, KINDS[kind], _SEED, range(_COUNT)):
                tally.add(case)
        return tally

    tally = asyncio.run(main())
    for case, parts in tally.unexplained[:_SHOWN]:
        print(f"{kind}, seed {_SEED}, input {case.number}: {parts}")
        print(f"  asked {case.question}")
        print(f"  we: {case.ours}")
        print(f"  go-spiffe: {case.theirs}")
    assert len(tally.unexplained) == 0
    # Half-way sensible inputs: neither side says the same to all of them.
    assert tally.accepted > _COUNT // 20
    assert tally.refused > _COUNT // 20
    if _COUNT >= _USUAL:
        assert tally.never_seen(kind) == []

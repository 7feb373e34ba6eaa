from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.admin import FakeServer, Finial, fake_server


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with fake_server() as fake:
        yield fake


@pytest.fixture
def finial(capsys: pytest.CaptureFixture[str]) -> Finial:
    return Finial(capsys)

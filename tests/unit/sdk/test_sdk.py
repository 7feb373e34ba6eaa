"""What the SDK offers, and that its examples name nothing else."""

from __future__ import annotations

import ast
import builtins
import inspect
from types import ModuleType

import pytest

from finial import sdk
from finial.sdk import tls, workload

# What an example may use beside the SDK: modules, and what it says the application has.
SURROUNDINGS = {"asyncio", "http", "source", "client", "serve", "shown", "reader", "writer", "server"}


@pytest.mark.parametrize(
    "where",
    [sdk, workload, tls, sdk.WorkloadClient, sdk.X509Source, sdk.JWTSource, sdk.client_context],
    ids=lambda where: str(where.__name__),
)
def test_examples_use_what_the_sdk_exports(where: ModuleType | type) -> None:
    text = (inspect.getdoc(where) or "").partition("\nArgs:")[0]
    example = "\n".join(line for line in text.splitlines() if line.startswith("    ") or not line.strip())
    known = {*sdk.__all__, *dir(builtins), *SURROUNDINGS}
    tree = ast.parse("async def example():\n" + (example or "    pass"))
    stored = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    stored |= {node.name for node in ast.walk(tree) if isinstance(node, ast.MatchAs) and node.name}
    used = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    assert used - stored <= known
    assert used & set(sdk.__all__)


def test_what_is_exported_is_there_and_documented() -> None:
    for name in sdk.__all__:
        offered = getattr(sdk, name)
        assert inspect.getdoc(offered) or name == "Picker"  # an alias, described where it stands

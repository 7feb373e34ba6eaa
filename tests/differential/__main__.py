"""The command: `python -m differential > ../docs/differences.md`, in the folder of the tests."""

from differential.document import document

print(document(), end="")

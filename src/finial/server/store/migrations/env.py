"""What Alembic runs: the steps, in the transaction that `run.to_head` has begun."""

from alembic import context

from finial.server.store.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()

"""How the ledger's tables are made and changed (Alembic)."""

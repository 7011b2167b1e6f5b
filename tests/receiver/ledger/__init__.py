"""The ledger: what it keeps, hands out and records, on both databases."""

"""Everything that the project promises, tried."""

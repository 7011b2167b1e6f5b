"""Faults caused for real: processes killed, frozen and stopped under load, a GitHub that fails."""

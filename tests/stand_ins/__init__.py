"""Servers that keep the rules of what they stand in for."""

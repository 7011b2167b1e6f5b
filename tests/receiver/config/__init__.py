"""Tests of handoff.yaml."""

"""Tests of receiver.checks."""

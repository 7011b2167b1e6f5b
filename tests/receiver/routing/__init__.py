"""Tests of receiver/routing/."""

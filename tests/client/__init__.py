"""Tests of the awaited client."""

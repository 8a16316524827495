"""Tests of the connection's own parts."""

"""Conversations that other programs have written: found, read, and brought into a store.

A reader (``readers/``) turns a file of another program into events (``events.py``). The writer turns events into rounds
and turns. What is read is data, and nothing in it is trusted.
"""

"""What ``record`` is made of: the program and its streams, the bytes that pass both ways, and what is kept of them.

The program writes to a pseudo-terminal or to pipes (``program.py``). A thread for each of them passes the bytes on at
once (``relay.py``) and puts them into a queue (``output_queue.py``). One thread takes them from there to the store
(``recorder.py``, ``kept_round.py``), so a store that is locked or slow holds nothing up until the queue is full.
"""

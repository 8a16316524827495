"""The recorder: a proxy between an ACP client and an ACP agent, which stores the conversations that pass.

Two processes: the proxy passes bytes on and copies them to the recorder (``tap.py``); the recorder reads messages in
them, says what they mean as events (``conversation.py``), and stores these (``storing.py``).
"""

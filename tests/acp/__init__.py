"""The command ``acp``: a client and an agent, with the proxy between them as a process."""

"""The peer: a pygls server as its documentation writes one, with one request that does nothing."""

from typing import Any

from pygls.lsp.server import LanguageServer

server = LanguageServer("stock", "1")


def no_op(_server: LanguageServer, _params: Any) -> None:
    """The feature."""


server.feature("no/op")(no_op)

if __name__ == "__main__":
    server.start_io()

"""Property tests: the program against a plain model of the contract."""

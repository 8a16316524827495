"""The program: ``mandrake-sessions``, and ``python -m mandrake_sessions``."""

import sys


def main() -> int:
    """Run it; gives its exit code. Ctrl-C may come while it still imports its parts."""
    try:
        from mandrake_sessions.cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

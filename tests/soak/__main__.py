"""``make soak MINUTES=30``, or ``PYTHONPATH=tests python -m soak --minutes 30 [--seed N]``."""

from __future__ import annotations

import argparse
import secrets
import sys

from soak.soak import Plan, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description="Servers that are disturbed in every way, for a while.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--agents", type=int, default=3)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two disturbances, on average")
    parser.add_argument("--check-every", type=float, default=30.0, help="seconds between two comparisons of everything")
    parser.add_argument("--without", nargs="*", default=[], help="disturbances to leave out, such as restore")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    given = vars(parser.parse_args())
    plan = Plan(seconds=60 * given.pop("minutes"), without=tuple(given.pop("without")), **given)
    print(plan, flush=True)
    try:
        figures = run(plan)
    except AssertionError as error:
        print(error)
        return 1
    for name, number in sorted(figures.items()):
        print(f"{number:>12,}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.fault.sim --seed N`: play the story of a seed again, or of many, and name those that fail."""

import argparse
import logging
import os
import sys
import time
import warnings

from tests.fault.sim.shrink import shrink
from tests.fault.sim.speed import report
from tests.fault.sim.story import Setting, Told, drawn, tell


def main() -> int:
    """Returns the number of seeds that failed, at most 100."""
    options = _options()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets of strings is part of a run.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.fault.sim", *sys.argv[1:]])  # noqa: S606
    if options.speed:
        for line in report():
            print(line, flush=True)
        return 0
    if options.trace:
        logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s", stream=sys.stderr)
    else:
        logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore", RuntimeWarning)  # coroutines that died with their process before they began
    given = Setting(options.nodes, options.hours * 3600, options.jobs, options.actions)
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.count)
    # What a process makes once draws chance in its first story only: a seed must be the same alone and among many.
    tell(0, Setting(3, 600.0, 2, 2))
    began, failed, days = time.process_time(), 0, 0.0
    for seed in seeds:
        setting = given if options.nodes else drawn(given, seed)
        told = tell(seed, setting)
        days += setting.nodes * told.seconds / 86_400
        failed += told.violation is not None
        _say(told, setting, options)
    spent = time.process_time() - began
    print(f"{len(seeds)} seeds, {failed} failed, {days:.1f} node-days in {spent:.1f} s of CPU")
    return min(failed, 100)


def _say(told: Told, setting: Setting, options: argparse.Namespace) -> None:
    if told.violation is None:
        if options.seed is not None:
            print(f"seed {told.seed}: all fits; {told.messages} messages, digest {told.digest[:16]}")
        return
    print(f"seed {told.seed}: {told.violation}")
    print(f"  again: python -m tests.fault.sim --seed {told.seed} {_settings(options)}")
    if options.shrink:
        for action in shrink(told, setting):
            print(f"  needs {action}")


def _settings(options: argparse.Namespace) -> str:
    return f"--nodes {options.nodes} --hours {options.hours:g} --jobs {options.jobs} --actions {options.actions}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fault.sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--count", type=int, default=20, help="so many seeds from --first on")
    parser.add_argument("--nodes", type=int, default=3, help="0: drawn by the seed, from 3 to 50")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=12)
    parser.add_argument("--actions", type=int, default=14)
    parser.add_argument("--speed", action="store_true", help="measure how much a minute of CPU time plays")
    parser.add_argument("--shrink", action="store_true", help="find the few actions that a failure needs")
    parser.add_argument("--trace", action="store_true", help="what the parts log, on standard error")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""What the build steps print: numbered lines, aligned, with the time they took."""

import shutil
import sys

# Where a step's time starts; the figures then stand below each other.
TIME_COLUMN = 66


def duration(seconds):
    """A duration as a person would say it: `0.4 s`, `1 min 52 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def started(step, what):
    """Announces a step whose own output follows."""
    print(f"[{step}] {what}", flush=True)


def finished(step, what, seconds):
    """Closes a step with the time it took."""
    print(f"{f'[{step}] {what}':<{TIME_COLUMN}} {duration(seconds)}", flush=True)


def detail(text):
    """One line below a step: something it had to do."""
    print(f"      {text}", flush=True)


def give_up(problem, *remedies):
    """Ends the program: what is wrong, then what to do about it."""
    print(f"error: {problem}", file=sys.stderr)
    for remedy in remedies:
        print(f"       {remedy}", file=sys.stderr)
    raise SystemExit(1)


def has(program):
    """Whether a program is on the PATH."""
    return shutil.which(program) is not None

#!/usr/bin/env python3
"""Whether every figure of one results.json is in another, bit for bit.

  tools/compare_figures.py BEFORE AFTER [BEFORE AFTER ...]

For changes that rename or move fields, and are to compute the same: each number
of BEFORE must stand in AFTER at least as often, whatever it is called there.
What the clock says (times, rates and what follows from them) is left out.
"""

import collections
import json
import re
import sys

# Fields that follow from times.
TIMED = re.compile(r"second|rate|decode_share|prefill_share|pareto|cost|"
                   r"_ratio$|timing|decode_ratio|prefill_ratio")


def numbers(value, name=""):
    """Yields (field, number) of all numbers but those of the clock."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not TIMED.search(key):
                yield from numbers(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner, name)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, float(value).hex()


def compare(before, after):
    old = list(numbers(json.load(open(before))))
    there = collections.Counter(n for _, n in numbers(json.load(open(after))))
    missing = collections.Counter()
    for name, number in old:
        if there[number] == 0:
            missing[name] += 1
        there[number] -= 1
    distinct = len({number for _, number in old})
    print(f"{after}: {len(old)} figures ({distinct} different ones) of {before},"
          f" {sum(missing.values())} missing"
          + (f": {dict(missing)}" if missing else ""))
    return not missing


def main():
    pairs = list(zip(sys.argv[1::2], sys.argv[2::2]))
    if not pairs or len(sys.argv) % 2 == 0:
        sys.exit(__doc__)
    sys.exit(0 if all([compare(*pair) for pair in pairs]) else 1)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Whether two reports have the same results: same_results.py FOLDER FOLDER.

All of results.json but for how long it took to load the model.
"""

import json
import pathlib
import sys


def main():
    first, second = (
        json.loads(pathlib.Path(folder, "results.json").read_text())
        for folder in sys.argv[1:]
    )
    for results in (first, second):
        del results["context"]["load_seconds"]
    for name in first.keys() | second.keys():
        if first.get(name) != second.get(name):
            sys.exit(f"{sys.argv[1:]}: {name} is not the same")


main()

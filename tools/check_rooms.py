"""Checks the rooms of the house: python3 tools/check_rooms.py.

Every file of the product lies in a room, a room includes only the rooms below
it, no units (x.h and x.cc) include each other in a circle, and no file is too
long to read. Then come the rooms with their sizes.
"""

import collections
import pathlib
import re
import sys

# What lies right below each room; it may also include all that is below those.
BELOW = {
    "kernels/base": [],
    "kernels/strategy": ["kernels/base"],
    "kernels/ops": ["kernels/strategy"],
    "kernels/measure": ["kernels/base"],
    "kernels/tune": ["kernels/ops", "kernels/measure"],
    "model/files": ["kernels/ops"],
    "model/tokenizer": ["model/files"],
    "model/architecture": ["model/files"],
    "model/synthetic": ["model/architecture"],
    "model/checkpoint": ["model/synthetic"],
    "model/decoder": ["model/checkpoint"],
    "model/lockstep": ["model/decoder"],
    "model/trace": ["kernels/measure", "model/decoder"],
    "explorer/error": ["kernels/measure", "model/lockstep", "model/trace"],
    "explorer/phenomena": ["explorer/error"],
    "explorer/sweep": ["explorer/error"],
    "explorer/attribution": ["explorer/phenomena", "explorer/sweep"],
    "explorer/diagnosis": ["explorer/attribution"],
    "explorer/recommend": ["explorer/attribution"],
    "explorer/tuning": ["kernels/tune", "explorer/error"],
    "explorer/results": ["model/files"],
    "explorer/compare": ["explorer/results", "kernels/measure"],
    "explorer/store": ["explorer/error"],
    "explorer/report": [
        "explorer/compare",
        "explorer/diagnosis",
        "explorer/recommend",
        "explorer/store",
        "explorer/tuning",
    ],
    "explorer/app": ["explorer/report", "model/tokenizer"],
}
LAYERS = ["kernels", "model", "explorer"]
OUTSIDE = ["explorer/BUILD"]  # //explorer, the program's short name
MOST_LINES = 500

INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)
TARGET_INCLUDE = re.compile(r'^#define HWY_TARGET_INCLUDE[ \\\n]*"([^"]+)"', re.M)


def room_of(path):
    return path.rsplit("/", 1)[0]


def unit_of(path):
    return path.rsplit(".", 1)[0]


def below(room):
    """All rooms that `room` may include besides itself."""
    return set(BELOW[room]).union(*map(below, BELOW[room]))


def circle_through(start, edges):
    """A shortest way from start back to it, or None."""
    came_from = {}
    queue = collections.deque([start])
    while queue:
        unit = queue.popleft()
        for other in sorted(edges[unit]):
            if other == start:
                way = [start, unit]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return way[::-1]
            if other not in came_from:
                came_from[other] = unit
                queue.append(other)
    return None


def circles(edges):
    """Shortest circles, none of which shares a unit with one before it."""
    found, seen = [], set()
    for unit in sorted(edges):
        way = circle_through(unit, edges) if unit not in seen else None
        if way:
            found.append(way)
            seen.update(way)
    return found


def check(sources):
    """Sentences about what is wrong with {path: text}."""
    wrong = []
    edges = collections.defaultdict(set)
    for path, text in sources.items():
        layer, room = path.split("/")[0], room_of(path)
        lines = text.count("\n")
        if lines > MOST_LINES:
            wrong.append(f"{path} has {lines} lines; at most {MOST_LINES}")
        named = TARGET_INCLUDE.search(text)
        if named and named[1] != path:
            wrong.append(f"{path} compiles {named[1]} for the other SIMD targets")
        if layer not in LAYERS or path in OUTSIDE:
            continue
        if room not in BELOW:
            wrong.append(f"{path} is in none of the rooms")
            continue
        for other in INCLUDE.findall(text):
            if other.split("/")[0] not in LAYERS + ["tests", "benchmarks"]:
                continue
            if room_of(other) not in below(room) | {room}:
                wrong.append(f"{path} includes {other}: not below {room}")
            if unit_of(other) != unit_of(path):
                edges[unit_of(path)].add(unit_of(other))
    for way in circles(edges):
        wrong.append("a circle of units: " + " -> ".join(way))
    return wrong


def table(sources):
    """The size of every room, of its BUILD file and of its tests."""
    sizes = collections.defaultdict(lambda: [0, 0, 0, 0])
    for path, text in sources.items():
        lines = text.count("\n")
        tests, room = path.startswith("tests/"), room_of(path)
        row = sizes[room[len("tests/") :] if tests else room]
        if tests:
            row[3] += lines
        elif path.endswith("BUILD"):
            row[2] += lines
        else:
            row[0] += 1
            row[1] += lines
    rows = [("room", "files", "lines", "BUILD", "tests")]
    total = [0, 0, 0, 0]
    for layer in LAYERS:
        for room in [room for room in BELOW if room.startswith(layer)]:
            rows.append((room, *sizes[room]))
            total = [a + b for a, b in zip(total, sizes[room])]
    rows.append(("together", *total))
    return "\n".join("%-22s%8s%8s%8s%8s" % row for row in rows)


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    sources = {
        path.relative_to(root).as_posix(): path.read_text()
        for folder in LAYERS + ["tests", "benchmarks"]
        for path in sorted((root / folder).rglob("*"))
        if path.suffix in (".h", ".cc") or path.name == "BUILD"
    }
    wrong = check(sources)
    print(table(sources))
    if wrong:
        sys.exit("\n".join(["", *wrong]))
    print(
        "\nEvery file is in a room, every include goes down, no units are in a "
        f"circle, and no file has more than {MOST_LINES} lines."
    )


if __name__ == "__main__":
    main()

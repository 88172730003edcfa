"""The tests of one room: a cc_test for every X_test.cc of the package."""

load("@rules_cc//cc:defs.bzl", "cc_test")

_DEPS = [
    "@abseil",
    "@abseil//:status_matchers",
    "@com_google_googletest//:gtest_main",
]

def room_tests(deps, data = {}, large = [], shards = {}):
    """Makes them.

    Args:
      deps: what they need, all together, besides GoogleTest and Abseil.
      data: the fixtures and programs that a test reads, by its name.
      large: tests that run a model of real size: minutes, and more than a GiB.
      shards: into how many processes a test is divided, by its name.
    """
    for src in native.glob(["*_test.cc"]):
        name = src[:-len(".cc")]
        cc_test(
            name = name,
            size = "large" if name in large else "medium",
            srcs = [src],
            data = data.get(name, []),
            shard_count = shards.get(name),
            deps = deps + _DEPS,
        )

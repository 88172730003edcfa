"""A target of libFuzzer's: X_fuzz of X_fuzz.cc, with its inputs in corpus/X."""

load("@rules_cc//cc:defs.bzl", "cc_test")

def fuzz_target(name, deps, data = []):
    """Makes it: under --config=fuzz with libFuzzer's main, else with our own.

    As a test, either gives the corpus to the target, and ends.

    Args:
      name: of the corpus, without _fuzz.
      deps: what the target needs besides Abseil.
      data: fixtures that it reads.
    """
    cc_test(
        name = name + "_fuzz",
        size = "medium",
        srcs = [name + "_fuzz.cc"],
        args = [
            "-runs=0",
            "tests/fuzz/corpus/" + name,
        ],
        data = data + native.glob(["corpus/%s/**" % name]),
        linkopts = select({
            ":libfuzzer": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        deps = deps + [
            ":fuzz_target",
            "@abseil",
        ] + select({
            ":libfuzzer": [],
            "//conditions:default": [":replay_main"],
        }),
    )

"""Writes tests/testdata/llama_cpp: what llama.cpp computes, by its own names.

    pip install llama-cpp-python gguf torch transformers safetensors
    python3 tools/make_llama_cpp_fixtures.py

ARCH.gguf: a tiny model of random weights, in F32. ARCH.safetensors: the nodes of
llama.cpp's graph of it, as tools/dump_llama_cpp.py --names=ggml dumps them: of a
Qwen2, whose projections have biases, a Qwen3, whose heads are normalized, and a
Llama, whose rows of q and k are in another order. Those there are of
llama-cpp-python 0.3.36 on a CPU with AVX-512.
"""

import pathlib
import subprocess
import sys
import tempfile

import torch
from dump_llama_cpp_test import write_gguf
from dump_reference import load
from dump_reference_test import ARCHS, make_checkpoint

FOLDER = pathlib.Path(__file__).parent.parent / "tests/testdata/llama_cpp"
TOKENS = "5,5,17,3,11,29"


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    script = pathlib.Path(__file__).with_name("dump_llama_cpp.py")
    with tempfile.TemporaryDirectory() as folder:
        for arch in ARCHS:
            checkpoint = pathlib.Path(folder) / arch
            make_checkpoint(arch, checkpoint)
            model = FOLDER / f"{arch}.gguf"
            write_gguf(load(checkpoint, torch.float32), model)
            subprocess.run(
                [
                    sys.executable,
                    script,
                    model,
                    f"--tokens={TOKENS}",
                    "--names=ggml",
                    f"--out={model.with_suffix('.safetensors')}",
                ],
                check=True,
            )


if __name__ == "__main__":
    main()

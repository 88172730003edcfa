"""Tests tools/dump_llama_cpp.py against transformers.

    pip install llama-cpp-python gguf torch transformers safetensors
    python3 tools/dump_llama_cpp_test.py

llama.cpp runs a GGUF file of a tiny model in float32, transformers the model
itself: every tensor of the one's trace has to be that of the other's, but for
the order of sums.
"""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import dump_llama_cpp
import gguf
import numpy as np
import torch
from dump_reference import load, run
from dump_reference_test import ARCHS, make_checkpoint
from safetensors.numpy import load_file

TOKENS = [5, 5, 17, 3, 11, 29]
# Sums of some tens of terms in another order, through three layers; the weights
# are large, and errors grow with them.
TOLERANCE = 1e-4


def interleaved(weight, heads):
    """Rows of q or k as llama.cpp has them in architecture llama."""
    halves = weight.unflatten(0, (heads, 2, -1))
    return halves.transpose(1, 2).reshape(weight.shape)


def write_gguf(model, path):
    """In float32, with a vocabulary that has a size and no words."""
    config = model.config
    arch = config.model_type
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(256)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("none")
    names = gguf.get_tensor_name_map(
        gguf.MODEL_ARCH[arch.upper()], config.num_hidden_layers
    )
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if arch == "llama" and ".q_proj." in name:
            tensor = interleaved(tensor, heads)
        if arch == "llama" and ".k_proj." in name:
            tensor = interleaved(tensor, kv_heads)
        ours = names.get_name(name, try_suffixes=(".weight", ".bias"))
        writer.add_tensor(ours, tensor.float().contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class DumpLlamaCppTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_num_threads(1)
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.expected = {}
        for arch in ARCHS:
            make_checkpoint(arch, cls.folder / arch)
            model = load(cls.folder / arch, torch.float32)
            write_gguf(model, cls.folder / f"{arch}.gguf")
            cls.expected[arch] = {
                name: tensor.numpy()
                for name, tensor in run(model, TOKENS).items()
                if not name.startswith("hidden_states.")
            }

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def dump(self, model, *flags):
        script = pathlib.Path(__file__).with_name("dump_llama_cpp.py")
        out = self.folder / "out.safetensors"
        result = subprocess.run(
            [sys.executable, script, model, f"--out={out}", *flags],
            capture_output=True,
            text=True,
        )
        return result, out

    def trace_of(self, arch, *flags):
        tokens = ",".join(map(str, TOKENS))
        result, out = self.dump(
            self.folder / f"{arch}.gguf", f"--tokens={tokens}", *flags
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        return load_file(out)

    def assert_near(self, actual, expected, name):
        self.assertEqual(actual.shape, expected.shape, name)
        distance = np.linalg.norm((actual - expected).ravel())
        self.assertLess(distance, TOLERANCE * np.linalg.norm(expected.ravel()), name)

    def test_names_are_those_of_transformers(self):
        for arch in ARCHS:
            trace = self.trace_of(arch, "--cache=f32")
            self.assertEqual(sorted(trace), sorted(self.expected[arch]), arch)
            for name, expected in self.expected[arch].items():
                if name.endswith("attention_scores"):
                    # Behind the position is what no softmax sees.
                    visible = np.tril(np.ones(expected.shape[1:], bool))
                    expected = np.where(visible, expected, 0)
                    trace[name] = np.where(visible, trace[name], 0)
                self.assert_near(trace[name], expected, f"{arch} {name}")

    def test_flash_attention_has_no_scores(self):
        trace = self.trace_of("qwen3", "--cache=f16", "--flash-attention")
        lacking = {
            name.rpartition(".")[2] for name in set(self.expected["qwen3"]) - set(trace)
        }
        self.assertEqual(lacking, {"attention_scores", "attention_weights"})

    # What the mapping that is built in takes them for.
    def test_names_of_the_graph(self):
        for arch in ARCHS:
            trace = self.trace_of(arch, "--cache=f32", "--names=ggml")
            expected = self.expected[arch]
            biased = arch == "qwen2"
            self.assertEqual("Qcur-0.4" in trace, biased)
            rotated = "Qcur-2.4" if biased else "Qcur-2.3"
            same_order = arch != "llama"
            p = "model.layers.2."
            for name, ours in {
                "embd": "model.embed_tokens",
                "Vcur-2.2": p + "self_attn.v_proj",
                "kqv_out-2": p + "self_attn.o_proj.input",
                "ffn_inp-2": p + "post_attention_layernorm.input",
                "ffn_swiglu-2": p + "mlp.down_proj.input",
                "l_out-2": "model.layers.2",
                "result_norm": "model.norm",
                "result_output": "logits",
                **({"Qcur-2.2": p + "self_attn.q_proj"} if same_order else {}),
                **({rotated: p + "self_attn.q_rope"} if same_order else {}),
            }.items():
                self.assert_near(trace[name], expected[ours], f"{arch} {name}")
            first = trace["Qcur-2"]
            if biased:
                bias = np.abs(first - trace["Qcur-2.2"]).max()
                self.assertGreater(bias, 0.1)

    def test_errors(self):
        result, _ = self.dump(self.folder / "none.gguf", "--tokens=1")
        self.assertEqual(result.returncode, 1)
        self.assertIn("no such file", result.stderr)
        (self.folder / "bad.gguf").write_bytes(b"text")
        result, _ = self.dump(self.folder / "bad.gguf", "--tokens=1")
        self.assertIn("llama.cpp cannot load it", result.stderr)
        result, _ = self.dump(self.folder / "qwen3.gguf", "--tokens=1,31")
        self.assertEqual(result.returncode, 1)
        self.assertIn("token 31 is not in [0, 31)", result.stderr)


if __name__ == "__main__":
    unittest.main()

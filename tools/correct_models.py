"""Tiny checkpoints for check_correct_traces.py: random weights that matter.

Each architecture that a real checkpoint may have, 2 to 4 layers. What makes
rounding show in real ones is planted: biases of keys that exceed what they are
added to, massive activations that are born in one layer and removed in
another, norms and biases that are far from 1 and 0, peaked attention.
"""

import math

import torch
import transformers

VOCABULARY = 101
MASSIVE_TOKEN = 7  # of which a massive activation is born
MARK, MASSIVE = 5, 11  # channels: what tells that token, and where it grows

DEFAULTS = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 256,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 1e6,
    "factor": 4.0,
    "original_max_position_embeddings": 1024,
}
LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}

# name -> (architecture, what differs from DEFAULTS, what is planted)
MODELS = {
    "qwen2": ("qwen2", {"tie_word_embeddings": True}, ()),
    "qwen2_bias": (
        "qwen2",
        {"num_attention_heads": 8, "tie_word_embeddings": True},
        ("large_biases",),
    ),
    "qwen2_untied": (
        "qwen2",
        {"num_attention_heads": 6, "hidden_size": 96},
        ("large_biases", "massive"),
    ),
    "qwen2_yarn": ("qwen2", {"rope_parameters": YARN}, ()),
    "qwen3": ("qwen3", {"head_dim": 32}, ()),
    "qwen3_one_kv_head": (
        "qwen3",
        {
            "head_dim": 24,
            "num_attention_heads": 6,
            "num_key_value_heads": 1,
            "num_hidden_layers": 2,
            "tie_word_embeddings": True,
        },
        (),
    ),
    "qwen3_massive": (
        "qwen3",
        {"head_dim": 16, "num_hidden_layers": 4, "hidden_size": 96},
        ("massive",),
    ),
    "qwen3_bias": (
        "qwen3",
        {"head_dim": 16, "attention_bias": True, "num_hidden_layers": 2},
        ("large_biases",),
    ),
    "qwen3_yarn": ("qwen3", {"head_dim": 32, "rope_parameters": YARN}, ()),
    "llama": ("llama", {"num_key_value_heads": 4}, ()),
    "llama_bias": ("llama", {"attention_bias": True}, ("large_biases",)),
    "llama_head_dim": (
        "llama",
        {"head_dim": 32, "num_key_value_heads": 1},
        ("massive",),
    ),
    "llama3_scaled": (
        "llama",
        {
            "hidden_size": 128,
            "num_attention_heads": 8,
            "intermediate_size": 160,
            "rope_parameters": LLAMA3,
            "rms_norm_eps": 1e-5,
        },
        (),
    ),
    "llama_linear": ("llama", {"rope_parameters": LINEAR}, ()),
    "smollm2": (
        "llama",
        {
            "hidden_size": 72,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "num_hidden_layers": 4,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e5},
            "tie_word_embeddings": True,
        },
        ("massive",),
    ),
}


def gain(name, fan_in):
    """Attention is peaked, and a layer changes the stream by part of it."""
    scale = 1.0
    if "q_proj" in name or "k_proj" in name:
        scale = 1.6
    elif "o_proj" in name or "down_proj" in name:
        scale = 0.12
    return scale / math.sqrt(fan_in)


def random_value(name, parameter, generator):
    noise = torch.randn(parameter.shape, generator=generator)
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        return 2 + 0.5 * noise
    if "norm" in name:
        return 1 + 0.3 * noise
    if name.endswith("bias"):
        return 0.4 * noise
    if "embed_tokens" in name:
        return 0.06 * noise
    return gain(name, parameter.shape[1]) * noise


def plant_large_biases(model, generator):
    """Of keys, a few per head, as Qwen2.5 has them in its first layers."""
    for i, layer in enumerate(model.model.layers):
        bias = layer.self_attn.k_proj.bias.data
        size = (90.0, 40.0, 15.0, 5.0)[i]
        signs = torch.randn(len(bias[::7]), generator=generator).sign()
        bias[::7] = size * signs
        layer.self_attn.q_proj.bias.data[::5] += 3.0


def plant_massive(model, generator):
    """One token's channel grows in layer 2's MLP, and the last removes it."""
    layers = model.model.layers
    model.model.embed_tokens.weight.data[:, [MARK, MASSIVE]] = 0
    model.model.embed_tokens.weight.data[MASSIVE_TOKEN, MARK] = 1.5
    for layer in layers:
        for linear in (layer.self_attn.o_proj, layer.mlp.down_proj):
            linear.weight.data[[MARK, MASSIVE]] *= 0.02
    for layer, channel, sign in (
        (layers[1], MARK, 1),
        (layers[-1], MASSIVE, -1),
    ):
        norm = layer.post_attention_layernorm.weight.data
        norm[channel] = 1.0
        for linear in (layer.mlp.gate_proj, layer.mlp.up_proj):
            linear.weight.data[3] = 0
            linear.weight.data[3, channel] = 1.0
        layer.mlp.down_proj.weight.data[MASSIVE, 3] = 14.0 * sign


PLANTS = {"large_biases": plant_large_biases, "massive": plant_massive}


def make_model(name, seed):
    architecture, changes, plants = MODELS[name]
    config = transformers.AutoConfig.for_model(
        architecture, **{**DEFAULTS, **changes}
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    number = list(MODELS).index(name)
    generator = torch.Generator().manual_seed(1000 * seed + number)
    for parameter_name, parameter in sorted(model.named_parameters()):
        value = random_value(parameter_name, parameter, generator)
        parameter.data.copy_(value)
    for plant in plants:
        PLANTS[plant](model, generator)
    return model.eval()


def save_model(name, stored, folder, seed):
    """Writes the checkpoint with weights in a type, `stored`."""
    make_model(name, seed).to(getattr(torch, stored)).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def make_tokens(count, seed):
    """The first two differ by position alone; the massive one comes twice."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(
        3, VOCABULARY, (512,), generator=generator
    ).tolist()
    tokens[0] = tokens[1] = MASSIVE_TOKEN
    return tokens[:count]

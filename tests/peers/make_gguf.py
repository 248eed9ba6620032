"""Writes GGUF files with the `gguf` package of llama.cpp, for the tests of `slpo convert`.

    make_gguf.py blocks OUT                      one tensor of every type that slpo reads and one that it does not,
                                                 with the values that the package itself dequantises them to (OUT.json)
    make_gguf.py model FOLDER OUT --type TYPE    a Hugging Face folder (llama, qwen2, qwen3, gpt2, gpt_neox) as llama.cpp's
                                                 convert_hf_to_gguf.py lays it out; TYPE is F32, F16, Q8_0, Q4_0 or Q4_1

Needs: pip install gguf numpy safetensors
"""

import argparse
import json
import pathlib
import re

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import quants
from safetensors.numpy import load_file


def permute(weights, heads):
    """llama.cpp's LlamaModel.permute: rotate-half rows to adjacent pairs."""
    shape = weights.shape
    return weights.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


LLAMA_PARTS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "attention.query_key_value": "attn_qkv",
    "attention.dense": "attn_output",
    "mlp.dense_h_to_4h": "ffn_up",
    "mlp.dense_4h_to_h": "ffn_down",
}
OUTER = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "transformer.wte.weight": "token_embd.weight",
    "transformer.wpe.weight": "position_embd.weight",
    "transformer.ln_f.weight": "output_norm.weight",
    "transformer.ln_f.bias": "output_norm.bias",
    "gpt_neox.embed_in.weight": "token_embd.weight",
    "gpt_neox.final_layer_norm.weight": "output_norm.weight",
    "gpt_neox.final_layer_norm.bias": "output_norm.bias",
    "embed_out.weight": "output.weight",
}


def converted(name, data, config):
    """The name and the array that llama.cpp gives a tensor."""
    kind = config["model_type"]
    if name in OUTER:
        return OUTER[name], data
    layer, rest = re.fullmatch(r"(?:model\.layers|transformer\.h|gpt_neox\.layers)\.(\d+)\.(.*)", name).groups()
    part, suffix = rest.rsplit(".", 1)
    heads = config.get("num_attention_heads") or config.get("n_head")
    if kind in ("llama", "mistral"):
        if part == "self_attn.q_proj":
            data = permute(data, heads)
        if part == "self_attn.k_proj":
            data = permute(data, config.get("num_key_value_heads", heads))
    if kind == "gpt2" and data.ndim == 2:
        data = data.T
    if kind == "gpt_neox" and part == "attention.query_key_value":
        width = config["hidden_size"]
        split = data.reshape(heads, 3, width // heads, *data.shape[1:])
        data = np.concatenate([split[:, i].reshape(width, *data.shape[1:]) for i in range(3)])
    return f"blk.{layer}.{LLAMA_PARTS[part]}.{suffix}", data


def rope_factors(config, scaling, theta):
    """llama.cpp's factors for Llama 3's scaling (LlamaModel.generate_extra_tensors)."""
    dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    freqs = 1.0 / (theta ** (np.arange(0, dim, 2, dtype=np.float32) / dim))
    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    old = scaling["original_max_position_embeddings"]
    factors = []
    for freq in freqs:
        wavelength = 2 * np.pi / freq
        if wavelength < old / high:
            factors.append(1)
        elif wavelength > old / low:
            factors.append(factor)
        else:
            smooth = (old / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, dtype=np.float32)


def write_model(folder, out, kind):
    config = json.loads((folder / "config.json").read_text())
    architecture = {"mistral": "llama", "gpt_neox": "gptneox"}.get(config["model_type"], config["model_type"])
    writer = gguf.GGUFWriter(out, architecture)
    heads = config.get("num_attention_heads") or config["n_head"]
    hidden = config.get("hidden_size") or config["n_embd"]
    writer.add_context_length(config.get("max_position_embeddings") or config["n_positions"])
    writer.add_embedding_length(hidden)
    writer.add_block_count(config.get("num_hidden_layers") or config["n_layer"])
    writer.add_feed_forward_length(config.get("intermediate_size") or config.get("n_inner") or 4 * hidden)
    writer.add_head_count(heads)
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if architecture in ("llama", "qwen2", "qwen3"):
        writer.add_head_count_kv(config.get("num_key_value_heads", heads))
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        if config.get("head_dim"):
            writer.add_key_length(config["head_dim"])
            writer.add_value_length(config["head_dim"])
        if config["model_type"] == "mistral" and config.get("sliding_window"):
            writer.add_sliding_window(config["sliding_window"])
    else:
        writer.add_layer_norm_eps(config.get("layer_norm_epsilon") or config["layer_norm_eps"])
    if architecture == "gptneox":
        fraction = rope.get("partial_rotary_factor") or config.get("rotary_pct", 0.25)
        writer.add_rope_dimension_count(int(fraction * (hidden // heads)))
        writer.add_parallel_residual(config.get("use_parallel_residual", True))
    theta = rope.get("rope_theta") or config.get("rope_theta") or config.get("rotary_emb_base") or 10000.0
    if architecture != "gpt2":
        writer.add_rope_freq_base(theta)
    if rope.get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", rope_factors(config, rope, theta))
    for key, add in (("bos_token_id", writer.add_bos_token_id), ("eos_token_id", writer.add_eos_token_id)):
        if config.get(key) is not None:
            add(config[key])
    for name, data in load_file(folder / "model.safetensors").items():
        name, data = converted(name, data, config)
        data = np.ascontiguousarray(data, dtype=np.float32)
        block = gguf.GGML_QUANT_SIZES[kind][0]
        own = kind if data.ndim == 2 and data.shape[-1] % block == 0 else Type.F32
        writer.add_tensor(name, quants.quantize(data, own), raw_dtype=own)
    add_tokenizer(writer, folder)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer, folder):
    """A SentencePiece vocabulary as llama2.c's tok512.bin has it, where that lies beside the folder."""
    source = folder.parent / "tok512.bin"
    if not source.exists():
        return
    import struct

    raw, at = source.read_bytes(), 4
    tokens, scores, kinds = [], [], []
    while at < len(raw):
        score, length = struct.unpack_from("<fi", raw, at)
        text = raw[at + 8 : at + 8 + length].decode()
        at += 8 + length
        place = len(tokens)
        kinds.append(2 if place == 0 else 3 if place < 3 else 6 if place < 259 else 1)
        tokens.append(text.strip() if place < 3 else text if place < 259 else text.replace(" ", "\u2581"))
        scores.append(score)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)


def write_blocks(out):
    writer = gguf.GGUFWriter(out, "llama")
    random = np.random.default_rng(1)
    expected = {}
    for kind in (Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0):
        data = (random.standard_normal((3, 64)) * np.array([[1e-3], [1.0], [50.0]])).astype(np.float32)
        quantised = quants.quantize(data, kind)
        writer.add_tensor(kind.name, quantised, raw_dtype=kind)
        bits = quants.dequantize(quantised, kind).astype(np.float32).view(np.uint32)
        expected[kind.name] = [int(bit) for bit in bits.ravel()]
    writer.add_array("test.numbers", [1, -2, 3])
    writer.add_array("test.texts", ["a", "", "\u00e9"])
    writer.add_bool("test.flag", True)
    writer.add_float32("test.float", 0.5)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    pathlib.Path(f"{out}.json").write_text(json.dumps(expected))


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
commands = parser.add_subparsers(dest="command", required=True)
blocks = commands.add_parser("blocks")
blocks.add_argument("out", type=pathlib.Path)
model = commands.add_parser("model")
model.add_argument("folder", type=pathlib.Path)
model.add_argument("out", type=pathlib.Path)
model.add_argument("--type", default="F32", choices=["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0"])
given = parser.parse_args()
if given.command == "blocks":
    write_blocks(given.out)
else:
    write_model(given.folder, given.out, Type[given.type])

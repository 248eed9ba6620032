"""Small tokenizers, chat templates and models for the fixtures: made here, so that nothing has to be downloaded.

Every tokenizer is trained on the few lines below. All of them fit one pair of models (`policy` and `reference`), whose weights come
from a fixed seed. A `setup` is a tokenizer with a chat template and a generation_config.json.
"""

import json

import numpy
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 384
DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, POSITIONS = 16, 32, 2, 2, 1, 1024

# Repeated so that merges reach over spaces, line breaks and the ends of words: "\n\n", ":\n", ".\n\n", " ti", "time".
TEXT = """Question: what is the time?\n\nAnswer: it is a long time.\n\nQuestion: is the cat in the house?\n
Answer:\n\nThe cat is in the time machine.\n\nuser\nassistant\nsystem\nHuman: hi\n\nAssistant: yes. No.\n\nThe answer is four. five
"""
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>", "<think>", "</think>"]


def byte_level(prefix_space=False):
    """Byte-level BPE, as GPT-2's and Llama 3's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False, max_token_length=5
    )
    tokenizer.train_from_iterator([TEXT] * 4, trainer)
    return tokenizer


def metaspace(scheme="first"):
    """BPE over characters with bytes to fall back on, and a space before the text, as Llama 2's."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)
    ])
    names = ["<unk>", *SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=372, special_tokens=names, show_progress=False, max_token_length=5)
    tokenizer.train_from_iterator([line + "\n" for line in TEXT.split("\n")] * 4 + ["▁a ▁the ▁is"], trainer)
    # Only the names of control tokens are special: the bytes' are ordinary vocabulary.
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if not token["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(state))


def legacy_metaspace():
    """As `metaspace`, by the normalizers that older converters wrote: the space is put before every piece between special tokens."""
    tokenizer = metaspace()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    state = json.loads(tokenizer.to_str())
    state["pre_tokenizer"] = None
    return Tokenizer.from_str(json.dumps(state))


def surrounded(tokenizer, before=None, after=None):
    """The tokenizer with special tokens put around every text."""
    names = [*([before] if before else []), "$A", *([after] if after else [])]
    special = [(name, tokenizer.token_to_id(name)) for name in names if name != "$A"]
    template = processors.TemplateProcessing(single=" ".join(names), special_tokens=special)
    inner = tokenizer.post_processor
    tokenizer.post_processor = template if inner is None else processors.Sequence([inner, template])
    return tokenizer


def stripping(tokenizer):
    """The tokenizer whose special tokens take the white space after them, as Phi-3's do."""
    state = json.loads(tokenizer.to_str())
    for token in state["added_tokens"]:
        token["rstrip"] = token["content"].startswith("<|")
    return Tokenizer.from_str(json.dumps(state))


def unnormalized(tokenizer):
    """The tokenizer with one ordinary added word, which is found before any merge."""
    tokenizer.add_tokens([AddedToken("time machine", normalized=False)])
    return tokenizer


TOKENIZERS = {
    "bytelevel": lambda: byte_level(),
    "bytelevel-bos": lambda: surrounded(byte_level(), before="<s>"),
    "bytelevel-eos": lambda: surrounded(byte_level(), before="<s>", after="</s>"),
    "bytelevel-prefix-space": lambda: unnormalized(byte_level(prefix_space=True)),
    "metaspace": lambda: surrounded(metaspace(), before="<s>"),
    "metaspace-legacy": lambda: surrounded(legacy_metaspace(), before="<s>"),
    "stripping": lambda: surrounded(stripping(metaspace()), before="<s>"),
}

CHATML = """{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}"""

# Writes BOS itself, and the end of a turn, which is EOS, without a line break.
WITH_BOS = """{{- bos_token }}
{%- for message in messages %}
{{- '<|' + message.role + '|>' + '\\n\\n' + message.content | trim + eos_token }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|assistant|>\\n\\n' }}
{%- endif %}"""

# Writes EOS, and no BOS although the tokenizer puts one before plain texts.
WITHOUT_BOS = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ 'system\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

# Ends no turn with a token: nothing but line breaks.
WITHOUT_END = """{% for message in messages %}{{ message.role + ': ' + message.content + '\\n\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"""

# Has no words for the start of an answer: the space before it comes with the answer.
INST = """{{- bos_token }}
{%- for message in messages %}
{%- if message.role == 'user' %}{{- '[INST] ' + message.content + ' [/INST]' }}
{%- elif message.role == 'system' %}{{- '[SYS] ' + message.content + ' [/SYS]' }}
{%- else %}{{- ' ' + message.content | trim + eos_token }}{%- endif %}
{%- endfor %}"""

# The prompt alone ends with an empty thought, which a conversation with an answer does not have.
THOUGHT = """{%- for message in messages %}
{%- if message.role == 'assistant' and message.reasoning_content and loop.last %}
{{- '<|im_start|>assistant\\n<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' + message.content + '<|im_end|>\\n' }}
{%- else %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is not defined or not enable_thinking %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}"""

# Tools, calls, results and an argument of the template's own, with marks around what the model says.
TOOLS = """{%- if style %}{{- '<|im_start|>system\\n' + style + '<|im_end|>\\n' }}{%- endif %}
{%- if tools %}
{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n' }}{%- endif %}
{%- for tool in tools %}{{- tool | tojson + '\\n' }}{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' }}
{%- generation %}
{%- if message.content %}{{- message.content }}{%- endif %}
{%- for call in message.tool_calls or [] %}
{%- set call = call.function or call %}
{{- '<call>' + call.name + ' ' + (call.arguments if call.arguments is string else call.arguments | tojson) + '</call>' }}
{%- endfor %}
{{- '<|im_end|>' }}
{%- endgeneration %}
{{- '\\n' }}
{%- elif message.role == 'tool' %}
{{- '<|im_start|>tool\\n' + message.name | default('?') + ': ' + message.content + '<|im_end|>\\n' }}
{%- elif message.role != 'system' %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}"""

# name: (tokenizer, BOS, EOS, chat template, what generation stops at)
SETUPS = {
    "bytelevel": ("bytelevel", None, "<|endoftext|>", None, None),
    "bytelevel-bos": ("bytelevel-bos", "<s>", "</s>", None, None),
    "bytelevel-eos": ("bytelevel-eos", "<s>", "</s>", None, None),
    "bytelevel-prefix-space": ("bytelevel-prefix-space", None, "<|endoftext|>", None, None),
    "metaspace": ("metaspace", "<s>", "</s>", None, None),
    "metaspace-legacy": ("metaspace-legacy", "<s>", "</s>", None, None),
    "chatml": ("bytelevel", None, "<|im_end|>", CHATML, None),
    "chatml-on-a-base": ("bytelevel", None, "<|endoftext|>", CHATML, ["<|endoftext|>", "<|im_end|>"]),
    "chatml-metaspace": ("metaspace", "<s>", "<|im_end|>", CHATML, None),
    "chatml-legacy": ("metaspace-legacy", "<s>", "<|im_end|>", CHATML, None),
    "with-bos": ("bytelevel-bos", "<s>", "<|end|>", WITH_BOS, None),
    "without-bos": ("bytelevel-bos", "<s>", "</s>", WITHOUT_BOS, None),
    "without-end": ("bytelevel", None, "<|endoftext|>", WITHOUT_END, None),
    "inst": ("metaspace", "<s>", "</s>", INST, None),
    "inst-legacy": ("metaspace-legacy", "<s>", "</s>", INST, None),
    "thought": ("bytelevel", None, "<|im_end|>", THOUGHT, None),
    "stripping": ("stripping", "<s>", "<|end|>", WITH_BOS, None),
    "tools": ("bytelevel", None, "<|im_end|>", TOOLS, None),
}


def write_tokenizer(folder, name, bos, eos):
    """Writes tokenizer.json and tokenizer_config.json as transformers does."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=TOKENIZERS[name](), bos_token=bos, eos_token=eos, clean_up_tokenization_spaces=False
    )
    assert len(tokenizer) <= VOCABULARY, (name, len(tokenizer))
    tokenizer.save_pretrained(folder)
    # In one line: the fixture is read by programs, and this is half of its size.
    for file in ("tokenizer.json", "tokenizer_config.json"):
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()), ensure_ascii=False, separators=(",", ":")) + "\n")


def config():
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": DIM,
        "intermediate_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": POSITIONS, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False, "dtype": "float32",
    }


def write_weights(path, seed):
    """Random weights, large enough that log-probabilities differ by nats."""
    random = numpy.random.RandomState(seed)
    head = DIM // HEADS
    shapes = {"model.embed_tokens.weight": (VOCABULARY, DIM), "model.norm.weight": (DIM,)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        shapes |= {
            at + "self_attn.q_proj.weight": (HEADS * head, DIM), at + "self_attn.k_proj.weight": (KV_HEADS * head, DIM),
            at + "self_attn.v_proj.weight": (KV_HEADS * head, DIM), at + "self_attn.o_proj.weight": (DIM, HEADS * head),
            at + "mlp.gate_proj.weight": (HIDDEN, DIM), at + "mlp.up_proj.weight": (HIDDEN, DIM),
            at + "mlp.down_proj.weight": (DIM, HIDDEN), at + "input_layernorm.weight": (DIM,),
            at + "post_attention_layernorm.weight": (DIM,),
        }
    draw = lambda shape: random.standard_normal(shape) * (0.1 if len(shape) == 1 else 0.4) + (len(shape) == 1)
    save_file({name: draw(shape).astype("float32") for name, shape in sorted(shapes.items())}, path, metadata={"format": "pt"})

"""Writes tests/tests/fixtures/peers: what TRL makes of rows of many forms, for tests that need no Python.

    python tests/peers/fixtures.py        (needs torch, transformers, trl and datasets; some minutes)

Token ids come from TRL's own preparation of datasets (DPOTrainer and SFTTrainer), log-probabilities and losses from the trainers' own
functions, in f32 and in f64. Where slpo's documented policy is another, a row says so (`differs`), and what is expected is put
together from the same pieces. The policies:

- Nothing is learned after the token that ends the model's turn: white space that a template writes there is left out.
- The first token of a sequence is context: nothing comes before it that could predict it.
- What is too long loses the start of its prompt (BOS stays), which keeps at least half of the tokens where it has so many, and the ends
  of its completions; with `--truncation end` it is cut as TRL's `keep_start` cuts it.
- A template that writes earlier turns otherwise once others follow gives each turn a text of its own.
- Rows that teach nothing (an empty completion, two equal ones) are dropped, and so are answers to different conversations.
"""

import json
import pathlib
import shutil
import sys
import tempfile
import types

import quiet

import accelerate
import datasets
import torch
import transformers
import trl
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.llama import modeling_llama
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

import rows as bring
import small_models

OUT = pathlib.Path(__file__).parent.parent / "tests/fixtures/peers"
BETA, EPSILON = 0.1, 0.1
LENGTHS = [12, 24]
# Their rows are cut as those of others, and are long.
CUT_NOWHERE = ("bytelevel-eos", "chatml-on-a-base", "chatml-metaspace", "inst", "tools")

# slpo's name of a loss: TRL's losses with their weights. TRL 1.16 has no cDPO; it is 2(1−ε)·sigmoid − (1−2ε)·robust.
LOSSES = {
    "dpo": (["sigmoid"], [1.0]),
    "cdpo": (["sigmoid", "robust"], [2 * (1 - EPSILON), -(1 - 2 * EPSILON)]),
    "robust": (["robust"], [1.0]),
    "hinge": (["hinge"], [1.0]),
    "ipo-mean": (["ipo"], [1.0]),
}


def stream(rows):
    """A dataset that keeps its rows as they are: a table would give every message the keys of all."""
    return datasets.IterableDataset.from_generator(lambda: iter(json.loads(json.dumps(rows))))


class Setup:
    """A tokenizer with its template, and TRL's trainers on it."""

    def __init__(self, name, weights, work):
        tokenizer, bos, eos, template, ends = small_models.SETUPS[name]
        self.name, self.kind, self.template = name, tokenizer, template
        self.folder = work / name
        self.folder.mkdir()
        small_models.write_tokenizer(self.folder, tokenizer, bos, eos)
        if template:
            (self.folder / "chat_template.jinja").write_text(template)
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        self.bos, self.eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        self.ends = [self.tokenizer.convert_tokens_to_ids(end) for end in ends or [eos]]
        self.generation = {"eos_token_id": self.ends} if ends else None
        self.config = small_models.config() | {"bos_token_id": self.bos, "eos_token_id": self.eos}
        (self.folder / "config.json").write_text(json.dumps(self.config))
        for which in ("policy", "reference"):
            folder = work / f"{name}-{which}"
            shutil.copytree(self.folder, folder)
            shutil.copyfile(weights / f"{which}.safetensors", folder / "model.safetensors")
        self.work = work
        self.trainers = {}

    def model(self, which, dtype):
        return AutoModelForCausalLM.from_pretrained(self.work / f"{self.name}-{which}", dtype=dtype, attn_implementation="eager")

    def settings(self, **more):
        return {
            "output_dir": tempfile.mkdtemp(dir=self.work), "use_cpu": True, "report_to": "none", "bf16": False, "max_steps": 1,
            "gradient_checkpointing": False, "max_length": None, "disable_tqdm": True, **more,
        }

    def dpo(self):
        if "dpo" not in self.trainers:
            first = stream([{"prompt": "a", "chosen": "b", "rejected": "c"}])
            arguments = DPOConfig(**self.settings(beta=BETA, label_smoothing=EPSILON))
            models = [self.model(which, torch.float32) for which in ("policy", "reference")]
            self.trainers["dpo"] = DPOTrainer(*models, arguments, train_dataset=first, processing_class=self.tokenizer)
        return self.trainers["dpo"]

    def sft(self, assistant_only=False):
        key = ("sft", assistant_only)
        if key not in self.trainers:
            first = [{"messages": [bring.user("a"), bring.assistant("b")]}] if assistant_only else [{"text": "a"}]
            arguments = SFTConfig(**self.settings(assistant_only_loss=assistant_only))
            model = self.model("policy", torch.float32)
            self.trainers[key] = SFTTrainer(model, arguments, train_dataset=stream(first), processing_class=self.tokenizer)
        return self.trainers[key]

    def prepared_pair(self, row, **limits):
        """The ids of prompt, chosen and rejected, as DPOTrainer prepares them; None where it drops the row."""
        trainer = self.dpo()
        arguments = DPOConfig(**self.settings(**limits))
        found = list(trainer._prepare_dataset(stream([row]), self.tokenizer, arguments, "train"))
        return {key: found[0][f"{key}_ids"] for key in ("prompt", "chosen", "rejected")} if found else None

    def prepared_completion(self, row, assistant_only=False):
        """The ids and labels of a row, as SFTTrainer prepares them."""
        trainer = self.sft(assistant_only)
        trainer.completion_only_loss = "prompt" in row
        arguments = SFTConfig(**self.settings(assistant_only_loss=assistant_only))
        found = list(trainer._prepare_dataset(stream([row]), self.tokenizer, arguments, False, None, "train"))
        return found[0]["input_ids"], [label != -100 for label in found[0]["labels"]]

    def without_tail(self, ids, start):
        """The ids up to the last token of the completion that ends a turn, where only white space follows it."""
        last = max((at for at in range(start, len(ids)) if ids[at] in self.ends), default=None)
        if last is None or self.tokenizer.decode(ids[last + 1 :]).strip():
            return ids
        return ids[: last + 1]


def sequence(setup, prompt, completion, is_chat):
    """What slpo should have: (tokens, start of the completion)."""
    ids = prompt + completion
    if is_chat:
        ids = setup.without_tail(ids, len(prompt))
    return {"tokens": ids, "start": max(1, len(prompt))}


def expected_pair(setup, trl_row, is_chat):
    found = setup.prepared_pair(trl_row)
    expected = {key: sequence(setup, found["prompt"], found[key], is_chat) for key in ("chosen", "rejected")}
    return found, expected


def is_chat(row):
    return any(isinstance(row.get(key), list) for key in ("prompt", "chosen", "messages", "completion"))


def dropped(row):
    """Why slpo drops a pair, if it does."""
    text = lambda value: value[-1]["content"] if isinstance(value, list) else value
    calls = lambda value: isinstance(value, list) and value[-1].get("tool_calls")
    chosen, rejected = row["chosen"], row["rejected"]
    if any(not text(answer).strip() and not calls(answer) for answer in (chosen, rejected)):
        return "empty_completion"
    if "prompt" not in row and isinstance(chosen, list) and chosen[:-1] != rejected[:-1]:
        return "prompts_differ"
    return "equal_completions" if chosen == rejected else None


def pair_case(setup, row, trl_row=None, why=None):
    trl_row = trl_row or row
    case = {"row": row}
    reason = dropped(trl_row)
    if reason:
        return case | {"dropped": reason}
    found, expected = expected_pair(setup, trl_row, is_chat(trl_row))
    case |= expected
    whole = {key: found["prompt"] + found[key] for key in ("chosen", "rejected")}
    if any(whole[key] != expected[key]["tokens"] for key in whole):
        case["differs"] = "nothing is learned after the token that ends the turn"
    if len(found["prompt"]) == 0:
        case["differs"] = "the first token is context: nothing comes before it"
    if why:
        case["differs"] = why
    if setup.name == "bytelevel-eos":
        for key in ("chosen", "rejected"):
            case[key]["tokens"] = without_second_end(setup, case[key]["tokens"], case[key]["start"])
        case["differs"] = "one EOS ends a completion; TRL writes one, and its tokenizer puts another after it"
    if case["chosen"]["tokens"] == case["rejected"]["tokens"]:
        return {"row": row, "dropped": "equal_tokens"}
    if setup.name not in CUT_NOWHERE and (found := cuts(setup, trl_row, case)):
        case["cuts"] = found
    return case


def without_second_end(setup, ids, start):
    """A tokenizer that puts EOS after every text gives TRL a completion with two: one is enough."""
    while ids[-2:] == [setup.eos, setup.eos] and len(ids) > start + 1:
        ids = ids[:-1]
    return ids


def cuts(setup, trl_row, case):
    """What is left of a pair at some lengths: by TRL's `keep_start`, and by slpo's default."""
    found = []
    for length in LENGTHS:
        if max(len(case[key]["tokens"]) for key in ("chosen", "rejected")) > length:
            fits = setup.prepared_pair(trl_row, max_length=length, truncation_mode="keep_start") is not None
            end = cut_at_the_end(setup, case, length) if fits else {"dropped": "prompt_fills_limit"}
            found += [{"max_tokens": length, "truncation": "end"} | end]
            found += [{"max_tokens": length, "truncation": "both"} | cut_at_both_ends(setup, case, length)]
    for cut in found:
        if "chosen" in cut and cut["chosen"]["tokens"] == cut["rejected"]["tokens"]:
            del cut["chosen"], cut["rejected"]
            cut["dropped"] = "equal_tokens"
    return found


def collated(case):
    """A pair as TRL's collator takes it. Where nothing comes before the answers, their first tokens are their own."""
    start = case["chosen"]["start"]
    prompts = [case[key]["tokens"][:start] for key in ("chosen", "rejected")]
    if prompts[0] != prompts[1]:
        start = 0
    ids = {f"{key}_ids": case[key]["tokens"][start:] for key in ("chosen", "rejected")}
    return {"prompt_ids": case["chosen"]["tokens"][:start], **ids}


def cut_at_the_end(setup, case, length):
    """By TRL's own collator."""
    collator = setup.dpo().data_collator
    collator.max_length, collator.truncation_mode = length, "keep_start"
    batch = collator([collated(case)])
    collator.max_length = None
    left = {}
    for at, key in enumerate(("chosen", "rejected")):
        size, learned = (int(batch[mask][at].sum()) for mask in ("attention_mask", "completion_mask"))
        left[key] = {"tokens": batch["input_ids"][at][:size].tolist(), "start": max(1, size - learned)}
    return left


def cut_at_both_ends(setup, case, length):
    """The prompt's end and the completions' beginnings."""
    start = case["chosen"]["start"]
    longest = max(len(case[key]["tokens"]) for key in ("chosen", "rejected"))
    kept = min(start, max(length - (longest - start), length // 2, 1))
    left = {}
    for key in ("chosen", "rejected"):
        ids = case[key]["tokens"]
        bos = ids[:1] if ids[0] == setup.bos else []
        left[key] = {"tokens": (bos + ids[start - kept + len(bos) :])[:length], "start": kept}
    return left


def spans(setup, messages, ids, **more):
    """Which tokens of a conversation the model says, found by rendering its beginnings, for templates without marks."""
    render = lambda turns, **kwargs: trl.data_utils._tokenize(setup.tokenizer, turns, **more, **kwargs)["input_ids"]
    learned = [False] * len(ids)
    for at, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        start = trl.data_utils.common_prefix_length(render(messages[:at], add_generation_prompt=True) if at else [], ids)
        end = trl.data_utils.common_prefix_length(render(messages[: at + 1]), ids)
        end = len(setup.without_tail(ids[:end], start))
        learned[start:end] = [True] * (end - start)
    return learned


def last_turn(setup, messages, **more):
    """A conversation of which the last turn is learned."""
    ids, learned = setup.prepared_completion({"prompt": messages[:-1], "completion": messages[-1:], **more})
    start = learned.index(True)
    return {"tokens": setup.without_tail(ids, start), "start": max(1, start)}


def writes_turns_otherwise(setup, messages):
    """True if the text of a turn of the model is no beginning of the text of all."""
    render = lambda turns: setup.tokenizer.apply_chat_template(turns, tokenize=False)
    ends = [at + 1 for at, message in enumerate(messages) if message["role"] == "assistant"]
    return not all(render(messages).startswith(render(messages[:end])) for end in ends)


def every_turn(setup, row):
    """A conversation of which all turns of the model are learned: one text, or one for each turn."""
    messages = row["messages"]
    more = {key: row[key] for key in ("tools",) if key in row}
    if "endgeneration" in setup.template:
        ids, learned = setup.prepared_completion(row, assistant_only=True)
    elif writes_turns_otherwise(setup, messages):
        return [last_turn(setup, messages[: at + 1], **more) for at, turn in enumerate(messages) if turn["role"] == "assistant"]
    else:
        ids, _ = setup.prepared_completion(row)
        learned = spans(setup, messages, ids, **more)
    learned[0] = False
    positions = [at for at, bit in enumerate(learned) if bit]
    # What comes after the last token that is learned has no part in the loss.
    return [{"tokens": ids[: positions[-1] + 1], "learned": positions}]


def conversation_case(setup, row, turns):
    return {"row": row, "sequences": every_turn(setup, row) if turns == "all" else [last_turn(setup, row["messages"])]}


def completion_case(setup, row):
    answer = row.get("completion", row.get("text"))
    if not (answer[-1]["content"] if isinstance(answer, list) else answer).strip():
        return {"row": row, "dropped": "empty_completion"}
    ids, learned = setup.prepared_completion(row)
    start = learned.index(True)
    if is_chat(row):
        ids = setup.without_tail(ids, start)
    if setup.name == "bytelevel-eos":
        ids = without_second_end(setup, ids, start)
    return {"row": row, "sequences": [{"tokens": ids, "start": max(1, start)}]}


def learned_positions(sequence):
    return sequence.get("learned") or list(range(sequence["start"], len(sequence["tokens"])))


class DoubleTorch:
    """torch as the model's code sees it, with f64 where it asks for f32: its norms, attention and angles are in f32 in every model."""

    float32 = float = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


class Exact:
    """A model in f64 with the outputs that TRL's trainers ask for. Their own head of a model forms log-probabilities in f32."""

    def __init__(self, model):
        self.model = model
        head = small_models.DIM // small_models.HEADS
        steps = torch.arange(0, head, 2, dtype=torch.float64) / head
        model.model.rotary_emb.inv_freq = small_models.config()["rope_theta"] ** -steps

    def __call__(self, labels, fused_lm_head, use_cache, **inputs):
        labels = labels[:, 1:]
        modeling_llama.torch = DoubleTorch()
        logits = self.model(**inputs).logits[:, :-1]
        modeling_llama.torch = torch
        assert logits.dtype == torch.float64
        found = logits.log_softmax(-1).gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        mask = labels != -100
        nothing = torch.zeros_like(found)
        return types.SimpleNamespace(
            log_probs=found.masked_fill(~mask, 0), label_mask=mask, entropy=nothing, mean_logits=nothing, is_top1=mask
        )


def log_prob(model, sequence):
    """The log-probability of what is learned."""
    ids = torch.tensor([sequence["tokens"]])
    labels = torch.full_like(ids, -100)
    positions = learned_positions(sequence)
    labels[0, positions] = ids[0, positions]
    with torch.no_grad():
        return Exact(model)(labels, True, False, input_ids=ids).log_probs.sum().item()


def add_log_probs(setup, cases):
    policy, reference = (setup.model(which, torch.float64) for which in ("policy", "reference"))
    for case in cases:
        for sequence in case.get("sequences", []):
            sequence["log_prob"] = round(log_prob(policy, sequence), 10)
        for sequence in (case[key] for key in ("chosen", "rejected") if key in case):
            sequence["log_prob"] = round(log_prob(policy, sequence), 10)
            sequence["reference"] = round(log_prob(reference, sequence), 10)


def loss_and_norm(model, loss):
    """The numbers of a loss and of its gradient."""
    model.zero_grad()
    loss.backward()
    squares = sum(p.grad.double().pow(2).sum() for p in model.parameters() if p.grad is not None)
    return loss.item(), squares.sqrt().item()


def in_both_precisions(measure):
    """`measure` of a model's type: its loss and its gradient's norm in f64, and the loss as the trainer has it, in f32."""
    # The arguments of a trainer reset what all of them share.
    accelerate.Accelerator(cpu=True)
    (loss, norm), (loss_f32, _) = measure(torch.float64), measure(torch.float32)
    assert abs(loss - loss_f32) < 1e-5 * abs(loss), (loss, loss_f32)
    return {"loss": loss, "gradient_norm": norm, "loss_f32": loss_f32}


def first_dpo_losses(setup, cases):
    """The loss of a step on all pairs at once, by DPOTrainer's own function."""
    examples = [collated(case) for case in cases if "chosen" in case]
    trainer = setup.dpo()
    references = {torch.float32: trainer.ref_model, torch.float64: Exact(setup.model("reference", torch.float64))}
    policies = {torch.float32: trainer.model, torch.float64: setup.model("policy", torch.float64)}

    def measure(dtype):
        trainer.ref_model = references[dtype]
        policy = policies[dtype]
        called = policy if dtype == torch.float32 else Exact(policy)
        return loss_and_norm(policy, trainer._compute_loss(called, trainer.data_collator(examples), False))

    losses = {}
    for name, (trainer.loss_types, trainer.loss_weights) in LOSSES.items():
        losses[name] = in_both_precisions(measure)
    return {"pairs": len(examples), "losses": losses}


def first_sft_loss(setup, cases):
    """The loss of a step on all completions at once, by SFTTrainer's own function."""
    examples = []
    for case in cases:
        for sequence in case.get("sequences", []):
            ids, positions = sequence["tokens"], set(learned_positions(sequence))
            examples.append({"input_ids": ids, "labels": [token if at in positions else -100 for at, token in enumerate(ids)]})
    trainer = setup.sft()
    policies = {torch.float32: trainer.model, torch.float64: setup.model("policy", torch.float64)}

    def measure(dtype):
        policy = policies[dtype]
        called = policy if dtype == torch.float32 else Exact(policy)
        return loss_and_norm(policy, trainer.compute_loss(called, trainer.data_collator(examples)))

    tokens = sum(sum(label != -100 for label in example["labels"]) for example in examples)
    return {"sequences": len(examples), "tokens": tokens, **in_both_precisions(measure)}


def text_pairs(setup):
    cases = [pair_case(setup, row) for row in bring.TEXT_PAIRS + bring.IMPLICIT_PAIRS]
    for row, prompt, why in bring.OTHER_PROMPTS:
        trl_row = {"prompt": prompt, **{key: row[key][len(prompt) :] for key in ("chosen", "rejected")}}
        cases.append(pair_case(setup, row, trl_row, why))
    return cases


def chat_pairs(setup):
    if setup.name == "tools":
        return [pair_case(setup, row) for row in bring.TOOL_PAIRS]
    if setup.name == "thought":
        return [pair_case(setup, row) for row in bring.THOUGHT_PAIRS]
    cases = [pair_case(setup, row) for row in bring.CHAT_PAIRS]
    return cases + [pair_case(setup, row, trl_row) for row, trl_row in bring.SHAREGPT_PAIRS]


def completions(setup):
    if not setup.template:
        return [completion_case(setup, row) for row in bring.TEXT_COMPLETIONS]
    if setup.name == "tools":
        rows = bring.TOOL_CONVERSATIONS + [{"messages": turns} for turns in bring.CONVERSATIONS + bring.OTHER_CONVERSATIONS]
        return [conversation_case(setup, row, "all") for row in rows]
    return [completion_case(setup, row) for row in bring.CHAT_COMPLETIONS]


def conversations(setup, turns):
    # A template without words for an end leaves open whose token a line break is that both turns touch.
    if not setup.template or setup.name == "without-end":
        return []
    rows = [{"messages": messages} for messages in (bring.THOUGHT_CONVERSATIONS if setup.name == "thought" else bring.CONVERSATIONS)]
    return [conversation_case(setup, row, turns) for row in rows]


def write(setups, weights):
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    for which in ("policy", "reference"):
        shutil.copyfile(weights / f"{which}.safetensors", OUT / f"{which}.safetensors")
    for setup in setups:
        shutil.copyfile(setup.folder / "tokenizer.json", OUT / f"{setup.kind}.tokenizer.json")


def describe(setup):
    pairs = chat_pairs(setup) if setup.template else text_pairs(setup)
    learned = completions(setup)
    whole = {turns: conversations(setup, turns) for turns in ("all", "last")}
    for cases in (pairs, learned, *whole.values()):
        add_log_probs(setup, cases)
    fixture = {
        "name": setup.name, "tokenizer": setup.kind, "config": setup.config,
        "tokenizer_config": json.loads((setup.folder / "tokenizer_config.json").read_text()), "chat_template": setup.template,
        "generation_config": setup.generation, "pairs": pairs, "completions": learned,
        "conversations": whole, "align": first_dpo_losses(setup, pairs), "sft": first_sft_loss(setup, learned),
    }
    return fixture


def main():
    quiet.libraries()
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        for which, seed in (("policy", 1), ("reference", 2)):
            small_models.write_weights(work / f"{which}.safetensors", seed)
        setups = [Setup(name, work, work) for name in small_models.SETUPS]
        write(setups, work)
        versions = {package.__name__: package.__version__ for package in (torch, transformers, trl)}
        for setup in setups:
            fixture = describe(setup)
            text = json.dumps(fixture | {"versions": versions}, ensure_ascii=False, separators=(",", ":"))
            (OUT / f"{setup.name}.json").write_text(one_case_a_line(text) + "\n")
            counts = {key: len(fixture[key]) for key in ("pairs", "completions")}
            print(setup.name, counts, {key: len(value) for key, value in fixture["conversations"].items()}, flush=True)
            setup.trainers.clear()
    print(sum(file.stat().st_size for file in OUT.rglob("*") if file.is_file()), "bytes")


def one_case_a_line(text):
    return text.replace(',{"row":', ',\n{"row":').replace('[{"row":', '[\n{"row":')


if __name__ == "__main__":
    sys.exit(main())

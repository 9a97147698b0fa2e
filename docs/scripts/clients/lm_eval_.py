"""Ask with lm-evaluation-harness, which measures log-probabilities or continues texts."""

import json

from asked import KEY, LENGTH, MODEL, PROMPT, SAMPLER, SEED, TEMPERATURE, URL, tried
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model


def generated(kind, request, **fields):
    options = {"until": [], "max_gen_toks": LENGTH, "do_sample": True, **fields}
    instance = Instance("generate_until", {}, (request, options), 0)
    model = get_model(f"local-{kind}").create_from_arg_obj(
        {"model": MODEL, "base_url": f"{URL}/{kind.replace('chat-', 'chat/')}", "auth_token": KEY,
         "seed": SEED, "tokenizer_backend": None, "max_length": 256, "num_concurrent": 1}
    )  # fmt: skip
    return model.generate_until([instance], disable_tqdm=True)[0]


def completion():
    return generated("completions", PROMPT, temperature=TEMPERATURE)


def message():
    from lm_eval.models.api_models import JsonChatStr

    return JsonChatStr(json.dumps([{"role": "user", "content": PROMPT}]))


def chat():
    return generated("chat-completions", message(), temperature=TEMPERATURE)


def sampler():
    return generated("chat-completions", message(), temperature=None, **SAMPLER)


tried(completion, chat, sampler)

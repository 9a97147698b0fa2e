"""Ask with litellm."""

import litellm
from asked import (
    KEY,
    LENGTH,
    MESSAGES,
    MODEL,
    PROMPT,
    SEED,
    TEMPERATURE,
    URL,
    tasks_of_chat,
    tried,
)

fields = {"seed": SEED, "max_tokens": LENGTH, "api_base": URL, "api_key": KEY}
asked = {**fields, "temperature": TEMPERATURE}


def create(**more):
    return litellm.completion(model=f"openai/{MODEL}", messages=MESSAGES, **{**asked, **more})


def completion():
    named = f"text-completion-openai/{MODEL}"
    return litellm.text_completion(model=named, prompt=PROMPT, **asked).choices[0].text


tried(completion, *tasks_of_chat(create))

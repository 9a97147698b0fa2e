"""Ask with LangChain."""

from asked import KEY, LENGTH, MODEL, PROMPT, SAMPLER, SCHEMA, SEED, TEMPERATURE, TOOL, URL, tried
from langchain_openai import ChatOpenAI, OpenAI

asked = {"model": MODEL, "seed": SEED, "max_tokens": LENGTH, "base_url": URL, "api_key": KEY}
model = ChatOpenAI(**asked, temperature=TEMPERATURE)


def completion():
    return OpenAI(**asked, temperature=TEMPERATURE).invoke(PROMPT)


def chat():
    return model.invoke(PROMPT).content


def stream():
    return "".join(event.content for event in model.stream(PROMPT))


def tools():
    bound = model.bind_tools([TOOL], tool_choice="required")
    return bound.invoke(PROMPT).tool_calls[0]["args"]


def response_format():
    return model.with_structured_output(SCHEMA, method="json_schema").invoke(PROMPT)


def sampler():
    return ChatOpenAI(**asked, extra_body=SAMPLER).invoke(PROMPT).content


tried(completion, chat, stream, tools, response_format, sampler)

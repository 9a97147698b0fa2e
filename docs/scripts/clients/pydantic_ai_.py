"""Ask with Pydantic AI."""

from asked import KEY, LENGTH, MODEL, PROMPT, SAMPLER, SEED, TEMPERATURE, URL, tried
from pydantic import BaseModel, Field
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=URL, api_key=KEY))
asked = {"seed": SEED, "max_tokens": LENGTH}
settings = {**asked, "temperature": TEMPERATURE}


class Film(BaseModel):
    """A film."""

    stars: int = Field(ge=1, le=5)


async def run(settings=settings, **options):
    return (await Agent(model, **options).run(PROMPT, model_settings=settings)).output


async def chat():
    return await run()


async def stream():
    async with Agent(model).run_stream(PROMPT, model_settings=settings) as answer:
        return "".join([part async for part in answer.stream_text(delta=True, debounce_by=None)])


async def tools():
    return (await run(output_type=Film)).model_dump()  # by a call, which it demands


async def response_format():
    return (await run(output_type=NativeOutput(Film))).model_dump()


async def sampler():
    return await run({**asked, "extra_body": SAMPLER})


tried(chat, stream, tools, response_format, sampler)

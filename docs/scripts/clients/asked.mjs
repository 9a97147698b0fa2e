// The requests that each client in JavaScript makes; see asked.py.
export const url = process.env.CLIENT_URL, key = process.env.CLIENT_KEY, model = "chat";
export const prompt = "The film was", seed = 1, length = 100, temperature = 0.7;
export const sampler_ = { sampler: "min_p(p=0.05) | temperature(t=0.8)" };
export const schema = {
  type: "object", properties: { stars: { type: "integer", minimum: 1, maximum: 5 } },
  required: ["stars"], additionalProperties: false,
};
export async function tried(tasks) {
  for (const [task, run] of Object.entries(tasks)) {
    try {
      console.log(JSON.stringify({ task, answer: await run() }));
    } catch (error) {
      console.log(JSON.stringify({ task, error: `${error.name}: ${error.message}` }));
    }
  }
}

"""Train a tiny GPT-2 with TRL's GRPOTrainer on rollouts under a chain, with or without replay.

    pip install trl ./plugins/corelm-replay[torch] ./plugins/corelm-transformers
    corelm models export gpt2 --to transformers tiny-gpt2
    python train_with_trl.py tiny-gpt2 --steps 60 [--no-replay]

The reward of a text is its share of the letter e. Each step prints the share of importance ratios
outside 0.9 to 1.1 before the update; the log of entropies is read by `corelm replay entropy`.
"""

import argparse

import torch
from corelm_replay import EntropyLog, chain_logprobs, record_logits
from corelm_transformers import as_logits_processor
from datasets import Dataset
from transformers import AutoTokenizer, GPT2LMHeadModel
from trl import GRPOConfig, GRPOTrainer

CHAIN = "temperature(t=0.7) | top_p(p=0.8)"
PROMPTS = ["This movie", "The actors", "I saw", "A film"]
NEUTRAL = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}


class ReplayTrainer(GRPOTrainer):
    """GRPO whose importance ratios compare with the log-probabilities of the rollout."""

    replay, log_of_entropies = True, None

    def rollout(self, prompts):
        model, tokenizer = self.accelerator.unwrap_model(self.model), self.processing_class
        inputs = tokenizer(prompts, return_tensors="pt", padding=True)
        with torch.no_grad():
            out = model.generate(
                **inputs, **NEUTRAL, logits_processor=[as_logits_processor(CHAIN)],
                max_new_tokens=self.max_completion_length, output_logits=True,
                return_dict_in_generate=True, pad_token_id=tokenizer.pad_token_id,
            )  # fmt: skip
        width = inputs.input_ids.shape[1]
        ends = (out.sequences[:, width:] == tokenizer.eos_token_id).int()
        drawn = ends.cumsum(1) == ends  # everything after the first end is padding
        mask = torch.cat([inputs.attention_mask, drawn.int()], 1)
        found = record_logits(CHAIN, torch.stack(out.logits, 1), out.sequences,
                              prompt_length=width, mask=mask)  # fmt: skip
        pairs = [found.ids(row) for row in range(len(prompts))]
        rewards = share_of_e([tokenizer.decode(text) for _, text in pairs])
        self.log_of_entropies.add(self.state.global_step, found, sum(rewards) / len(rewards))
        return {
            "prompt_ids": [prompt for prompt, _ in pairs],
            "completion_ids": [text for _, text in pairs],
            "logprobs": [
                found.logprobs[row, : len(c)].tolist() for row, (_, c) in enumerate(pairs)
            ],
        }

    def _get_per_token_logps_and_entropies(self, model, input_ids, attention_mask, keep, **options):
        logits = model(input_ids=input_ids, attention_mask=attention_mask).logits[:, -keep - 1 : -1]
        chain = CHAIN if self.replay else "temperature(t=0.7)"  # the usual ratios, without replay
        logps = chain_logprobs(chain, logits, input_ids, mask=attention_mask,
                               prompt_length=input_ids.shape[1] - keep)  # fmt: skip
        return logps, -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1).detach(), None

    def _compute_loss(self, model, inputs):
        recorded = inputs["old_per_token_logps"] = inputs["sampling_per_token_logps"]
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
        with torch.no_grad():
            now, _, _ = self._get_per_token_logps_and_entropies(model, ids, mask, recorded.shape[1])
        ratios = (now - recorded).exp()[inputs["completion_mask"].bool()]
        outside = ((ratios < 0.9) | (ratios > 1.1)).float().mean().item()
        reward = self.log_of_entropies.steps[-1].reward
        step = self.state.global_step
        print(f"step {step}: {outside:.1%} of ratios outside, reward {reward:.3f}", flush=True)
        return super()._compute_loss(model, inputs)


def share_of_e(completions, **others):
    return [text.count("e") / max(len(text), 1) for text in completions]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--no-replay", action="store_true")
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(options.model, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    config = GRPOConfig(
        "out", max_steps=options.steps, per_device_train_batch_size=16, num_generations=8,
        max_completion_length=16, learning_rate=2e-4, beta=0.0, report_to=[], use_cpu=True,
        save_strategy="no", logging_strategy="no", disable_tqdm=True, gradient_checkpointing=False,
        seed=1,
    )  # fmt: skip
    trainer = ReplayTrainer(
        GPT2LMHeadModel.from_pretrained(options.model), share_of_e, args=config,
        train_dataset=Dataset.from_dict({"prompt": PROMPTS * 8}), processing_class=tokenizer,
        rollout_func=lambda prompts, trainer: trainer.rollout(prompts),
    )  # fmt: skip
    trainer.replay = not options.no_replay
    trainer.log_of_entropies = EntropyLog("plain.jsonl" if options.no_replay else "replay.jsonl")
    trainer.train()

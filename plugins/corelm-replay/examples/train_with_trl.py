"""Train a tiny GPT-2 with TRL's GRPOTrainer on rollouts under a chain, with or without replay.

    pip install trl corelm-replay[torch] corelm-transformers
    corelm models export gpt2 --to transformers tiny-gpt2
    python train_with_trl.py tiny-gpt2 60 [--no-replay]

The reward of a text is its share of the letter e. Each step prints the share of importance ratios
outside 0.9 to 1.1 before the update; the log of entropies is read by `corelm replay entropy`.
"""

import sys

import torch
from corelm_replay import EntropyLog, TokenLog, chain_logprobs
from corelm_transformers import as_logits_processor
from datasets import Dataset
from transformers import AutoTokenizer, GPT2LMHeadModel
from trl import GRPOConfig, GRPOTrainer

CHAIN, REPLAY = "temperature(t=0.7) | top_p(p=0.8)", "--no-replay" not in sys.argv
PROMPTS = ["This movie", "The actors", "I saw", "A film"]


class ReplayTrainer(GRPOTrainer):
    """GRPO whose importance ratios compare with the log-probabilities of the rollout."""

    entropies = EntropyLog("replay.jsonl" if REPLAY else "plain.jsonl")

    def rollout(self, prompts):
        tokenizer, log, step = self.processing_class, TokenLog(), self.state.global_step
        chain = as_logits_processor(CHAIN, seed=step, tokenizer=tokenizer, record=log)
        self.accelerator.unwrap_model(self.model).generate(
            **tokenizer(prompts, return_tensors="pt", padding=True), logits_processor=[chain],
            max_new_tokens=self.max_completion_length, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        found = log.rollouts()
        drawn = [found.ids(row)[1] for row in range(len(prompts))]
        rewards = share_of_e([tokenizer.decode(text) for text in drawn])
        self.entropies.add(step, found, sum(rewards) / len(rewards))
        logprobs = [found.logprobs[row, : len(text)].tolist() for row, text in enumerate(drawn)]
        starts = tokenizer(prompts).input_ids
        return {"prompt_ids": starts, "completion_ids": drawn, "logprobs": logprobs}

    def _get_per_token_logps_and_entropies(self, model, input_ids, attention_mask, keep, **options):
        places = (attention_mask.cumsum(1) - 1).clamp(min=0)  # as generate counts padded prompts
        given = {"attention_mask": attention_mask, "position_ids": places}
        logits = model(input_ids=input_ids, **given).logits[:, -keep - 1 : -1]
        chain = CHAIN if REPLAY else "temperature(t=0.7)"  # what trainers do without replay
        where = {"prompt_length": input_ids.shape[1] - keep, "mask": attention_mask}
        logps = chain_logprobs(chain, logits, input_ids, **where)
        return logps, -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1).detach(), None

    def _compute_loss(self, model, inputs):
        recorded = inputs["old_per_token_logps"] = inputs["sampling_per_token_logps"]
        ids, mask = (torch.cat([inputs[f"prompt_{of}"], inputs[f"completion_{of}"]], 1)
                     for of in ("ids", "mask"))  # fmt: skip
        with torch.no_grad():
            now, _, _ = self._get_per_token_logps_and_entropies(model, ids, mask, recorded.shape[1])
        ratios = (now - recorded).exp()[inputs["completion_mask"].bool()]
        outside = ((ratios < 0.9) | (ratios > 1.1)).float().mean().item()
        last = self.entropies.steps[-1]
        print(f"step {last.step}: {outside:.1%} of ratios outside, reward {last.reward:.3f}")
        return super()._compute_loss(model, inputs)


def share_of_e(completions, **others):
    return [text.count("e") / max(len(text), 1) for text in completions]


if __name__ == "__main__":
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], padding_side="left")
    ReplayTrainer(
        GPT2LMHeadModel.from_pretrained(sys.argv[1]), share_of_e, processing_class=tokenizer,
        args=GRPOConfig(
            "out", max_steps=int(sys.argv[2]), per_device_train_batch_size=16, num_generations=8,
            max_completion_length=16, learning_rate=2e-4, beta=0.0, report_to=[], use_cpu=True,
            save_strategy="no", logging_strategy="no", disable_tqdm=True, seed=1,
            gradient_checkpointing=False,
        ),
        train_dataset=Dataset.from_dict({"prompt": PROMPTS * 8}),
        rollout_func=lambda prompts, trainer: trainer.rollout(prompts),
    ).train()  # fmt: skip

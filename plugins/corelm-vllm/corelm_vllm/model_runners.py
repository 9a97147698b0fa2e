"""The rows of logits of vLLM's two model runners, each with its request and its text."""

import numpy as np

from corelm_vllm.requests import NO_TOKENS, Row


class SlotRows:
    """The rows of model runner V2, whose requests have slots; a row belongs to a slot.

    Args:
        req_states: vLLM's view of its slots: token ids and lengths of prompts.
    """

    def __init__(self, req_states):
        self._states = req_states
        self._requests = {}

    def add(self, slot, request):
        """Set the request of a slot in place of an earlier one; None if it doesn't use corelm."""
        self._requests[slot] = request

    def rows(self, ctx):
        """Return the rows of corelm's requests in a step."""
        if not any(self._requests.get(int(slot)) for slot in ctx.idx_mapping_np):
            return []
        slots = ctx.expanded_idx_mapping.cpu().tolist()
        positions, inputs = ctx.pos.cpu().numpy(), ctx.input_ids.cpu().numpy()
        offsets = ctx.expanded_local_pos.cpu().numpy()
        rows = []
        for i, slot in enumerate(slots):
            request = self._requests.get(slot)
            if request is not None:
                tokens = NO_TOKENS
                if request.reads_tokens:
                    # The drafts of speculative decoding are the inputs of the request's further
                    # rows.
                    committed = int(positions[i]) + 1 - int(offsets[i])
                    drafts = inputs[i + 1 - int(offsets[i]) : i + 1]
                    text = self._states.all_token_ids.gpu[slot, :committed].cpu().numpy()
                    tokens = np.concatenate([text, drafts])
                first, length = int(self._states.prompt_len.np[slot]), int(positions[i]) + 1
                rows.append(Row(i, request, tokens, first, length))
        return rows


class BatchRows:
    """The rows of model runner V1, where row i is request i of a batch that changes."""

    def __init__(self, swap):
        self._swap = swap
        self._requests = {}

    def update(self, batch_update, new_request):
        """Follow the changes of a batch: removed, then added, then moved requests.

        Args:
            batch_update: vLLM's `BatchUpdate`.
            new_request: returns the request of `SamplingParams`, or None.
        """
        for index in batch_update.removed:
            self._requests.pop(index, None)
        for index, params, prompt, output in batch_update.added:
            self._set(index, (new_request(params), prompt or [], output))
        # In vLLM's order: a request may move to the place of a removed one.
        for first, second, direction in batch_update.moved:
            one, two = self._requests.pop(first, None), self._requests.pop(second, None)
            self._set(second, one)
            if direction == self._swap:
                self._set(first, two)

    def _set(self, index, entry):
        if entry is None or entry[0] is None:
            self._requests.pop(index, None)
        else:
            self._requests[index] = entry

    def rows(self):
        """Return the rows of corelm's requests in a step."""
        return [
            Row(
                index,
                request,
                # A long text takes longer to copy than a sampler to run.
                np.array([*prompt, *output], np.int64) if request.reads_tokens else NO_TOKENS,
                len(prompt),
                len(prompt) + len(output),
            )
            for index, (request, prompt, output) in self._requests.items()
        ]

"""Tasks of lm-evaluation-harness from local files, and the harness itself without the network."""

import json
import os

import pytest

pytest.importorskip("corelm_lm_eval", reason="pip install ./plugins/corelm-lm-eval")
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TQDM_DISABLE="1")

DOCUMENTS = [
    {"before": "This movie was", "choices": [" great", " a waste of time", " the worst"], "gold": 0},
    {"before": "I liked", "choices": [" the acting", " it", " nothing in this film"], "gold": 1},
    {"before": "The plot of the film is", "choices": [" bad", " good and funny"], "gold": 1},
    {"before": "What a", "choices": [" waste", " great film this is"], "gold": 1},
    {"before": "the best part of this movie is", "choices": [" the end", " music"], "gold": 0},
]
TASKS = {
    "choices": """
output_type: multiple_choice
doc_to_text: "{{before}}"
doc_to_choice: choices
doc_to_target: gold
target_delimiter: ""
metric_list:
  - metric: acc
""",
    "rolling": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{before}}{{choices[0]}}"
metric_list:
  - metric: word_perplexity
""",
    "texts": """
output_type: generate_until
doc_to_text: "{{before}}"
doc_to_target: "{{choices[0]}}"
repeats: 2
generation_kwargs: {until: ["."], max_gen_toks: 12}
filter_list:
  - name: all
    filter: [{function: take_first}]
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
""",
}


@pytest.fixture(scope="session")
def tasks(tmp_path_factory):
    """Return the folder of task files, whose names are those of `TASKS`."""
    folder = tmp_path_factory.mktemp("tasks")
    os.environ["HF_HOME"] = os.environ["HF_DATASETS_CACHE"] = str(folder / "cache")
    (folder / "documents.jsonl").write_text("\n".join(map(json.dumps, DOCUMENTS)), "utf-8")
    for name, settings in TASKS.items():
        (folder / f"{name}.yaml").write_text(
            f"task: {name}\ndataset_path: json\ntest_split: test\n"
            f"dataset_kwargs: {{data_files: {{test: {folder}/documents.jsonl}}}}\n"
            f"metadata: {{version: 1}}\n{settings.lstrip()}",
            "utf-8",
        )
    return folder


@pytest.fixture
def evaluate(tasks):
    """Return a function that evaluates tasks and returns the results."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks), include_defaults=False)

    def results(*names, model="corelm", **options):
        return simple_evaluate(
            model=model, tasks=[*names], task_manager=manager, bootstrap_iters=0, **options
        )

    return results

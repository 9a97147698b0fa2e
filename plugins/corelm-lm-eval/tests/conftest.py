"""lm-evaluation-harness on tasks from local files."""

import json

import pytest

pytest.importorskip("corelm_lm_eval", reason="pip install ./plugins/corelm-lm-eval")

from lm_eval_tasks import DOCUMENTS, TASKS


@pytest.fixture(scope="session")
def tasks(tmp_path_factory):
    """Return the folder of task files, which are named after `TASKS`."""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "documents.jsonl").write_text("\n".join(map(json.dumps, DOCUMENTS)), "utf-8")
    for name, settings in TASKS.items():
        (folder / f"{name}.yaml").write_text(
            f"task: {name}\ndataset_path: json\ntest_split: test\n"
            f"dataset_kwargs: {{data_files: {{test: {folder.as_posix()}/documents.jsonl}},"
            f" cache_dir: {folder.as_posix()}/cache}}\n"
            f"metadata: {{version: 1}}\n{settings.lstrip()}",
            "utf-8",
        )
    return folder


@pytest.fixture
def evaluate(tasks, monkeypatch):
    """Return a function that evaluates tasks and returns the results."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    # It runs pip and reads the processor, for seconds, to describe this machine.
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)
    manager = TaskManager(include_path=str(tasks), include_defaults=False)

    def results(*names, model="corelm", **options):
        return simple_evaluate(
            model=model, tasks=[*names], task_manager=manager, bootstrap_iters=0, **options
        )

    return results

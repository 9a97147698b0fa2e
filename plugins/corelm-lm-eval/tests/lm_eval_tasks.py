"""Documents and the settings of tasks on them."""

DOCUMENTS = [
    {
        "before": "This movie was",
        "choices": [" great", " a waste of time", " the worst"],
        "gold": 0,
    },
    {"before": "I liked", "choices": [" the acting", " it", " nothing in this film"], "gold": 1},
    {"before": "The plot of the film is", "choices": [" bad", " good and funny"], "gold": 1},
    {"before": "", "choices": ["What a waste", "What a great film this is"], "gold": 1},
    {"before": "the best part of this movie is", "choices": [" the end", " music"], "gold": 0},
]
TASKS = {
    "choices": """
output_type: multiple_choice
doc_to_text: "{{before}}"
doc_to_choice: choices
doc_to_target: gold
target_delimiter: ""
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
""",
    "rolling": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{before}}{{choices[0]}}"
metric_list:
  - {metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
""",
    "texts": """
output_type: generate_until
doc_to_text: "{{before}} the"
doc_to_target: "{{choices[0]}}"
repeats: 2
generation_kwargs: {until: ["."], max_gen_toks: 8}
filter_list: [{name: all, filter: [{function: take_first}]}]
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
""",
    "variety": """
output_type: generate_until
doc_to_text: "{{before}} the"
doc_to_target: "{{choices[0]}}"
generation_kwargs: {until: [], max_tokens: 70, do_sample: true, temperature: 0.8, top_p: 0.9}
metric_list: [{metric: corelm_mattr}]
""",
}

// What the guides of the page say: the tour, and lessons of predicting and then seeing. {unit} is the model's.

export const TOUR = [
  {
    title: "Greedy",
    text: "Greedy keeps only the likeliest {unit}: entropy 0, and the same text at every seed.",
    task: "Draw to the end, then take a new seed and do it again: nothing changes, and soon it repeats itself.",
    sampler: "greedy",
  },
  {
    title: "Stochastic",
    text: "Stochastic draws from the model's own distribution: a {unit} of 5 % comes up once in twenty draws.",
    task: "Draw to the end with three seeds: each text is another one, and now and then a strange {unit} derails it.",
    sampler: "stochastic",
  },
  {
    title: "Temperature",
    text: "Temperature sharpens the distribution below 1 and flattens it above: watch the bars and the entropy.",
    task: "Move t slowly from 0.2 to 2, and draw a text at either end.",
    sampler: "temperature(t=0.7)",
  },
  {
    title: "Uniform",
    text: "Uniform forgets the model: every {unit} is as likely as every other, and the entropy is ln V.",
    task: "Draw to the end. This is how little the vocabulary says by itself.",
    sampler: "uniform",
  },
  {
    title: "A chain of your own",
    text: "Samplers act one after the other: each column shows what one of them did to the {unit} before you draw it.",
    task: "Move top_p before the temperature and behind it, and compare the entropy of the last column: order matters, since top_p keeps fewer {unit}s of a sharper distribution.",
    sampler: "temperature(t=1.5) | top_p(p=0.9)",
  },
];

// Each lesson opens a state. The columns stay covered until the prediction is made.
export const LESSONS = [
  {
    title: "Greedy loops",
    text: "Greedy takes the likeliest {unit} each time. What will a hundred {unit}s look like, and what will another seed change?",
    see: "Draw to the end. The text repeats itself sooner or later: once a phrase has come twice, the model finds it likely to come again. The entropy is 0, so no seed changes anything.",
    saved: { prompt: "this movie is", sampler: "greedy" },
  },
  {
    title: "Temperature",
    text: "At t = 1 the bars are the model's own. At t = 0.5, will the share of the likeliest {unit} double? And what happens to a rare {unit}?",
    see: "Move t to 0.5, then press the name of the column to see the numbers: each logit is divided by t, so each probability is squared and divided by their sum. The likely gain, the rare all but vanish, and the entropy falls.",
    saved: { prompt: "this movie is", sampler: "temperature(t=1.0)" },
  },
  {
    title: "Top-k, top-p and min-p",
    text: "After \"this is one of the worst movies I have ever\" one {unit} is nearly certain. How many {unit}s will top_k(k=10) keep, and how many top_p(p=0.9)? And after \"this movie is\", where many {unit}s are possible?",
    see: "Read \"next {unit}\" in both columns, then change the prompt to: this movie is. top_k keeps ten {unit}s at either place. top_p keeps few where the model is sure and many where it is not. Replace top_k by min_p(p=0.1), and compare again.",
    saved: { prompt: "this is one of the worst movies I have ever", compare: true, sides: [{ sampler: "top_k(k=10)" }, { sampler: "top_p(p=0.9)" }] },
  },
  {
    title: "Order",
    text: "A flattens the distribution and then keeps 90 % of it; B keeps 90 % and then flattens it. Which of the two keeps more {unit}s?",
    see: "A: a flatter distribution needs more {unit}s for 90 %, so the temperature lets strange {unit}s in before top_p looks. llama.cpp and mlx-lm put the temperature last, as B does; transformers, vllm and keras-hub put it first, as A does. Draw both to the end, and find the {unit} where they part.",
    saved: { prompt: "this movie is", compare: true, sides: [{ sampler: "temperature(t=1.5) | top_p(p=0.9)" }, { sampler: "top_p(p=0.9) | temperature(t=1.5)" }] },
  },
  {
    title: "Entropy and human text",
    text: "A has t = 0.5, B has t = 1. Which of the two will surprise the model as much as human text does, which has the upright mark on the strip?",
    see: "Draw both to the end and compare the two strips below the texts. Text of a low temperature is far less surprising than what people write. Take three more seeds: one text says little, many texts say it reliably, as a report does.",
    saved: { prompt: "this movie is", compare: true, sides: [{ sampler: "temperature(t=0.5)" }, { sampler: "stochastic" }] },
  },
];

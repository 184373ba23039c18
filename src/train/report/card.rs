//! The model card (`README.md`) of a model directory.

use crate::model::CARD_MARK;
use crate::text::Scheme;
use crate::train::data::minimal_pairs;
use crate::train::metrics::Metrics;
use crate::train::report::curve::CURVE_FILE;
use crate::train::report::record::{Calibration, OtherHalf, SeedFigures, TrainingRecord};
use crate::train::report::reliability::RELIABILITY_FILE;
use crate::train::settings::Split;

/// The model card of the model `name`.
pub fn model_card(name: &str, record: &TrainingRecord) -> String {
    let (settings, data) = (&record.settings, &record.data);
    let config = settings.config();
    let parameters: usize = crate::model::layout(&config)
        .iter()
        .filter(|spec| !spec.optional)
        .map(|spec| spec.shape.iter().product::<usize>())
        .sum();
    let directions = if settings.bidirectional { "both directions" } else { "one direction" };
    let held_out = match (settings.split, &data.group) {
        _ if let Some(table) = &data.validation_data => format!("those of {table}"),
        (Split::Film, Some(group)) => format!("all rows of a share of the values of `{group}`"),
        (Split::Stratified, _) => {
            format!("drawn at random from each class (`split_seed` {})", settings.split_seed)
        }
        (Split::Random, _) => format!("drawn at random (`split_seed` {})", settings.split_seed),
        (Split::Film, None) => "all reviews of films that the training part has none of".into(),
    };
    let films = !data.own;
    let what = if films { "an English film review" } else { "a text" };
    let mut text = head(name, record);
    text += &format!("# {name}\n\nTells how positive {what} is: text in, a probability out.\n\n");
    let mut add = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    add("| | |\n|---|---|");
    add(&format!(
        "| network | Embedding {} x {} -> LSTM {} ({} layer(s), {directions}) -> Dense 1 -> sigmoid |",
        settings.vocab_size, settings.embedding_dim, settings.hidden_size, settings.num_layers
    ));
    add(&format!("| parameters | {parameters} |"));
    if let Some(stack) = &record.stack {
        add(&format!(
            "| beside it | a linear model over {} 1- to 3-grams; logit = {:.2} LSTM + {:.2} n-grams {:+.2}, fitted on \
             the held-out reviews |",
            stack.count, stack.lstm, stack.ngrams, stack.bias
        ));
    }
    add(&format!(
        "| reads | the last {} tokens of a review, the start token included |",
        settings.max_length
    ));
    add(&format!("| preset, seed | `{}`, {} |", settings.preset, settings.seed));
    let source = if films { " (Large Movie Review Dataset, Maas et al., ACL 2011)" } else { "" };
    add(&format!("| data | {}{source} |", data.name));
    if let Some(init) = &data.init {
        add(&format!("| started from | the weights of `{init}`; see its card for what it learnt from |"));
    }
    if let Some(calibration) = &record.calibration {
        let Calibration { data, rows, positives, temperature, bias, .. } = calibration;
        add(&format!(
            "| calibrated on | {data}: {rows} rows, {positives} positive; temperature {temperature:.3}, bias {bias:+.3} |"
        ));
        if let Some(short) = calibration.short {
            add(&format!(
                "| short texts | with s = exp(-n / {}) for n ids and the probability u that a text holds an opinion, {short}; \
                 fitted on that |",
                short.tokens
            ));
            if let Some(OtherHalf { ece, ece_by_chance }) = calibration.other_half {
                add(&format!(
                    "| on others | ECE {ece:.4} where each half is told by a scale fitted to the other; by chance {ece_by_chance:.4} |"
                ));
            }
        }
        if let Some(score) = calibration.abstain {
            add(&format!(
                "| abstain | below a score of {score}, by what was wanted (`server --abstain {score}`) |"
            ));
        }
    }
    add(&format!("| words | {} |", data.vocabulary));
    add(&format!("| learnt from | {} reviews |", data.train));
    if data.unlabelled > 0 {
        let teachers = [data.teachers.as_slice(), &data.opinions].concat().join(", ");
        add(&format!("| and from | {} unlabelled reviews, by the opinion of {teachers} |", data.unlabelled));
    }
    if data.judged_stretches > 0 {
        let (stretches, files) = (data.judged_stretches, data.opinions.join(", "));
        add(&format!("| and from | {stretches} sentences and stretches, by the opinions in {files} |"));
    }
    if settings.sentences > 0.0 {
        add(
            "| and from | made-up sentences on negation, degrees and contrast (`src/train/data/sentences.toml`) |",
        );
    }
    add(&format!("| held out | {} reviews, {held_out} |", data.validation));
    add(&format!("{CARD_MARK}{} |", record.version));
    add(&format!("\n```\n{}\n```\n\n## Results\n", record.command));
    match record.kept_epoch {
        Some(epoch) => add(&format!("The weights are those after epoch {epoch} of {}.", settings.epochs)),
        None => add("Training was stopped within its first epoch."),
    }
    if !record.finished {
        add("Training was stopped before its end.");
    }
    add("");
    if record.results.is_empty() {
        add("No reviews were held out, so there is no figure to give.\n");
    } else {
        add("| reviews | number | loss | accuracy | precision | recall | F1 | AUC | ECE |");
        add("|---|---|---|---|---|---|---|---|---|");
    }
    for (set, m) in &record.results {
        add(&format!(
            "| {set} | {} | {:.4} | {:.4} | {:.4} | {:.4} | {:.4} | {} | {:.4} |",
            m.reviews,
            m.loss,
            m.accuracy,
            m.precision,
            m.recall,
            m.f1,
            m.auc_text(),
            m.ece
        ));
    }
    add_seeds(&mut add, &record.seeds);
    if data.validation > 0 {
        add(&format!("\n![share of positive reviews by probability, held-out reviews]({RELIABILITY_FILE})"));
    }
    if films && settings.split == Split::Random && data.validation > 0 {
        add(
            "\nA film's reviews stand on both sides of a random split, which flatters: expect a point less elsewhere.",
        );
    }
    if !record.epochs.is_empty() {
        add(&format!("\n![loss and accuracy by epoch]({CURVE_FILE})\n"));
        add("| epoch | loss | accuracy | validation loss | validation accuracy |\n|---|---|---|---|---|");
    }
    let or_dash = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
    for row in &record.epochs {
        let (loss, accuracy) = (or_dash(row.validation_loss), or_dash(row.validation_accuracy));
        add(&format!("| {} | {:.4} | {:.4} | {loss} | {accuracy} |", row.epoch, row.loss, row.accuracy));
    }
    if !record.behaviour.is_empty() {
        add("\n## Behaviour on minimal pairs\n");
        add(
            "Made-up texts that differ in one thing (`src/train/data/minimal_pairs.jsonl`): in each pair of the first four",
        );
        add(
            "kinds the first is the more positive one; names, places, people, groups and nationalities should move the",
        );
        add("probability by .1 at most, and what holds no opinion should lie between .35 and .65.");
        add("`trainer pairs MODEL --failures` lists those that are not as expected.\n");
        if settings.sentences > 0.0 {
            add(
                "None of these texts was learnt from, but the made-up sentences share patterns with the kinds negation,",
            );
            add("intensity and contrast. \"negation, hard\" was written by somebody who knew neither.\n");
        }
        add(minimal_pairs::table(&record.behaviour).trim_end());
    }
    add("\n## Settings\n");
    add(&format!("```toml\n{}```", toml::to_string(settings).expect("plain data")));
    add("\n## Limits\n");
    let kind = match (films, &data.init) {
        (true, _) => "English texts about films alone".to_string(),
        (false, None) => format!("the rows of {} alone", data.name),
        (false, Some(init)) => format!("the rows of {}, after all that `{init}` learnt from", data.name),
    };
    add(&format!(
        "Trained on {kind}; other texts, other languages and single words are guesswork. A word outside the vocabulary"
    ));
    add(match settings.tokenizer {
        Scheme::Typed => "is read by its parts, which tell little of what it means.",
        _ => "counts as one unknown word whatever it says.",
    });
    text
}

/// Mean and spread over several seeds.
fn add_seeds(add: &mut impl FnMut(&str), seeds: &[SeedFigures]) {
    let [first, .., last] = seeds else { return };
    let (count, from, to) = (seeds.len(), first.seed, last.seed);
    add(&format!(
        "\nTrained alike with {count} seeds ({from} to {to}), of which the weights are those of {from}; the spread is the \
         standard deviation:\n"
    ));
    add("| held-out reviews | mean | spread | lowest | highest |\n|---|---|---|---|---|");
    type Figure = fn(&Metrics) -> f64;
    let figures: [(&str, Figure); 4] =
        [("accuracy", |m| m.accuracy), ("loss", |m| m.loss), ("AUC", |m| m.auc), ("ECE", |m| m.ece)];
    for (name, figure) in figures {
        let values: Vec<f64> = seeds.iter().map(|seed| figure(&seed.validation)).collect();
        let mean = values.iter().sum::<f64>() / count as f64;
        let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1) as f64;
        let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(*value), high.max(*value))
        });
        add(&format!("| {name} | {mean:.4} | {:.4} | {low:.4} | {high:.4} |", square.sqrt()));
    }
}

/// The head that the Hub reads: what the model is for, what it learnt from, its figures.
fn head(name: &str, record: &TrainingRecord) -> String {
    let quoted = |text: &str| serde_json::to_string(text).expect("plain data");
    let mut head = String::from("---\n");
    if !record.data.own {
        head += "license: mit\nlanguage: en\ndatasets:\n- stanfordnlp/imdb\n";
    }
    head += "pipeline_tag: text-classification\nlibrary_name: imdb-sentiment\ntags:\n- sentiment-analysis\n- lstm\n";
    head += "metrics:\n- accuracy\n- f1\n- precision\n- recall\n";
    let figures = record.results.get("validation");
    if let Some(m) = figures {
        let dataset = if record.data.own { "custom" } else { "stanfordnlp/imdb" };
        head += &format!(
            "model-index:\n- name: {}\n  results:\n  - task:\n      type: text-classification\n      name: Sentiment analysis\n    \
             dataset:\n      name: {}\n      type: {dataset}\n      split: held out of training\n    metrics:\n",
            quoted(name),
            quoted(&record.data.name)
        );
        let values = [
            ("accuracy", m.accuracy),
            ("f1", m.f1),
            ("precision", m.precision),
            ("recall", m.recall),
            ("roc_auc", m.auc),
        ];
        // There is no order where all are of one class.
        let told = values.into_iter().filter(|(kind, _)| *kind != "roc_auc" || m.has_both_classes());
        for (kind, value) in told {
            head += &format!("    - type: {kind}\n      value: {value:.4}\n");
        }
    }
    head + "---\n\n"
}

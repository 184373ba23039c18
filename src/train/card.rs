//! The model card (`README.md`) and the curve (`curve.svg`) of a model directory.

use std::fmt::Write;

use super::fit::EpochRow;
use super::pairs;
use super::record::TrainingRecord;
use super::reliability::RELIABILITY_FILE;
use super::settings::Split;

/// Name of the curve's file in a model directory.
pub const CURVE_FILE: &str = "curve.svg";

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
    let held_out = match settings.split {
        Split::Random => format!("drawn at random (`split_seed` {})", settings.split_seed),
        Split::Film => "all reviews of films that the training part has none of".into(),
    };
    let mut text =
        format!("# {name}\n\nTells how positive an English film review is: text in, a probability out.\n\n");
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
    add(&format!("| data | {} (Large Movie Review Dataset, Maas et al., ACL 2011) |", data.name));
    add(&format!("| words | {} |", data.vocabulary));
    add(&format!("| learnt from | {} reviews |", data.train));
    if data.unlabelled > 0 {
        let teachers = data.teachers.join(", ");
        add(&format!("| and from | {} unlabelled reviews, by the opinion of {teachers} |", data.unlabelled));
    }
    if settings.sentences > 0.0 {
        add(
            "| and from | made-up sentences on negation, degrees and contrast (`src/train/sentences.toml`) |",
        );
    }
    add(&format!("| held out | {} reviews, {held_out} |", data.validation));
    add(&format!("| trainer | imdb-sentiment {} |", record.version));
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
            "| {set} | {} | {:.4} | {:.4} | {:.4} | {:.4} | {:.4} | {:.4} | {:.4} |",
            m.reviews, m.loss, m.accuracy, m.precision, m.recall, m.f1, m.auc, m.ece
        ));
    }
    if data.validation > 0 {
        add(&format!("\n![share of positive reviews by probability, held-out reviews]({RELIABILITY_FILE})"));
    }
    if settings.split == Split::Random && data.validation > 0 {
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
            "Made-up texts that differ in one thing (`src/train/minimal_pairs.jsonl`): in each pair of the first four",
        );
        add(
            "kinds the first is the more positive one; names and places should move the probability by .1 at most.",
        );
        add("`trainer pairs MODEL --failures` lists those that are not as expected.\n");
        if settings.sentences > 0.0 {
            add(
                "None of these texts was learnt from, but the made-up sentences share patterns with the kinds negation,",
            );
            add("intensity and contrast. \"negation, hard\" was written by somebody who knew neither.\n");
        }
        add(pairs::table(&record.behaviour).trim_end());
    }
    add("\n## Settings\n");
    add(&format!("```toml\n{}```", toml::to_string(settings).expect("plain data")));
    add("\n## Limits\n");
    add(
        "Trained on English texts about films alone; other texts, other languages and single words are guesswork. A word",
    );
    add("outside the vocabulary counts as one unknown word whatever it says.");
    text
}

/// Width of the picture, in pixels.
const WIDTH: f64 = 720.0;
/// Height of the picture, in pixels.
const HEIGHT: f64 = 260.0;

/// The curve: two panels, loss and accuracy by epoch, training dashed and validation solid.
pub fn curve(rows: &[EpochRow]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let training = |pick: fn(&EpochRow) -> f64| rows.iter().map(pick).map(Some).collect::<Vec<_>>();
    let validation = |pick: fn(&EpochRow) -> Option<f64>| rows.iter().map(pick).collect::<Vec<_>>();
    panel(&mut svg, 0.0, "loss", &training(|row| row.loss), &validation(|row| row.validation_loss));
    let (inside, outside) = (training(|row| row.accuracy), validation(|row| row.validation_accuracy));
    panel(&mut svg, WIDTH / 2.0, "accuracy", &inside, &outside);
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, left: f64, title: &str, training: &[Option<f64>], validation: &[Option<f64>]) {
    let (x0, x1, y0, y1) = (left + 50.0, left + WIDTH / 2.0 - 15.0, HEIGHT - 40.0, 35.0);
    let values = || training.iter().chain(validation).flatten().copied().filter(|value| value.is_finite());
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let (low, high) = if low < high { (low, high) } else { (low.min(1.0) - 0.5, low.min(1.0) + 0.5) };
    let x = |at: usize| x0 + (x1 - x0) * at as f64 / (training.len().max(2) - 1) as f64;
    let y = |value: f64| y0 - (y0 - y1) * (value - low) / (high - low);
    let mut add = |line: String| {
        svg.push_str(&line);
        svg.push('\n');
    };
    add(format!("<text x=\"{x0}\" y=\"20\" font-weight=\"bold\">{title}</text>"));
    for step in 0..=4 {
        let value = low + (high - low) * f64::from(step) / 4.0;
        let at = y(value);
        add(format!("<path d=\"M{x0:.1} {at:.1}H{x1:.1}\" stroke=\"#ddd\"/>"));
        add(format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.3}</text>",
            x0 - 5.0,
            at + 4.0
        ));
    }
    // At most ten marks, however many epochs.
    for at in (0..training.len()).step_by(training.len().div_ceil(10).max(1)) {
        let (x, y) = (x(at), y0 + 16.0);
        add(format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>", at + 1));
    }
    for (name, series, style, offset) in [
        ("training", training, "stroke=\"#888\" stroke-dasharray=\"5 3\"", 0.0),
        ("validation", validation, "stroke=\"#1668b3\"", 90.0),
    ] {
        let mut path = String::new();
        for (at, value) in series.iter().enumerate() {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                let command = if path.is_empty() { 'M' } else { 'L' };
                let _ = write!(path, "{command}{:.1} {:.1}", x(at), y(value));
                add(format!("<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2\"/>", x(at), y(value)));
            }
        }
        if !path.is_empty() {
            let at = x0 + 110.0 + offset;
            add(format!("<path d=\"{path}\" fill=\"none\" stroke-width=\"2\" {style}/>"));
            add(format!("<path d=\"M{at:.1} 16h20\" stroke-width=\"2\" {style}/>"));
            add(format!("<text x=\"{:.1}\" y=\"20\">{name}</text>", at + 24.0));
        }
    }
}

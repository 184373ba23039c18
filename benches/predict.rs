//! How much of what the network alone does `trainer predict` reaches:
//! `cargo bench --bench predict -- --model DIR --data ARCHIVE [--reviews N] [--rounds N]`.
//!
//! In turn, with all cores each: the reviews as ids, read and cut before, through the engine in the shares of `trainer
//! predict`; and `trainer predict` itself, from a file of JSON lines, or CSV, to another. What loading the model takes (told first, measured once) is
//! left out, as it is in the rate that `trainer predict` tells.

use std::fs;
use std::time::Instant;

use clap::Parser;
use imdb_sentiment::train::commands::{Cli, run};
use imdb_sentiment::train::{Corpus, Interrupt};
use imdb_sentiment::{Predictor, Truncate};
use rayon::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows that one core scores together in `trainer predict`.
const SHARE: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    let (Some(model), Some(data)) = (value("--model"), value("--data")) else {
        println!("predict: not run; it needs --model DIR --data ARCHIVE");
        return;
    };
    let number = |name: &str, usual: usize| value(name).map_or(usual, |text| text.parse().expect("a number"));
    let (count, rounds) = (number("--reviews", 25_000), number("--rounds", 5));
    let corpus = Corpus::read(data.as_ref(), false).unwrap_or_else(|e| panic!("{e}"));
    let texts: Vec<&str> = corpus.train.iter().map(|review| review.text.as_str()).collect();
    // Both classes, in turn.
    let texts: Vec<&str> = (0..count.min(texts.len())).map(|at| texts[at * 7919 % texts.len()]).collect();

    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a plain name").to_string();
    let mut lines = String::new();
    let mut table = csv::Writer::from_path(path("reviews.csv")).expect("a file");
    table.write_record(["id", "text"]).expect("a row");
    for (id, text) in texts.iter().enumerate() {
        lines += &format!("{}\n", serde_json::json!({ "id": id, "text": text }));
        table.write_record([id.to_string().as_str(), text]).expect("a row");
    }
    table.flush().expect("a table");
    fs::write(path("reviews.jsonl"), lines).expect("a file");

    let started = Instant::now();
    let predictor = Predictor::load(model).unwrap_or_else(|e| panic!("{e}"));
    let loading = started.elapsed().as_secs_f64();
    let ids: Vec<Vec<u32>> = texts
        .iter()
        .map(|text| predictor.encode(text, Truncate::Tail).expect("it has words").windows()[0].clone())
        .collect();
    let network = || {
        let started = Instant::now();
        let logits: usize = ids
            .par_chunks(SHARE)
            .map(|share| predictor.logits(&share.iter().map(Vec::as_slice).collect::<Vec<_>>()).len())
            .sum();
        logits as f64 / started.elapsed().as_secs_f64()
    };
    let predict = |ending: &str| {
        let (input, output) = (path(&format!("reviews.{ending}")), path(&format!("answers.{ending}")));
        let _ = fs::remove_file(&output);
        let typed = ["trainer", "predict", "--model", model, "--input", &input, "--output", &output];
        let cli = Cli::try_parse_from(typed).expect("a command");
        let started = Instant::now();
        run(cli, &mut std::io::sink(), &Interrupt::new()).unwrap_or_else(|e| panic!("{e}"));
        texts.len() as f64 / (started.elapsed().as_secs_f64() - loading)
    };

    println!("{} reviews of {data}, {model} (loaded in {loading:.2} s); reviews a second:", texts.len());
    let (mut alone, mut lines, mut tables) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        alone.push(network());
        lines.push(predict("jsonl"));
        tables.push(predict("csv"));
        let last = |rates: &[f64]| rates[round - 1];
        println!(
            "round {round}: network {:.0}, JSON lines {:.0} ({:.2} of it), CSV {:.0} ({:.2})",
            last(&alone),
            last(&lines),
            last(&lines) / last(&alone),
            last(&tables),
            last(&tables) / last(&alone),
        );
    }
    let median = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let network = median(&mut alone);
    println!(
        "median: JSON lines {:.2} of the network, CSV {:.2} (goal .8)",
        median(&mut lines) / network,
        median(&mut tables) / network
    );
}

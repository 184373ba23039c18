//! Scores a file of one review a line on every core, in order, many reviews at a time, and counts the labels:
//!
//! ```text
//! cargo run --release --example threads -- reviews.txt
//! ```

use imdb_sentiment::{Encoding, Error, Label, Predictor, Truncate};

/// Reviews that a thread scores together: enough to fill the kernel's rows several times.
const TOGETHER: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: threads FILE")?;
    let text = std::fs::read_to_string(path)?;
    let reviews: Vec<&str> = text.lines().collect();
    // Loaded once; `&Predictor` goes to any number of threads.
    let predictor = Predictor::load("models/imdb")?;
    let threads = std::thread::available_parallelism()?.get();
    let share = reviews.len().div_ceil(threads).max(1);
    let labels: Vec<Option<Label>> = std::thread::scope(|scope| {
        let workers: Vec<_> = reviews
            .chunks(share)
            .map(|share| {
                scope.spawn(|| {
                    share.chunks(TOGETHER).flat_map(|some| score(&predictor, some)).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    });
    for label in [Label::Positive, Label::Negative] {
        println!("{label}: {}", labels.iter().filter(|found| **found == Some(label)).count());
    }
    println!("no words: {}", labels.iter().filter(|found| found.is_none()).count());
    Ok(())
}

/// The label of each review; `None` for one without a word.
fn score(predictor: &Predictor, reviews: &[&str]) -> Vec<Option<Label>> {
    let encodings: Vec<Result<Encoding, Error>> =
        reviews.iter().map(|review| predictor.encode(review, Truncate::Tail)).collect();
    let readable: Vec<Encoding> = encodings.iter().flatten().cloned().collect();
    let mut predictions = predictor.run(&readable).into_iter();
    encodings
        .iter()
        .map(|encoding| encoding.is_ok().then(|| predictions.next().expect("one each").label()))
        .collect()
}

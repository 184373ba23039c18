//! What an explanation is worth and what it costs: `cargo bench --bench explain -- --model DIR --data ARCHIVE [--reviews N]`.
//!
//! The reviews are of those that were held out when the model was trained, evenly among them. Of each the tenth of its words
//! that push hardest towards the verdict is taken out; how far the probability moves, and how many verdicts turn over, tells
//! how much those words mattered to the model. Beside the explanation stand random words, and those that leaving out one
//! word after the other finds. Costs are ratios to a prediction in this run.

use std::collections::HashSet;
use std::time::Instant;

use imdb_sentiment::train::Corpus;
use imdb_sentiment::train::commands::held_out;
use imdb_sentiment::{Predictor, Truncate};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A review that is read whole: its ids, where the pieces of each word stand among them, and which words are no marks.
struct Review {
    text: String,
    ids: Vec<u32>,
    pieces: Vec<Vec<usize>>,
    words: Vec<usize>,
}

/// Gives each word of a review, marks among them, a weight.
type Method<'a> = &'a dyn Fn(&Review) -> Vec<f32>;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    let (Some(model), Some(data)) = (value("--model"), value("--data")) else {
        println!("explain: not run; it needs --model DIR --data ARCHIVE");
        return;
    };
    let count = value("--reviews").map_or(100, |count| count.parse().expect("--reviews takes a number"));
    let predictor = Predictor::load(model).unwrap_or_else(|e| panic!("{e}"));
    let corpus = Corpus::read(data.as_ref(), false).unwrap_or_else(|e| panic!("{e}"));
    let held_out = held_out(&corpus, model.as_ref()).unwrap_or_else(|e| panic!("{e}"));
    let reviews: Vec<Review> = held_out
        .iter()
        .step_by((held_out.len() / count).max(1))
        .filter_map(|review| prepare(&predictor, &review.text))
        .take(count)
        .collect();

    let logit = |ids: &[u32]| predictor.logits(&[ids])[0];
    let seconds = |work: &dyn Fn(&Review)| {
        let run = || {
            let start = Instant::now();
            reviews.iter().for_each(work);
            start.elapsed().as_secs_f64()
        };
        (0..3).map(|_| run()).fold(f64::INFINITY, f64::min)
    };
    let one = seconds(&|review| drop(predictor.predict(&review.text)));
    println!("{} held-out reviews of {data}, {model}", reviews.len());
    let explain = |review: &Review| -> Vec<f32> {
        let words = predictor.explain(&review.text, Truncate::Tail).expect("it has words");
        words.iter().map(|word| word.weight).collect()
    };
    let leave_out = |review: &Review| -> Vec<f32> {
        let whole = logit(&review.ids);
        let shorter: Vec<Vec<u32>> = (0..review.pieces.len()).map(|word| review.without(&[word])).collect();
        let shorter: Vec<&[u32]> = shorter.iter().map(Vec::as_slice).collect();
        predictor.logits(&shorter).into_iter().map(|logit| whole - logit).collect()
    };
    // A plain generator: the same words in every run.
    let random = |review: &Review| -> Vec<f32> {
        let mut state = review.ids.iter().fold(1u64, |state, id| state.wrapping_mul(31) + u64::from(*id));
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        review.pieces.iter().map(|_| draw()).collect()
    };
    let methods: [(&str, Method, f64); 3] = [
        ("random words", &random, 0.0),
        ("explanation", &explain, seconds(&|review| drop(explain(review))) / one),
        ("leave one out", &leave_out, f64::NAN),
    ];
    let mut moved = Vec::new();
    for (name, weights, cost) in methods {
        let start = Instant::now();
        let (mut change, mut turned) = (0.0, 0);
        for review in &reviews {
            let weights = weights(review);
            let (before, after) =
                (logit(&review.ids), logit(&review.without_heaviest(&weights, logit(&review.ids).signum())));
            change += f64::from(before.signum() * (probability(before) - probability(after)));
            turned += usize::from(before.signum() != after.signum());
        }
        let cost = if cost.is_nan() { start.elapsed().as_secs_f64() / one } else { cost };
        let all = reviews.len() as f64;
        moved.push(change / all);
        println!(
            "{name:<14} moves the probability by {:.3}, turns {:.1} % over, costs {cost:.1} predictions",
            change / all,
            100.0 * turned as f64 / all
        );
    }
    println!(
        "explanation: {:.1} times random words (goal 15), {:.2} of leaving out (goal .9)",
        moved[1] / moved[0],
        moved[1] / moved[2]
    );
    let parts = |review: &Review| {
        let borders = imdb_sentiment::text::sentences(&review.text);
        let encodings: Vec<_> =
            predictor.encode_parts(&review.text, &borders).into_iter().flatten().collect();
        drop(predictor.run(&encodings));
    };
    let both = one + seconds(&parts);
    println!("sentences: verdict and sentences cost {:.2} predictions (goal 2.5)", both / one);
}

fn prepare(predictor: &Predictor, text: &str) -> Option<Review> {
    let encoding = predictor.encode(text, Truncate::Tail).ok()?;
    if encoding.dropped_tokens() > 0 {
        return None;
    }
    let plan = predictor.plan_explanation(text, Truncate::Tail).ok()?;
    let places = plan.places(0).to_vec();
    let found = plan.finish();
    let mut pieces = vec![Vec::new(); found.len()];
    for (at, word) in places.into_iter().enumerate() {
        // The start id is of none.
        if let Some(word) = word {
            pieces[word].push(at);
        }
    }
    let is_word = |word: &usize| text[found[*word].range.clone()].contains(char::is_alphanumeric);
    let words = (0..found.len()).filter(is_word).collect();
    Some(Review { text: text.into(), ids: encoding.windows()[0].clone(), pieces, words })
}

impl Review {
    /// The ids without those of `words`.
    fn without(&self, words: &[usize]) -> Vec<u32> {
        let gone: HashSet<usize> = words.iter().flat_map(|&word| &self.pieces[word]).copied().collect();
        (0..self.ids.len()).filter(|at| !gone.contains(at)).map(|at| self.ids[at]).collect()
    }

    /// The ids without the tenth of the words, at least one, that weigh most for the verdict's `side`.
    fn without_heaviest(&self, weights: &[f32], side: f32) -> Vec<u32> {
        let mut words = self.words.clone();
        words.sort_by(|a, b| (side * weights[*b]).total_cmp(&(side * weights[*a])));
        words.truncate((words.len() / 10).max(1));
        self.without(&words)
    }
}

fn probability(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

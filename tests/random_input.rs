//! Random input for everything that reads what others send; seeded and bounded. `fuzz/` drives the same properties by
//! coverage, for as long as one likes.

mod properties;

use std::collections::BTreeSet;

use imdb_sentiment::predict::Predictor;
use properties::{BODIES, Directory, Service, reference_model, tokenizer};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Pieces that parsers trip over.
const PIECES: [&str; 30] = [
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "-0",
    "1e999",
    "3.0",
    "-1",
    "18446744073709551616",
    "\\ud800",
    "\\u0000",
    "\\udc00\\ud800",
    "\"text\"",
    "\"texts\"",
    "\"inputs\"",
    "\"data\"",
    "\"model\"",
    "\"parameters\"",
    "[[[[[[[[[[",
    "{\"a\":",
    "\u{feff}",
    "\u{0}",
    "é",
    "\u{1f600}",
];

/// `text` with a few random changes: bytes flipped, cut out, put in, repeated.
fn changed(text: &[u8], rng: &mut impl Rng) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..rng.random_range(0..6) {
        let at = rng.random_range(0..=bytes.len());
        let end = rng.random_range(at..=bytes.len().min(at + 20));
        match rng.random_range(0..5) {
            0 if at < bytes.len() => bytes[at] = rng.random(),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = PIECES.choose(rng).unwrap();
                bytes.splice(at..at, piece.bytes());
            }
            3 => {
                let again = bytes[at..end].repeat(rng.random_range(1..40));
                bytes.splice(at..at, again);
            }
            _ => {
                let other = BODIES.choose(rng).unwrap().as_bytes();
                let from = rng.random_range(0..other.len());
                bytes.splice(at..end, other[from..].iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn every_body_gets_a_described_answer() {
    let service = Service::start();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut seen = BTreeSet::new();
    for _ in 0..20_000 {
        let body = changed(BODIES.choose(&mut rng).unwrap().as_bytes(), &mut rng);
        let header: u8 = if rng.random_bool(0.8) { 2 } else { rng.random() };
        seen.extend(service.request_body(&[&[rng.random(), header], &body[..]].concat()));
    }
    assert!([200, 400, 404, 413, 415, 422].iter().all(|status| seen.contains(status)), "only {seen:?}");
}

#[test]
fn every_text_is_cut_at_character_borders() {
    let predictor = Predictor::load(&reference_model()).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let alphabets: [fn(&mut ChaCha8Rng) -> char; 4] = [
        |rng| *b"abcXYZ .,!?<>br/'\"\t\n\0-"[..].choose(rng).unwrap() as char,
        |rng| char::from_u32(rng.random_range(0x80..0x800)).unwrap(),
        |rng| rng.random::<char>(),
        |rng| {
            *['Σ', 'σ', 'ς', 'İ', 'ß', 'ﬁ', '\u{300}', '\u{85}', '\u{2028}', '’', '\u{200d}']
                .choose(rng)
                .unwrap()
        },
    ];
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..rng.random_range(0..60) {
            let alphabet = alphabets.choose(&mut rng).unwrap();
            text.push(alphabet(&mut rng));
        }
        tokenizer(&text, predictor.vocabulary());
    }
}

#[test]
fn every_damaged_directory_is_refused_or_answers() {
    let directory = Directory::copy_of(&reference_model());
    let (mut rng, mut refused) = (ChaCha8Rng::seed_from_u64(3), 0);
    for _ in 0..600 {
        let bytes: Vec<u8> = (0..rng.random_range(2..40)).map(|_| rng.random()).collect();
        refused += usize::from(directory.damage(&bytes));
    }
    assert!((50..550).contains(&refused), "{refused} of 600 refused");
}

//! What a word that the vocabulary lacks is read as: what its writer meant, or else its pieces.

use super::key::{GOLDEN_RATIO, Key, whole_value};
use super::pieces::for_each_piece;
use super::spelling::squeeze;
use super::vocabulary::{UNKNOWN_ID, Vocabulary};

/// How well a word was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// As words that the vocabulary holds.
    Known,
    /// As a class: a number or a year.
    Class,
    /// By its pieces, or not at all.
    Unknown,
}

/// Longest word that is read by its pieces, in bytes.
const PIECED_BYTES: usize = 40;
/// Longest hashtag that is split.
const HASHTAG_BYTES: usize = 64;

/// Words as they are often typed, and what they stand for; in order.
const CANONICAL: [(&str, &str); 82] = [
    ("aint", "ain't"),
    ("amirite", "right"),
    ("arent", "aren't"),
    ("aswell", "well"),
    ("atleast", "least"),
    ("awsm", "awesome"),
    ("b4", "before"),
    ("bc", "because"),
    ("becuase", "because"),
    ("cant", "can't"),
    ("coulda", "could've"),
    ("couldnt", "couldn't"),
    ("couldve", "could've"),
    ("coz", "because"),
    ("cuz", "because"),
    ("darent", "daren't"),
    ("dident", "didn't"),
    ("didint", "didn't"),
    ("didnt", "didn't"),
    ("doesnt", "doesn't"),
    ("dont", "don't"),
    ("dosent", "doesn't"),
    ("dosnt", "doesn't"),
    ("f'n", "fucking"),
    ("fkn", "fucking"),
    ("gr8", "great"),
    ("gunna", "gonna"),
    ("h8", "hate"),
    ("h8d", "hated"),
    ("hadnt", "hadn't"),
    ("hasnt", "hasn't"),
    ("havent", "haven't"),
    ("hes", "he's"),
    ("im", "i'm"),
    ("isint", "isn't"),
    ("isnt", "isn't"),
    ("itll", "it'll"),
    ("ive", "i've"),
    ("l8", "late"),
    ("lmao", ":laugh:"),
    ("lmfao", ":laugh:"),
    ("luv", "love"),
    ("m8", "mate"),
    ("mightnt", "mightn't"),
    ("mustnt", "mustn't"),
    ("mustve", "must've"),
    ("neednt", "needn't"),
    ("omfg", "omg"),
    ("pls", "please"),
    ("plz", "please"),
    ("ppl", "people"),
    ("rlly", "really"),
    ("rly", "really"),
    ("rofl", ":laugh:"),
    ("roflmao", ":laugh:"),
    ("shes", "she's"),
    ("shoulda", "should've"),
    ("shouldnt", "shouldn't"),
    ("shouldve", "should've"),
    ("sux", "sucks"),
    ("teh", "the"),
    ("thats", "that's"),
    ("theres", "there's"),
    ("theyre", "they're"),
    ("theyve", "they've"),
    ("thier", "their"),
    ("tho", "though"),
    ("thru", "through"),
    ("w8", "wait"),
    ("wasnt", "wasn't"),
    ("werent", "weren't"),
    ("weve", "we've"),
    ("whats", "what's"),
    ("wich", "which"),
    ("wont", "won't"),
    ("woulda", "would've"),
    ("wouldnt", "wouldn't"),
    ("wouldve", "would've"),
    ("xd", ":laugh:"),
    ("youll", "you'll"),
    ("youre", "you're"),
    ("youve", "you've"),
];

/// Length of the longest of them.
const CANONICAL_BYTES: usize = 8;

/// The values of their keys, each with its place among them from 1 on: by the highest bits of a product, then the next free
/// place.
const CANONICAL_KEYS: [(u64, usize); 256] = {
    let (mut keys, mut at) = ([(0, 0); 256], 0);
    while at < CANONICAL.len() {
        let value = whole_value(CANONICAL[at].0.as_bytes());
        let mut place = canonical_place(value);
        while keys[place].1 != 0 {
            place = (place + 1) % keys.len();
        }
        at += 1;
        keys[place] = (value, at);
    }
    keys
};

const fn canonical_place(value: u64) -> usize {
    (value.wrapping_mul(GOLDEN_RATIO) >> 56) as usize
}

/// The word that `word` stands for, where it is one that people often type otherwise.
pub(super) fn canonical(word: &str) -> &str {
    if word.len() > CANONICAL_BYTES {
        return word;
    }
    let value = Key::of(word.as_bytes()).value;
    let mut place = canonical_place(value);
    loop {
        match CANONICAL_KEYS[place] {
            (_, 0) => return word,
            (key, at) if key == value && CANONICAL[at - 1].0.len() == word.len() => {
                return CANONICAL[at - 1].1;
            }
            _ => place = (place + 1) % CANONICAL_KEYS.len(),
        }
    }
}

/// Calls `each` with the ids by which `word`, which `vocabulary` lacks, is read.
#[cold]
#[inline(never)]
pub(super) fn read(word: &str, vocabulary: &Vocabulary, each: &mut impl FnMut(u32)) -> Reading {
    if let Some(tag) = word.strip_prefix('#') {
        return hashtag(tag, vocabulary, each);
    }
    if let Some(class) = number(word) {
        each(vocabulary.id(class).unwrap_or(UNKNOWN_ID));
        return Reading::Class;
    }
    if let Some(id) = meant(word, vocabulary) {
        each(id);
        return Reading::Known;
    }
    if word.contains('\'') {
        return parts(word, vocabulary, each);
    }
    pieces(word, vocabulary, each);
    Reading::Unknown
}

/// The class of a word that begins with a digit and holds nothing but numbers' marks and few letters.
fn number(word: &str) -> Option<&'static str> {
    let bytes = word.as_bytes();
    if !bytes[0].is_ascii_digit() {
        return None;
    }
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == 4 && bytes.len() == 4 && matches!(&bytes[..2], b"18" | b"19" | b"20") {
        return Some("<year>");
    }
    let letters = bytes
        .iter()
        .filter(|byte| !byte.is_ascii_digit() && !matches!(byte, b'.' | b',' | b':' | b'\''))
        .count();
    (letters <= 3 && letters <= digits + 1).then_some("<number>")
}

/// The one word that `word` was meant to be.
fn meant(word: &str, vocabulary: &Vocabulary) -> Option<u32> {
    let other = canonical(word);
    if other != word {
        return vocabulary.id(other);
    }
    if word.len() > PIECED_BYTES {
        return shortened_laugh(word, vocabulary);
    }
    if word.bytes().any(|byte| byte.is_ascii_digit() || matches!(byte, b'@' | b'$')) {
        return without_digits(word, vocabulary);
    }
    if !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return None;
    }
    elongated(word, vocabulary)
        .or_else(|| shortened_laugh(word, vocabulary))
        .or_else(|| vocabulary.corrected(word))
}

/// `hahahaha`, whatever its length.
fn shortened_laugh(word: &str, vocabulary: &Vocabulary) -> Option<u32> {
    let laughs =
        word.len() > 4 && word.bytes().all(|byte| matches!(byte, b'h' | b'a' | b'e' | b'u' | b'w' | b'b'));
    // Looked for in few words: it costs more than all that is asked before.
    let haha = || word.contains("haha") || word.contains("hehe") || word.contains("ahah");
    if laughs && haha() { vocabulary.id(":laugh:") } else { None }
}

/// The word whose letters are typed as digits and signs that look like them.
fn without_digits(word: &str, vocabulary: &Vocabulary) -> Option<u32> {
    if !word.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return None;
    }
    ['i', 'l'].into_iter().find_map(|one| {
        let letters: String = word
            .chars()
            .map(|ch| match ch {
                '0' => 'o',
                '1' => one,
                '3' => 'e',
                '4' | '@' => 'a',
                '5' | '$' => 's',
                '7' => 't',
                ch => ch,
            })
            .collect();
        let elongated = |word: &str| if word.is_ascii() { elongated(word, vocabulary) } else { None };
        vocabulary.id(&letters).or_else(|| elongated(&letters))
    })
}

/// Whether a byte stands three times in a row.
fn is_held(word: &[u8]) -> bool {
    word.windows(3).any(|three| three[0] == three[1] && three[1] == three[2])
}

/// Most stretched letters of a word for which every way of shortening is tried.
const STRETCHES: u32 = 4;

/// The word of which a letter was held: `soooo`, `goooood`.
fn elongated(word: &str, vocabulary: &Vocabulary) -> Option<u32> {
    let bytes = word.as_bytes();
    if !is_held(bytes) {
        return None;
    }
    let runs: Vec<&[u8]> = bytes.chunk_by(|a, b| a == b).collect();
    let stretched = runs.iter().filter(|run| run.len() > 2).count() as u32;
    if !(1..=STRETCHES).contains(&stretched) {
        return None;
    }
    let candidate = |doubled: u32| {
        let mut at = 0;
        let mut short = Vec::with_capacity(bytes.len());
        for run in &runs {
            let length = match run.len() > 2 {
                true => {
                    at += 1;
                    1 + (doubled >> (at - 1) & 1) as usize
                }
                false => run.len(),
            };
            short.extend(&run[..length]);
        }
        let id = vocabulary.find(&short, Key::of(&short));
        id.or_else(|| vocabulary.id(canonical(std::str::from_utf8(&short).ok()?)))
    };
    // The more frequent word has the lower id.
    (0..1 << stretched).filter_map(candidate).min()
}

/// A word with apostrophes: what stands before and behind them.
fn parts(word: &str, vocabulary: &Vocabulary, each: &mut impl FnMut(u32)) -> Reading {
    let (stem, end) = ["n't", "'s", "'ll", "'ve", "'re", "'d", "'m"]
        .into_iter()
        .find_map(|end| Some((word.strip_suffix(end).filter(|stem| !stem.is_empty())?, end)))
        .unwrap_or((word, ""));
    let mut reading = Reading::Unknown;
    for part in stem.split('\'').filter(|part| !part.is_empty()) {
        let id = vocabulary.id(part).or_else(|| meant(part, vocabulary));
        match id {
            Some(id) => {
                each(id);
                reading = Reading::Known;
            }
            None => pieces(part, vocabulary, each),
        }
    }
    if !end.is_empty() {
        each(vocabulary.id(end).unwrap_or(UNKNOWN_ID));
    }
    reading
}

/// Splits a hashtag into the words that make it likeliest, each taken for itself.
fn hashtag(tag: &str, vocabulary: &Vocabulary, each: &mut impl FnMut(u32)) -> Reading {
    if let Some(id) = vocabulary.id(tag) {
        each(id);
        return Reading::Known;
    }
    if !tag.is_ascii() || tag.len() > HASHTAG_BYTES {
        pieces(tag, vocabulary, each);
        return Reading::Unknown;
    }
    /// What a letter that belongs to no word costs, against the logarithm of a word's rank and this for every word.
    const STRAY: f32 = 14.0;
    const EACH: f32 = 2.5;
    const LONGEST: usize = 20;
    // best[end]: the least cost of what stands before `end`, where its last word starts, and that word's id.
    let mut best = vec![(f32::INFINITY, 0, None); tag.len() + 1];
    best[0].0 = 0.0;
    for end in 1..=tag.len() {
        for from in end.saturating_sub(LONGEST)..end {
            let word = &tag[from..end];
            let usual = word.len() > 2 || word == "a" || word == "i";
            let id =
                vocabulary.id(word).or_else(|| vocabulary.id(canonical(word)).filter(|_| word.len() > 2));
            let cost = match id {
                Some(id) if usual || word.len() == 2 && vocabulary.rank(id) < 300 => {
                    EACH + (vocabulary.rank(id) as f32 + 10.0).ln()
                }
                _ if end - from == 1 => STRAY,
                _ => continue,
            };
            let cost = best[from].0 + cost;
            if cost < best[end].0 {
                best[end] = (cost, from, id.filter(|_| end - from > 1 || usual));
            }
        }
    }
    let mut words = Vec::new();
    let (mut end, mut reading) = (tag.len(), Reading::Unknown);
    while end > 0 {
        let (_, from, id) = best[end];
        words.push((from, end, id));
        end = from;
    }
    words.reverse();
    // Letters that belong to no word make one together.
    for run in words.chunk_by(|a, b| a.2.is_none() && b.2.is_none()) {
        match run[0].2 {
            Some(id) => {
                each(id);
                reading = Reading::Known;
            }
            None => pieces(&tag[run[0].0..run[run.len() - 1].1], vocabulary, each),
        }
    }
    reading
}

/// Calls `each` with the longest pieces of `word`, from its start on; with [`UNKNOWN_ID`] where they would say nothing.
fn pieces(word: &str, vocabulary: &Vocabulary, each: &mut impl FnMut(u32)) {
    let held = is_held(word.as_bytes()).then(|| squeeze(word.as_bytes(), 2));
    let short = held.as_deref().unwrap_or(word.as_bytes());
    let (mut ids, mut count) = ([UNKNOWN_ID; PIECED_BYTES], 0);
    let whole = short.len() <= PIECED_BYTES
        && for_each_piece(
            short,
            |key| vocabulary.piece(key),
            |id, _| {
                ids[count] = id;
                count += 1;
            },
        );
    // Letters one by one tell no more than that the word is not known.
    match whole && 2 * count <= short.len() + 1 {
        true => ids[..count].iter().copied().for_each(each),
        false => each(UNKNOWN_ID),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_stands_in_order() {
        assert!(CANONICAL.is_sorted_by(|a, b| a.0 < b.0));
        assert!(
            CANONICAL
                .iter()
                .all(|(typed, meant)| typed.len() <= CANONICAL_BYTES && canonical(meant) == *meant)
        );
        assert!(CANONICAL.iter().all(|(typed, meant)| canonical(typed) == *meant));
        for word in ["film", "", "didnt\0", "didntt", "di"] {
            assert_eq!(canonical(word), word);
        }
    }
}

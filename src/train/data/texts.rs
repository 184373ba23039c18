//! The texts that a teacher is asked to judge: whole reviews, stretches of one to four sentences, phrases of a file.
//!
//! A text is named by where it stands, so that an opinion of it can be kept without it: `unsup/123` is a review,
//! `unsup/123:100-250` the bytes 100 to 249 of it, `phrases/7` the seventh line of a file.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use rand::Rng;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::text::sentences;
use crate::train::data::corpus::{Class, Review};
use crate::train::random::{Stream, stream_rng};

/// Where a text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A review of the data set.
    Review(Class),
    /// A file of phrases, one a line.
    Phrases,
}

/// The name of what is in a file of phrases.
const PHRASES: &str = "phrases";

impl Source {
    /// Every source with the number that stands for it in a compact file.
    pub const ALL: [Source; 4] = [
        Source::Review(Class::Negative),
        Source::Review(Class::Positive),
        Source::Review(Class::Unlabelled),
        Source::Phrases,
    ];

    fn name(self) -> &'static str {
        match self {
            Source::Review(class) => class.folder(),
            Source::Phrases => PHRASES,
        }
    }
}

/// Which text: a review or a phrase by its number, whole or some bytes of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextId {
    /// Where it comes from.
    pub source: Source,
    /// The review's number in its folder; the phrase's line, from 1.
    pub number: u32,
    /// The bytes of a stretch; `None` for the whole.
    pub range: Option<(u32, u32)>,
}

impl TextId {
    /// The id of a whole review.
    pub fn of(review: &Review) -> Self {
        Self { source: Source::Review(review.class), number: review.id, range: None }
    }
}

impl fmt::Display for TextId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.source.name(), self.number)?;
        match self.range {
            Some((start, end)) => write!(f, ":{start}-{end}"),
            None => Ok(()),
        }
    }
}

impl FromStr for TextId {
    type Err = String;

    fn from_str(id: &str) -> Result<Self, String> {
        let parse = || {
            let (name, place) = id.split_once('/')?;
            let source = Source::ALL.into_iter().find(|source| source.name() == name)?;
            let (number, range) = match place.split_once(':') {
                None => (place, None),
                Some((number, range)) => {
                    let (start, end) = range.split_once('-')?;
                    (number, Some((start.parse().ok()?, end.parse().ok()?)))
                }
            };
            Some(Self { source, number: number.parse().ok()?, range })
        };
        let shown: String = id.chars().take(40).collect();
        parse().ok_or_else(|| format!("`{shown}` names no text: expected unsup/123 or unsup/123:100-250"))
    }
}

/// Texts by their ids.
pub struct Texts<'c> {
    wholes: HashMap<(Source, u32), &'c str>,
}

impl<'c> Texts<'c> {
    /// The texts of `reviews` and, numbered from 1, `phrases`.
    pub fn new(reviews: impl Iterator<Item = &'c Review>, phrases: &'c [String]) -> Self {
        let reviews = reviews.map(|review| ((Source::Review(review.class), review.id), review.text.as_str()));
        let phrases = (1..).zip(phrases).map(|(line, phrase)| ((Source::Phrases, line), phrase.as_str()));
        Self { wholes: reviews.chain(phrases).collect() }
    }

    /// The text that `id` names, or why there is none.
    pub fn get(&self, id: &TextId) -> Result<&'c str, String> {
        let whole = *self.wholes.get(&(id.source, id.number)).ok_or_else(|| match id.source {
            Source::Phrases => format!("{id}: there is no such phrase; --phrases names their file"),
            Source::Review(_) => format!("{id}: there is no such review"),
        })?;
        let Some((start, end)) = id.range else { return Ok(whole) };
        let stretch = whole.get(start as usize..end as usize).filter(|stretch| !stretch.is_empty());
        stretch.ok_or_else(|| format!("{id}: the text has {} bytes and no such stretch", whole.len()))
    }
}

/// The phrases of a file, one a line, empty lines kept so that a phrase's number is its line's.
///
/// # Errors
/// [`Error::Io`] where it cannot be read.
pub fn read_phrases(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    Ok(text.lines().map(|line| line.trim().to_string()).collect())
}

/// The first eight hexadecimal digits of the SHA-256 of a text.
pub fn short_digest(text: &str) -> String {
    Sha256::digest(text).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// How often stretches of one, two, three and four sentences are drawn.
const LENGTHS: [f64; 4] = [0.5, 0.25, 0.15, 0.1];

/// A stretch longer than this, in bytes, is no short text any more.
const LONGEST_STRETCH: usize = 1500;

/// Stretches of one to four sentences of `review`, apart from each other and from the whole, ascending: `share` of them
/// for each of its sentences, fewer where there are no more. What is drawn depends on review, share and seed alone.
pub fn stretches(review: &Review, share: f64, seed: u64) -> Vec<Range<usize>> {
    let sentences = sentences(&review.text);
    if sentences.len() < 2 || share <= 0.0 {
        return Vec::new();
    }
    let mut rng = stream_rng(seed, Stream::Stretches, (review.class as u64) << 32 | u64::from(review.id));
    let wanted = (share * sentences.len() as f64 + rng.random::<f64>()) as usize;
    let mut drawn = BTreeSet::new();
    // Draws that were had before are lost, so that a share that asks for every stretch there is comes to an end.
    for _ in 0..8 * wanted {
        if drawn.len() == wanted {
            break;
        }
        let mut point = rng.random::<f64>();
        let length = 1 + LENGTHS[..3]
            .iter()
            .take_while(|&&share| {
                point -= share;
                point >= 0.0
            })
            .count();
        let first = rng.random_range(0..sentences.len());
        let Some(last) = sentences.get(first + length - 1) else { continue };
        let range = sentences[first].start..last.end;
        if length < sentences.len() && range.len() <= LONGEST_STRETCH {
            drawn.insert((range.start, range.end));
        }
    }
    drawn.into_iter().map(|(start, end)| start..end).collect()
}

/// `text` as a reader sees it: tags are spaces, runs of space one, and the control characters that marks of Windows-1252
/// become when they are read wrongly are those marks.
pub fn cleaned(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        let name = rest[1..].trim_start_matches('/');
        let tag = name.starts_with(|c: char| c.is_ascii_alphabetic());
        let end = rest.bytes().take(LONGEST_TAG).position(|byte| byte == b'>').filter(|_| tag);
        shown.push(if end.is_some() { ' ' } else { '<' });
        rest = &rest[end.unwrap_or(0) + 1..];
    }
    shown.push_str(rest);
    let shown: String = shown
        .chars()
        .map(|c| match c {
            '\u{80}'..='\u{9f}' => WINDOWS_1252[c as usize - 0x80],
            c => c,
        })
        .collect();
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// No tag of a review is longer; `<` in a review that speaks of hearts is no tag.
const LONGEST_TAG: usize = 80;

/// What Windows-1252 has at 0x80 to 0x9f; a space where it has nothing.
const WINDOWS_1252: [char; 32] = [
    '€', ' ', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', ' ', 'Ž', ' ', ' ', '‘', '’', '“', '”',
    '•', '–', '—', '˜', '™', 'š', '›', 'œ', ' ', 'ž', 'Ÿ',
];

#[cfg(test)]
mod tests {
    use super::*;

    fn review(id: u32, text: &str) -> Review {
        Review { class: Class::Unlabelled, id, rating: 0, film: None, text: text.into() }
    }

    #[test]
    fn an_id_is_read_as_it_is_written() {
        for id in ["neg/0", "pos/12", "unsup/49999", "unsup/7:10-250", "phrases/3"] {
            assert_eq!(id.parse::<TextId>().unwrap().to_string(), id);
        }
        for id in ["", "unsup", "unsup/x", "unsup/1:2", "other/1", "unsup/1:5-", "unsup/-1"] {
            assert!(id.parse::<TextId>().unwrap_err().contains("names no text"), "{id}");
        }
    }

    #[test]
    fn texts_are_found_by_their_ids() {
        let reviews = [review(5, "Grün. It is good.")];
        let phrases = ["too slow".to_string()];
        let texts = Texts::new(reviews.iter(), &phrases);
        let get = |id: &str| texts.get(&id.parse().unwrap());
        assert_eq!(get("unsup/5"), Ok("Grün. It is good."));
        assert_eq!(get("unsup/5:7-18"), Ok("It is good."));
        assert_eq!(get("phrases/1"), Ok("too slow"));
        for id in ["unsup/6", "neg/5", "phrases/2", "unsup/5:0-99", "unsup/5:3-4", "unsup/5:4-4"] {
            assert!(get(id).unwrap_err().starts_with(id), "{id}");
        }
    }

    #[test]
    fn stretches_are_whole_sentences_and_depend_on_the_seed() {
        let text: String = (0..40).map(|n| format!("This is sentence number {n}. ")).collect();
        let review = review(1, text.trim());
        let drawn = stretches(&review, 1.5, 1);
        assert_eq!(drawn, stretches(&review, 1.5, 1));
        assert_ne!(drawn, stretches(&review, 1.5, 2));
        assert!((60..=61).contains(&drawn.len()), "{}", drawn.len());
        let mut counts = [0; 4];
        for range in &drawn {
            let stretch = &review.text[range.clone()];
            assert!(stretch.starts_with("This") && stretch.ends_with('.'));
            counts[stretch.matches("This").count() - 1] += 1;
        }
        assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
        assert!(stretches(&review, 0.0, 1).is_empty());
        // Whatever is asked for: 40 + 39 + 38 + 37 there are.
        assert!(stretches(&review, 100.0, 1).len() <= 154);
    }

    #[test]
    fn a_text_is_cleaned_of_tags_and_misread_marks() {
        assert_eq!(cleaned("Bad.<br /><br />I  didn\u{92}t <i>like</i> it\u{85}"), "Bad. I didn’t like it…");
        assert_eq!(cleaned("I <3 it, 2 < 3"), "I <3 it, 2 < 3");
    }
}

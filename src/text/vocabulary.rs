//! The vocabulary: words and their ids, as they stand in `vocab.txt` (line number = id).

use std::path::Path;

use sha2::{Digest, Sha256};

use super::key::Key;
use super::pieces::{JOINT, Pieces};
use super::spelling::Spelling;
use super::table::Table;
use super::token::Plain;
use super::typed::class_tokens;
use crate::error::{Error, Result};

/// Id of the padding in front of a short review.
pub const PADDING_ID: u32 = 0;
/// Id that begins every review.
pub const START_ID: u32 = 1;
/// Id of every word that the vocabulary does not hold.
pub const UNKNOWN_ID: u32 = 2;
/// What stands on the first lines of `vocab.txt`, the line's number from 0 being the id.
pub const SPECIAL_WORDS: [&str; 3] = ["<pad>", "<start>", "<unknown>"];
/// What stands at id 3 where a word of rank `r`, from 1, has the id `r + 3`, as in Keras: no word has that id.
const UNUSED_WORD: &str = "<unused-3>";

/// Words and their ids.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    /// Every word's bytes, one after the other in order of id.
    bytes: Vec<u8>,
    /// `ends[id]` is where word `id` ends in `bytes`.
    ends: Vec<u32>,
    table: Table,
    pieces: Pieces,
    /// Hex SHA-256 of `vocab.txt` as [`Vocabulary::to_text`] writes it.
    sha256: String,
    /// The first id of a word, behind the special ones and those that stand for a class.
    first_word: u32,
    /// Misspelt words; empty unless the vocabulary is one of the scheme `typed`.
    spelling: Spelling,
}

impl Vocabulary {
    /// Builds a vocabulary from words in order of frequency, the special words put in front.
    ///
    /// # Errors
    /// [`Error::Data`] when a word is empty, holds a line break, or stands twice.
    pub fn from_words<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> Result<Self> {
        let mut text = SPECIAL_WORDS.join("\n") + "\n";
        for word in words {
            text.push_str(word.as_ref());
            text.push('\n');
        }
        Self::from_text(&text)
    }

    /// As [`Vocabulary::from_words`] with the ids that Keras's `imdb.load_data` gives: the word of rank `r`, from 1, has
    /// the id `r + 3`, and no word has the id 3.
    ///
    /// # Errors
    /// As [`Vocabulary::from_words`].
    pub fn from_ranked<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> Result<Self> {
        let words = words.into_iter().map(|word| word.as_ref().to_string());
        Self::from_words(std::iter::once(UNUSED_WORD.to_string()).chain(words))
    }

    /// How many words a vocabulary of `vocab_size` ids holds, by [`Vocabulary::from_ranked`].
    pub fn ranked_words(vocab_size: usize) -> usize {
        vocab_size.saturating_sub(SPECIAL_WORDS.len() + 1)
    }

    /// Reads the text of a `vocab.txt`: one word a line, the special words on the first three.
    ///
    /// # Errors
    /// [`Error::Data`] when the special words are missing, or a word is empty or stands twice.
    pub fn from_text(text: &str) -> Result<Self> {
        let body = text.strip_suffix('\n').unwrap_or(text);
        let words: Vec<&str> = body.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
        if words.len() < SPECIAL_WORDS.len() || words[..SPECIAL_WORDS.len()] != SPECIAL_WORDS {
            return Err(Error::Data(format!("the first lines must be {}", SPECIAL_WORDS.join(", "))));
        }
        let mut vocabulary = Self {
            bytes: Vec::with_capacity(text.len()),
            ends: Vec::with_capacity(words.len()),
            table: Table::new(words.len()),
            pieces: Pieces::new((0..).zip(words.iter().copied()).skip(SPECIAL_WORDS.len())),
            sha256: sha256_hex(text.as_bytes()),
            first_word: SPECIAL_WORDS.len() as u32,
            spelling: Spelling::default(),
        };
        for (id, word) in words.iter().enumerate() {
            if word.is_empty() {
                return Err(Error::Data(format!("line {} is empty", id + 1)));
            }
            // A special word is not a word that a text can hold: `<pad>` in a review is the word `pad`.
            if id >= SPECIAL_WORDS.len() {
                vocabulary.insert(word, id as u32)?;
            }
            vocabulary.bytes.extend_from_slice(word.as_bytes());
            vocabulary.ends.push(vocabulary.bytes.len() as u32);
        }
        let classes = class_tokens()
            .zip(&words[SPECIAL_WORDS.len()..])
            .take_while(|(class, word)| class == *word)
            .count();
        if classes > 0 {
            vocabulary.first_word += classes as u32;
            let first = vocabulary.first_word as usize;
            let words = words[first..].iter().take_while(|word| !word.contains(JOINT));
            vocabulary.spelling = Spelling::new(vocabulary.first_word, words.map(|word| word.as_bytes()));
        }
        Ok(vocabulary)
    }

    /// Reads `path`, a `vocab.txt`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Invalid`] when it is no vocabulary.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|e| Error::invalid(path, format!("not UTF-8 at byte {}", e.valid_up_to())))?;
        Self::from_text(text).map_err(|e| Error::invalid(path, e.to_string()))
    }

    /// Reads a published word index: one JSON object of word to rank, 1 the most frequent; keeps the words whose
    /// id (rank + 3) is under `vocab_size`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read; [`Error::Invalid`] when it is not such an object or a rank within
    /// the vocabulary is missing or stands twice.
    pub fn from_word_index(path: &Path, vocab_size: usize) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let index: std::collections::HashMap<String, usize> = serde_json::from_slice(&bytes)
            .map_err(|e| Error::invalid(path, format!("not a JSON object of word to rank: {e}")))?;
        let wanted = Self::ranked_words(vocab_size).min(index.len());
        let mut words = vec![""; wanted];
        for (word, &rank) in &index {
            if rank == 0 {
                return Err(Error::invalid(path, format!("rank 0 of `{word}`: ranks start at 1")));
            }
            if rank <= wanted {
                if !words[rank - 1].is_empty() {
                    return Err(Error::invalid(path, format!("rank {rank} stands twice")));
                }
                words[rank - 1] = word;
            }
        }
        if let Some(missing) = words.iter().position(|word| word.is_empty()) {
            return Err(Error::invalid(path, format!("no word of rank {}", missing + 1)));
        }
        Self::from_ranked(words).map_err(|e| Error::invalid(path, e.to_string()))
    }

    fn insert(&mut self, word: &str, id: u32) -> Result<()> {
        let key = Key::of(word.as_bytes());
        if self.find(word.as_bytes(), key).is_some() {
            return Err(Error::Data(format!("line {}: `{word}` stands twice", id + 1)));
        }
        self.table.insert(key, id);
        Ok(())
    }

    /// The id of `word`, whose key is `key`: for a caller that has made it while scanning.
    #[inline]
    pub(crate) fn find(&self, word: &[u8], key: Key) -> Option<u32> {
        self.table.find(key, |id| self.word_bytes(id) == word)
    }

    /// The id of the word that `plain` is, where one look is enough to tell.
    #[inline(always)]
    pub(super) fn find_at_once(&self, plain: &Plain) -> Option<u32> {
        let key = plain.key();
        if key.is_whole() { self.table.find_at_once(key) } else { None }
    }

    /// The id of the word that `plain` is.
    pub(super) fn find_plain(&self, plain: &Plain) -> Option<u32> {
        self.table.find(plain.key(), |id| Key::parts(self.word_bytes(id)) == plain.parts)
    }

    /// The id of the piece whose key is `key`.
    #[inline(always)]
    pub(super) fn piece(&self, key: Key) -> Option<u32> {
        self.pieces.find(key)
    }

    #[inline]
    fn word_bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.ends[id - 1] as usize };
        &self.bytes[start..self.ends[id] as usize]
    }

    /// The id of `word` (already lower-cased), or `None` when the vocabulary does not hold it.
    pub fn id(&self, word: &str) -> Option<u32> {
        self.find(word.as_bytes(), Key::of(word.as_bytes()))
    }

    /// The frequent word that `word`, a misspelt one, was meant to be.
    pub(super) fn corrected(&self, word: &str) -> Option<u32> {
        self.spelling.corrected(word.as_bytes(), |id| self.word_bytes(id))
    }

    /// How many words are more frequent than that of `id`; 0 for what stands before them.
    pub(super) fn rank(&self, id: u32) -> u32 {
        id.saturating_sub(self.first_word)
    }

    /// The word of `id`, special words included, or `None` past the end.
    pub fn word(&self, id: u32) -> Option<&str> {
        // The bytes were checked as UTF-8 when they came in and are cut where words end.
        ((id as usize) < self.len()).then(|| std::str::from_utf8(self.word_bytes(id)).unwrap_or_default())
    }

    /// Number of ids, the special ones included.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no id; never so, since the special words are always there.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Hex SHA-256 of the bytes of `vocab.txt`.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The text of `vocab.txt`: one word a line, a line break after the last.
    pub fn to_text(&self) -> String {
        (0..self.len() as u32).filter_map(|id| self.word(id)).flat_map(|word| [word, "\n"]).collect()
    }
}

/// Hex SHA-256 of `bytes`.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes of a digest as people write them: two small digits each.
pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_order_and_unknown_words_have_none() {
        let vocabulary = Vocabulary::from_words(["the", "and", "don't"]).unwrap();
        assert_eq!(vocabulary.len(), 6);
        assert_eq!(vocabulary.id("the"), Some(3));
        assert_eq!(vocabulary.id("don't"), Some(5));
        assert_eq!(vocabulary.id("film"), None);
        assert_eq!(vocabulary.word(4), Some("and"));
        assert_eq!(vocabulary.word(6), None);
    }

    #[test]
    fn special_words_cannot_be_reached_by_text() {
        let vocabulary = Vocabulary::from_words(["the"]).unwrap();
        assert_eq!(vocabulary.id("<pad>"), None);
        assert_eq!(vocabulary.word(PADDING_ID), Some("<pad>"));
    }

    #[test]
    fn text_round_trips_and_its_digest_is_that_of_the_bytes() {
        let vocabulary = Vocabulary::from_words(["one", "zwei", "três"]).unwrap();
        let again = Vocabulary::from_text(&vocabulary.to_text()).unwrap();
        assert_eq!(again.to_text(), vocabulary.to_text());
        assert_eq!(again.sha256(), vocabulary.sha256());
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn faults_are_named() {
        let fault = |text: &str| Vocabulary::from_text(text).unwrap_err().to_string();
        assert!(fault("a\nb\n").contains("<pad>"));
        assert!(fault("<pad>\n<start>\n<unknown>\na\n\nb\n").contains("line 5 is empty"));
        assert!(fault("<pad>\n<start>\n<unknown>\na\nb\na\n").contains("line 6: `a` stands twice"));
    }

    #[test]
    fn word_index_keeps_the_lowest_ranks_and_refuses_gaps() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"the":1,"of":3,"and":2,"rare":4}"#).unwrap();
        let vocabulary = Vocabulary::from_word_index(file.path(), 7).unwrap();
        assert_eq!(vocabulary.to_text(), "<pad>\n<start>\n<unknown>\n<unused-3>\nthe\nand\nof\n");
        // As Keras users know it: the most frequent word has the id 4.
        assert_eq!(vocabulary.id("the"), Some(4));
        std::fs::write(file.path(), r#"{"the":1,"of":3}"#).unwrap();
        assert!(Vocabulary::from_word_index(file.path(), 10).unwrap_err().to_string().contains("rank 2"));
        std::fs::write(file.path(), r#"[1]"#).unwrap();
        assert!(Vocabulary::from_word_index(file.path(), 10).is_err());
    }
}

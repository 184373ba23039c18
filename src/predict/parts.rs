//! Parts of a text, each read as if it stood alone.

use std::ops::Range;

use super::{Encoding, Predictor, keep_tail};
use crate::text::{START_ID, UNKNOWN_ID};

impl Predictor {
    /// The parts of `text` that `ranges` of bytes name, each cut into ids as if it were a text by itself, its last tokens
    /// kept where it is too long; `None` for a part without a token. The text is read once, however many parts there are.
    ///
    /// A token belongs to the part in which it ends.
    pub fn encode_parts(&self, text: &str, ranges: &[Range<usize>]) -> Vec<Option<Encoding>> {
        let (mut ids, mut ends) = (Vec::new(), Vec::new());
        self.tokenizer.encode_with(text, &self.vocabulary, |id, bytes| {
            ids.push(id);
            ends.push(bytes.end);
        });
        let part = |range: &Range<usize>| {
            let from = ends.partition_point(|&end| end <= range.start);
            let to = ends.partition_point(|&end| end <= range.end);
            if from >= to {
                return None;
            }
            let mut part: Vec<u32> = std::iter::once(START_ID).chain(ids[from..to].iter().copied()).collect();
            let tokens = part.len();
            let unknown_tokens = part.iter().filter(|&&id| id == UNKNOWN_ID).count();
            keep_tail(&mut part, self.config.max_length);
            let dropped_tokens = tokens - part.len();
            let nothing_known = !ids[from..to].iter().any(|&id| self.tokenizer.tells(id, &self.vocabulary));
            let tokens = part.len();
            Some(Encoding { tokens, windows: vec![part], unknown_tokens, dropped_tokens, nothing_known })
        };
        ranges.iter().map(part).collect()
    }
}

//! Digests of what is learnt from, so that a checkpoint or a model is not met by other reviews.

use sha2::{Digest, Sha256};

use crate::text::hex;
use crate::train::data::corpus::Review;
use crate::train::data::example::Example;

/// SHA-256 over `examples`, in order.
pub fn digest_of_examples<'e>(examples: impl IntoIterator<Item = &'e Example>) -> String {
    let mut digest = Sha256::new();
    for example in examples {
        digest.update((example.ids.len() as u64).to_le_bytes());
        digest.update(example.target.to_le_bytes());
        digest.update(example.weight.to_le_bytes());
        digest.update(example.logit_offset.to_le_bytes());
        example.ids.iter().for_each(|id| digest.update(id.to_le_bytes()));
    }
    hex(&digest.finalize())
}

/// SHA-256 over reviews given as ids.
pub fn digest_of_ids(reviews: &[Vec<u32>]) -> String {
    let mut digest = Sha256::new();
    for ids in reviews {
        digest.update((ids.len() as u64).to_le_bytes());
        ids.iter().for_each(|id| digest.update(id.to_le_bytes()));
    }
    hex(&digest.finalize())
}

/// SHA-256 over class, id and text of `reviews`, in order.
pub fn digest_of_reviews(reviews: &[&Review]) -> String {
    let mut digest = Sha256::new();
    for review in reviews {
        digest.update(format!("{}/{}/{}\n", review.class.folder(), review.id, review.text.len()));
        digest.update(&review.text);
    }
    hex(&digest.finalize())
}

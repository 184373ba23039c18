//! Seeded random numbers: every use has a stream of its own, so that a resumed run needs no generator's state.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What random numbers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Initial weights.
    Weights = 1,
    /// Which reviews are held out.
    Split = 2,
    /// The order of the reviews in an epoch.
    Order = 3,
    /// What a step draws for itself (dropout, crops).
    Step = 4,
    /// Which made-up sentences there are.
    Sentences = 6,
    /// Which stretches of a review a teacher judges.
    Stretches = 7,
    /// The order in which judged stretches are met.
    Judged = 8,
}

/// The generator for the `index`-th use (epoch, step, tensor) of `stream` under `seed`.
pub fn stream_rng(seed: u64, stream: Stream, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // ChaCha has 2^64 independent streams per seed.
    rng.set_stream((stream as u64) << 48 | index);
    rng
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn streams_repeat_and_differ() {
        let draw = |seed, purpose, index| stream_rng(seed, purpose, index).random::<u64>();
        assert_eq!(draw(1, Stream::Order, 2), draw(1, Stream::Order, 2));
        let others = [draw(2, Stream::Order, 2), draw(1, Stream::Step, 2), draw(1, Stream::Order, 3)];
        assert!(!others.contains(&draw(1, Stream::Order, 2)));
    }
}

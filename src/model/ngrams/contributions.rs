//! What each id of a review adds to the score of the table of grams.

use super::{LONGEST_NGRAM, NgramTable, pack_ngram};

impl NgramTable {
    /// The score of `ids` less the bias, shared out among the ids: what a gram adds goes in equal parts to the ids of
    /// all the places where it stands. The shares add up to the score but for rounding.
    pub fn contributions(&self, ids: &[u32]) -> Vec<f32> {
        let mut found: Vec<(u32, usize, usize)> = Vec::with_capacity(LONGEST_NGRAM * ids.len());
        for length in 1..=LONGEST_NGRAM {
            for (start, run) in ids.windows(length).enumerate() {
                let place = pack_ngram(run).and_then(|key| self.index.find(key));
                found.extend(place.map(|place| (place, start, length)));
            }
        }
        found.sort_unstable();
        let grams = || found.chunk_by(|a, b| a.0 == b.0);
        let squares: f64 = grams().map(|places| f64::from(self.index.entry(places[0].0).square)).sum();
        let mut shares = vec![0.0; ids.len()];
        if squares > 0.0 {
            for places in grams() {
                let (place, _, length) = places[0];
                let added = f64::from(self.index.entry(place).product) / squares.sqrt();
                let share = (added / (places.len() * length) as f64) as f32;
                for &(_, start, length) in places {
                    shares[start..start + length].iter_mut().for_each(|sum| *sum += share);
                }
            }
        }
        shares
    }
}

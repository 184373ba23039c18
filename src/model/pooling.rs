//! How the states of a review become the one vector that the classifier reads.

use serde::{Deserialize, Serialize};

/// How the states of a review become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The last hidden state of each direction.
    #[default]
    Last,
    /// The maximum over time, then the mean over time, of every unit of both directions.
    MaxMean,
}

impl Pooling {
    /// Length of the vector, in states of all directions.
    pub fn width(self) -> usize {
        match self {
            Self::Last => 1,
            Self::MaxMean => 2,
        }
    }
}

/// Maximum, then mean, over time of `states`, `[positions, width]` with at least one position: `2 * width` values.
///
/// `wins` is called with column and position wherever a value exceeds all before it in its column: after the last call
/// for a column its maximum lies at that position, at 0 where there was no call.
pub(super) fn max_mean(states: &[f32], width: usize, mut wins: impl FnMut(usize, usize)) -> Vec<f32> {
    let mut pooled = states[..width].to_vec();
    pooled.resize(2 * width, 0.0);
    let (max, mean) = pooled.split_at_mut(width);
    for (position, row) in states.chunks_exact(width).enumerate() {
        for (column, ((max, mean), &value)) in max.iter_mut().zip(mean.iter_mut()).zip(row).enumerate() {
            let higher = value > *max;
            // A value is written in any case: without a branch the loop takes several columns at once.
            *max = if higher { value } else { *max };
            if higher {
                wins(column, position);
            }
            *mean += value;
        }
    }
    let length = (states.len() / width) as f32;
    mean.iter_mut().for_each(|sum| *sum /= length);
    pooled
}

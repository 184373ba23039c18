//! Settings that are one of several: what there is to choose from, as files and flags write it.

use serde::{Deserialize, Serialize};

/// Which reviews are held out for validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// The last share of the reviews after a shuffle by `split_seed`.
    Random,
    /// The last share of each class after a shuffle by `split_seed`: what rows of one's own are split by.
    Stratified,
    /// All reviews of a share of the films (or rows of a share of the groups), so that none stands on both sides.
    Film,
}

/// Which weights are saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// Those of the epoch with the lowest validation loss.
    Best,
    /// Those of the last epoch.
    Last,
}

/// What a labelled review counts by its class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ClassWeights {
    /// One, whatever the class.
    None,
    /// So much that each class counts half.
    Balanced,
    /// Negative, positive.
    Pair(f32, f32),
}

impl TryFrom<String> for ClassWeights {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let positive =
            |text: &str| text.trim().parse().ok().filter(|weight: &f32| *weight > 0.0 && weight.is_finite());
        match text.as_str() {
            "none" => Ok(Self::None),
            "balanced" => Ok(Self::Balanced),
            text => text
                .split_once(',')
                .and_then(|(negative, pos)| Some(Self::Pair(positive(negative)?, positive(pos)?)))
                .ok_or_else(|| {
                    format!("`{text}`: expected none, balanced or two positive numbers such as 1,2.5")
                }),
        }
    }
}

impl From<ClassWeights> for String {
    fn from(weights: ClassWeights) -> Self {
        match weights {
            ClassWeights::None => "none".into(),
            ClassWeights::Balanced => "balanced".into(),
            ClassWeights::Pair(negative, positive) => format!("{negative},{positive}"),
        }
    }
}

/// How gradients become steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// `rho`, `epsilon` and `epsilon_in_root` apply.
    RmsProp,
    /// `beta1`, `beta2` and `epsilon` apply.
    Adam,
}

/// A learning rate that goes in a straight line from its start to its end.
#[derive(Clone, Copy, Debug)]
pub struct LinearDecay {
    /// Size of the first step.
    pub start: f64,
    /// Size that a step after the last one would have.
    pub end: f64,
}

impl LinearDecay {
    /// The size of the step after `done` of `total` steps.
    pub fn at(self, done: u64, total: u64) -> f64 {
        self.start + (self.end - self.start) * (done as f64 / total as f64)
    }
}

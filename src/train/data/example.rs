//! What the trainer learns from: a review as ids, with its target.

/// A review to learn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Start id first, at most `max_length`.
    pub ids: Vec<u32>,
    /// Probability that it is positive: 0 or 1 for a label, anything between for a teacher's opinion.
    pub target: f32,
    /// How much it counts beside the others of its batch; 1 by default.
    pub weight: f32,
    /// What the rest of the model will add to the network's logit, so that the network learns what is left; 0 by default.
    pub beside: f32,
}

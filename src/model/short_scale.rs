//! How sure a model sounds of short texts.

use serde::{Deserialize, Serialize};

/// How the logit of a short text is told: weights that learnt from whole reviews are less sure of a sentence than they are
/// right.
///
/// With `s = e^(-n / tokens)` for a text of `n` ids and `u`, the probability that it holds an opinion (1 where the model has
/// no tensor `subjectivity.weight`), the logit `z` becomes `y = z + s u bias`. What of `y` lies beyond `threshold`, on either
/// side of 0, is multiplied by `1 + s u gain`; and `s (1 - u) damping` of `y` is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShortScale {
    /// How much surer the shortest texts are made; 0 leaves them.
    pub gain: f32,
    /// The gain of positive logits, where it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positive_gain: Option<f32>,
    /// The number of ids over which all of this falls to a share of 1/e.
    pub tokens: f32,
    /// The size of a logit from which on it is made surer.
    pub threshold: f32,
    /// What is added to the logit of the shortest texts.
    pub bias: f32,
    /// The share of the logit that the shortest texts without an opinion lose.
    pub damping: f32,
}

impl Default for ShortScale {
    fn default() -> Self {
        Self { gain: 0.0, positive_gain: None, tokens: 30.0, threshold: 0.0, bias: 0.0, damping: 0.0 }
    }
}

impl ShortScale {
    /// Whether it leaves every logit as it is.
    pub fn is_nothing(&self) -> bool {
        [self.gain, self.positive_gain.unwrap_or(0.0), self.bias, self.damping] == [0.0; 4]
    }

    /// The logit of a text of `ids` ids whose weights say `logit`, and which holds an opinion with the probability `opinion`.
    pub fn apply(&self, logit: f32, ids: usize, opinion: f32) -> f32 {
        if self.is_nothing() {
            return logit;
        }
        let share = (-(ids as f32) / self.tokens).exp();
        let logit = logit + share * self.bias * opinion;
        let gain = self.positive_gain.filter(|_| logit > 0.0).unwrap_or(self.gain);
        let surer = share * gain * (logit.abs() - self.threshold).max(0.0).copysign(logit) * opinion;
        logit + surer - share * self.damping * (1.0 - opinion) * logit
    }

    /// Whether every field has a value that can be used; the reason where one has not.
    ///
    /// # Errors
    /// The reason in words, the field's name first.
    pub fn check(&self) -> Result<(), String> {
        let fields = [
            ("gain", self.gain, -0.9, 9.0),
            ("positive_gain", self.positive_gain.unwrap_or(0.0), -0.9, 9.0),
            ("tokens", self.tokens, 1.0, 1e4),
            ("threshold", self.threshold, 0.0, 100.0),
            ("bias", self.bias, -100.0, 100.0),
            ("damping", self.damping, 0.0, 1.0),
        ];
        // A value that is not a number lies in no range.
        match fields.iter().find(|(_, value, low, high)| !(low..=high).contains(&value)) {
            Some((name, value, low, high)) => {
                Err(format!("short_texts.{name} is {value}, it must lie between {low} and {high}"))
            }
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for ShortScale {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self { gain, positive_gain, threshold, bias, damping, .. } = self;
        write!(f, "{bias:+} s u is added to the logit, and ")?;
        match threshold {
            0.0 => write!(f, "it")?,
            _ => write!(f, "what lies beyond {threshold}")?,
        }
        write!(f, " is multiplied by 1 {gain:+} s u")?;
        if let Some(positive) = positive_gain {
            write!(f, ", a positive one by 1 {positive:+} s u")?;
        }
        if *damping != 0.0 {
            write!(f, ", less {damping} s (1 - u)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_are_made_surer_beyond_the_threshold() {
        let scale = ShortScale { gain: 2.0, tokens: 40.0, threshold: 0.5, ..ShortScale::default() };
        let whole = 1.0 + 2.0 * (-0.1f32).exp();
        assert!((scale.apply(1.5, 4, 1.0) - (0.5 + whole)).abs() < 1e-5);
        assert!((scale.apply(-1.5, 4, 1.0) + (0.5 + whole)).abs() < 1e-5);
        assert_eq!([0.4, -0.4].map(|logit| scale.apply(logit, 4, 1.0)), [0.4, -0.4]);
        assert!((scale.apply(1.5, 1500, 1.0) - 1.5).abs() < 1e-6);
        // Without a threshold the whole logit is scaled, and nothing is where there is no gain.
        assert!((ShortScale { threshold: 0.0, ..scale }.apply(1.5, 4, 1.0) - 1.5 * whole).abs() < 1e-5);
        assert_eq!(ShortScale::default().apply(1.5, 4, 1.0), 1.5);
        assert!((ShortScale { gain: 0.0, bias: 0.2, ..scale }.apply(0.1, 1, 1.0) - 0.295).abs() < 1e-3);
    }

    #[test]
    fn praise_may_have_a_gain_of_its_own() {
        let scale = ShortScale { gain: 1.0, positive_gain: Some(3.0), tokens: 1e4, ..ShortScale::default() };
        assert!((scale.apply(0.5, 1, 1.0) - 2.0).abs() < 1e-3);
        assert!((scale.apply(-0.5, 1, 1.0) + 1.0).abs() < 1e-3);
    }

    #[test]
    fn what_holds_no_opinion_is_made_less_sure() {
        let scale = ShortScale { gain: 2.0, bias: 0.3, tokens: 20.0, damping: 0.5, ..ShortScale::default() };
        let share = (-0.2f32).exp();
        assert!((scale.apply(0.8, 4, 0.0) - 0.8 * (1.0 - 0.5 * share)).abs() < 1e-6);
        assert!((scale.apply(0.8, 1500, 0.0) - 0.8).abs() < 1e-6);
        // The surer that it holds one, the further from one half.
        let told: Vec<f32> = (0..=10).map(|tenths| scale.apply(0.8, 4, tenths as f32 / 10.0)).collect();
        assert!(told.is_sorted(), "{told:?}");
        // Fields that nobody named change no bit.
        let older = ShortScale { damping: 0.0, ..scale };
        assert_eq!(older.apply(-0.7, 4, 1.0).to_bits(), scale.apply(-0.7, 4, 1.0).to_bits());
    }
}

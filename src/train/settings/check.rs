//! What settings can be used.

use super::Settings;
use super::choices::Split;
use crate::error::{Error, Result};

impl Settings {
    /// Refuses what cannot be used.
    ///
    /// # Errors
    /// [`Error::Setting`] naming it.
    pub(super) fn check(&self) -> Result<()> {
        let positive = |name: &str, value: f64| match value.is_finite() && value > 0.0 {
            true => Ok(()),
            false => Err(Error::setting(name, format!("{value} is not a positive number"))),
        };
        let share = |name: &str, value: f64| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => Err(Error::setting(name, format!("{value} does not lie in 0 to 1 (1 excluded)"))),
        };
        self.config().check().map_err(|reason| Error::setting("model", reason))?;
        positive("learning_rate", self.learning_rate)?;
        positive("epsilon", self.epsilon)?;
        positive("epochs", self.epochs as f64)?;
        positive("batch_size", self.batch_size as f64)?;
        share("rho", self.rho)?;
        share("beta1", self.beta1)?;
        share("beta2", self.beta2)?;
        share("validation_share", self.validation_share)?;
        share("final_share", self.final_share)?;
        share("final_share + validation_share", self.final_share + self.validation_share)?;
        for (name, value) in [("short_crops", self.short_crops), ("sentences", self.sentences)] {
            if !(0.0..=16.0).contains(&value) {
                return Err(Error::setting(name, format!("{value} does not lie in 0 to 16")));
            }
        }
        positive("opinion_scale", self.opinion_scale)?;
        if !(0.0..=1.0).contains(&self.opinion_share) {
            return Err(Error::setting("opinion_share", format!("{} is no share", self.opinion_share)));
        }
        share("dropout_words", self.dropout_words)?;
        share("dropout_embedding", self.dropout_embedding)?;
        share("dropout_features", self.dropout_features)?;
        if !(0.0..=1.0).contains(&self.learning_rate_end) {
            return Err(Error::setting(
                "learning_rate_end",
                format!("{} is no share", self.learning_rate_end),
            ));
        }
        if self.final_share > 0.0 && self.split != Split::Film {
            return Err(Error::setting("final_share", "is set aside by film: it goes with split = \"film\""));
        }
        if self.ngrams > 0 && self.validation_share == 0.0 {
            return Err(Error::setting("ngrams", "are weighed on held-out reviews: validation_share is 0"));
        }
        if self.crop == 1 {
            return Err(Error::setting("crop", "1 leaves the start token alone"));
        }
        if !(self.clip_norm.is_finite() && self.clip_norm >= 0.0) {
            return Err(Error::setting("clip_norm", format!("{} is negative", self.clip_norm)));
        }
        if self.threads > 1024 {
            return Err(Error::setting("threads", format!("{} is more than 1024", self.threads)));
        }
        Ok(())
    }
}

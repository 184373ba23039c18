//! What every protocol asks of the core, and what it is given.

use std::borrow::Cow;
use std::sync::Arc;

use super::details::{Details, Wanted};
use crate::error::Error;
use crate::predict::{Prediction, Truncate};
use crate::serve::budget::Charge;
use crate::serve::models::LoadedModel;
use crate::serve::models::verdict::Verdict;
use crate::serve::problem::{Problem, ProblemKind};

/// What a request asks for, whatever protocol it came by.
#[derive(Debug, Default)]
pub struct ScoreRequest<'a> {
    /// The model's name; the default model where there is none.
    pub model: Option<Cow<'a, str>>,
    /// The version that the model must have; any where there is none.
    pub version: Option<Cow<'a, str>>,
    /// The texts.
    pub texts: Vec<Cow<'a, str>>,
    /// The field in whose list the texts stand, by which a fault names one; `None` where there is one by itself.
    pub list: Option<&'static str>,
    /// Whether a text that cannot be scored costs itself alone.
    pub report: bool,
    /// Whether it waits for its turn instead of being refused; what predictions take is charged by whoever asks, then.
    pub patient: bool,
    /// What to do with long texts.
    pub truncate: Truncate,
    /// The score below which the label is `uncertain`.
    pub abstain: Option<f32>,
    /// What is to be said besides the verdict.
    pub wanted: Wanted,
    /// What is held for it so far, and for whom.
    pub charge: Option<Charge>,
}

/// The score below which the label is `uncertain`, as a request gives it.
///
/// # Errors
/// 422 where it is no score of a label. It is compared before it is rounded to 32 bits: 1.00000001 is above 1.
pub fn check_abstain(given: Option<f64>) -> Result<Option<f32>, Problem> {
    match given {
        Some(least) if !(0.5..=1.0).contains(&least) => {
            Err(Problem::new(ProblemKind::InvalidFields, "`abstain` must lie between 0.5 and 1"))
        }
        _ => Ok(given.map(|least| least as f32)),
    }
}

/// The predictions for a [`ScoreRequest`], in order.
#[derive(Debug)]
pub struct ScoreResponse {
    /// The model that made them, all of them.
    pub loaded: Arc<LoadedModel>,
    /// One for each text that can be scored, in order.
    pub predictions: Vec<Prediction>,
    /// Which texts cannot, and why, in order; none but where the request said `report`.
    pub faults: Vec<(usize, Error)>,
    /// One for each prediction, where something was wanted besides the verdict.
    pub details: Vec<Details>,
    pub(super) abstain: Option<f32>,
}

impl ScoreResponse {
    /// What is said of the text that `prediction` is about.
    pub fn verdict(&self, prediction: &Prediction) -> Verdict {
        Verdict::new(prediction, self.abstain)
    }

    /// What became of each text, in order: the place of its prediction, or that of its fault.
    pub fn outcomes(&self) -> impl Iterator<Item = Result<usize, usize>> {
        let (mut places, mut faults) =
            (0.., self.faults.iter().map(|(index, _)| *index).enumerate().peekable());
        (0..self.predictions.len() + self.faults.len()).map(move |index| {
            match faults.next_if(|(_, at)| *at == index) {
                Some((fault, _)) => Err(fault),
                None => Ok(places.next().expect("it has no end")),
            }
        })
    }
}

impl ScoreRequest<'_> {
    /// The same, with texts of its own.
    pub fn into_owned(self) -> ScoreRequest<'static> {
        let owned = |text: Cow<str>| Cow::Owned(text.into_owned());
        ScoreRequest {
            model: self.model.map(owned),
            version: self.version.map(owned),
            texts: self.texts.into_iter().map(owned).collect(),
            list: self.list,
            report: self.report,
            patient: self.patient,
            truncate: self.truncate,
            abstain: self.abstain,
            wanted: self.wanted,
            charge: self.charge,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abstain_is_compared_before_it_is_rounded() {
        assert_eq!(check_abstain(Some(1.0)).unwrap(), Some(1.0));
        assert_eq!(check_abstain(None).unwrap(), None);
        for outside in [1.000_000_01, 0.499_999_999_99, f64::NAN] {
            assert_eq!(check_abstain(Some(outside)).unwrap_err().kind(), ProblemKind::InvalidFields);
        }
    }
}

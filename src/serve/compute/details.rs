//! What is said of a text besides its verdict: its words, its sentences, how the verdict came about.
//!
//! All of it is extra work of the same kind, in order like any other: it is counted in reviews and admitted as a whole, it
//! ends with the request's deadline, and explanations take turns with predictions.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::admission::Admission;
use super::pool::Pool;
use super::task::{ComputeError, Input, Job, TURN};
use crate::predict::{
    Encoding, ExplanationPlan, OffsetTable, Offsets, Prediction, Truncate, disagree, trajectory_ends,
};
use crate::serve::models::LoadedModel;
use crate::serve::models::verdict::Verdict;
use crate::serve::observe::telemetry::Detail;
use crate::text::sentences;

/// Reviews that one window counts as when it is explained: it takes eleven times as long as a prediction, and holds more memory.
pub const EXPLANATION_REVIEWS: usize = 12;

/// What is asked for besides the verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What each word does.
    pub words: bool,
    /// Each sentence by itself.
    pub sentences: bool,
    /// The verdict after each sentence.
    pub trajectory: bool,
    /// In what offsets count.
    pub offsets: Offsets,
}

/// What is said of one text besides its verdict; each part where it was asked for.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// The words that the model read.
    pub words: Option<Vec<Word>>,
    /// The sentences.
    pub sentences: Option<Vec<Sentence>>,
    /// Whether some sentences are surely positive and others surely negative; where sentences were asked for.
    pub mixed: Option<bool>,
    /// The verdict after the sentences.
    pub trajectory: Option<Vec<Point>>,
}

/// A word and what it adds to the logit.
#[derive(Clone, Debug)]
pub struct Word {
    /// Where it stands.
    pub range: Range<usize>,
    /// As it was posted.
    pub text: String,
    /// What it adds to the logit.
    pub weight: f32,
    /// Whether the vocabulary holds it.
    pub known: bool,
}

/// A sentence and what is said of it.
#[derive(Clone, Debug)]
pub struct Sentence {
    /// Where it stands.
    pub range: Range<usize>,
    /// Its verdict.
    pub verdict: Verdict,
}

/// What is said of a text up to a place.
#[derive(Clone, Debug)]
pub struct Point {
    /// The place.
    pub end: usize,
    /// Probability of `positive`.
    pub positive: f32,
}

impl Wanted {
    /// Whether anything is.
    pub fn any(self) -> bool {
        self.words || self.sentences || self.trajectory
    }
}

/// The work, cut and counted but not done.
#[derive(Debug)]
pub struct Plan {
    texts: Vec<TextPlan>,
    /// What is to be judged of all texts: sentences, then points, text by text.
    encodings: Vec<Encoding>,
}

#[derive(Debug)]
struct TextPlan {
    /// With the place of its prediction among all; bytes.
    sentences: Vec<(Range<usize>, usize)>,
    points: Vec<(usize, usize)>,
    words: Option<ExplanationPlan>,
}

impl Plan {
    /// Cuts `texts`, which `loaded` has scored already.
    ///
    /// # Errors
    /// A text that cannot be cut, as when it is scored.
    pub fn new(
        loaded: &LoadedModel,
        texts: &[String],
        wanted: Wanted,
        truncate: Truncate,
    ) -> Result<Self, ComputeError> {
        let mut plan = Self { texts: Vec::with_capacity(texts.len()), encodings: Vec::new() };
        for (index, text) in texts.iter().enumerate() {
            let borders = if wanted.sentences || wanted.trajectory { sentences(text) } else { Vec::new() };
            let ends = if wanted.trajectory { trajectory_ends(&borders) } else { Vec::new() };
            let judged = if wanted.sentences { &borders[..] } else { &[] };
            let prefixes = ends.iter().map(|&end| 0..end);
            let parts: Vec<Range<usize>> = judged.iter().cloned().chain(prefixes).collect();
            let mut encoded = loaded.predictor.encode_parts(text, &parts).into_iter();
            let mut place = |encoding: Option<Encoding>| {
                plan.encodings.push(encoding?);
                Some(plan.encodings.len() - 1)
            };
            let sentences = judged.iter().zip(&mut encoded);
            let sentences =
                sentences.filter_map(|(range, encoding)| Some((range.clone(), place(encoding)?))).collect();
            let points = ends.iter().zip(&mut encoded);
            let points = points.filter_map(|(&end, encoding)| Some((end, place(encoding)?))).collect();
            let words = || loaded.predictor.plan_explanation(text, truncate);
            let words = wanted.words.then(words).transpose();
            let words = words.map_err(|error| ComputeError::Text(index, error))?;
            plan.texts.push(TextPlan { sentences, points, words });
        }
        Ok(plan)
    }

    /// The reviews that the work counts as.
    pub fn reviews(&self) -> usize {
        self.encodings.len() + EXPLANATION_REVIEWS * self.windows()
    }

    /// The tokens that are run, those of an explanation as often as it is longer than a prediction; a window has `longest`.
    pub fn tokens(&self, longest: usize) -> usize {
        let judged: usize = self.encodings.iter().map(Encoding::tokens).sum();
        judged + EXPLANATION_REVIEWS * self.windows() * longest
    }

    /// Windows to be explained.
    fn windows(&self) -> usize {
        self.texts.iter().filter_map(|text| text.words.as_ref()).map(ExplanationPlan::windows).sum()
    }

    /// The parts of the work by their kinds.
    pub fn counts(&self) -> [(Detail, usize); 3] {
        let sum = |of: fn(&TextPlan) -> usize| self.texts.iter().map(of).sum::<usize>();
        [
            (Detail::Explanation, self.windows()),
            (Detail::Sentence, sum(|text| text.sentences.len())),
            (Detail::Point, sum(|text| text.points.len())),
        ]
    }

    /// Does the work on `pool`, for which `permit` was given, until `deadline`.
    pub async fn run(
        mut self,
        pool: &Pool,
        loaded: Arc<LoadedModel>,
        permit: Admission,
        deadline: Instant,
    ) -> Result<Done, ComputeError> {
        let permit = Arc::new(permit);
        let items: Vec<Input> = std::mem::take(&mut self.encodings).into_iter().map(Input::Encoded).collect();
        let mut predictions = Vec::new();
        if !items.is_empty() {
            let (loaded, truncate, max_windows) = (loaded.clone(), Truncate::Tail, 1);
            let (permit, charge) = (permit.clone(), None);
            let job = Job { loaded, items, truncate, max_windows, report: false, deadline, permit, charge };
            predictions = pool.run(job).await?.predictions;
        }
        for index in 0..self.texts.len() {
            let Some(mut words) = self.texts[index].words.take() else { continue };
            let mut next = 0;
            while next < words.windows() {
                if Instant::now() >= deadline {
                    return Err(ComputeError::Deadline);
                }
                let loaded = loaded.clone();
                let turn = pool.turn(move || {
                    let begin = Instant::now();
                    while next < words.windows() {
                        loaded.predictor.explain_window(&mut words, next);
                        next += 1;
                        if begin.elapsed() >= TURN {
                            break;
                        }
                    }
                    (words, next)
                });
                let turn = tokio::time::timeout_at(deadline.into(), turn).await;
                (words, next) = turn.map_err(|_| ComputeError::Deadline)??;
            }
            self.texts[index].words = Some(words);
        }
        Ok(Done { plan: self, predictions, _permit: permit })
    }
}

/// The work done, to be brought into its final form.
#[derive(Debug)]
pub struct Done {
    plan: Plan,
    predictions: Vec<Prediction>,
    _permit: Arc<Admission>,
}

impl Done {
    /// The details of `texts`, one for each, with offsets and labels as they are wanted.
    pub fn details(self, texts: &[String], wanted: Wanted, abstain: Option<f32>) -> Vec<Details> {
        let predictions = self.predictions;
        let each = self.plan.texts.into_iter().zip(texts).map(|(plan, text)| {
            let place = OffsetTable::new(text, wanted.offsets);
            let words = plan.words.map(ExplanationPlan::finish).map(|words| {
                let word = |word: crate::predict::WordWeight| Word {
                    text: text[word.range.clone()].into(),
                    range: place.range(&word.range),
                    weight: word.weight,
                    known: word.known,
                };
                words.into_iter().map(word).collect()
            });
            let sentence = |(range, at): (Range<usize>, usize)| Sentence {
                range: place.range(&range),
                verdict: Verdict::new(&predictions[at], abstain),
            };
            let sentences: Vec<Sentence> = plan.sentences.into_iter().map(sentence).collect();
            let point = |(end, at): (usize, usize)| Point {
                end: place.of(end),
                positive: predictions[at].probability,
            };
            let points = plan.points.into_iter().map(point).collect();
            Details {
                words,
                mixed: wanted.sentences.then(|| {
                    disagree(
                        sentences.iter().map(|sentence| (sentence.verdict.label, sentence.verdict.score)),
                    )
                }),
                sentences: wanted.sentences.then_some(sentences),
                trajectory: wanted.trajectory.then_some(points),
            }
        });
        each.collect()
    }
}

//! What teachers' opinions add to the reviews that a network learns from.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;

use crate::error::{Error, Result};
use crate::model::Config;
use crate::predict::sigmoid;
use crate::text::Vocabulary;
use crate::train::data::corpus::{Class, Corpus, Review};
use crate::train::data::example::{Example, encode_all};
use crate::train::data::opinions::{OpinionFile, RowNames, Subject, mean_of_each};
use crate::train::data::split::{DataSplit, unlabelled};
use crate::train::data::texts::{Source, Texts, read_phrases};
use crate::train::random::{Stream, stream_rng};
use crate::train::settings::Settings;

/// A text that is given with its opinion and has more tokens than this is learnt from as a review is.
const SHORT_TOKENS: usize = 120;

/// The opinions of a run, as examples.
#[derive(Debug, Default)]
pub struct Lessons {
    /// Targets of labelled reviews that were judged, by class and id.
    pub labelled: HashMap<(Class, u32), f32>,
    /// Unlabelled reviews that were judged.
    pub reviews: HashSet<u32>,
    /// What they are learnt as, and other long texts.
    pub long: Vec<Example>,
    /// Stretches, phrases and other short texts, in the order in which they are met.
    pub short: Vec<Example>,
    /// Opinions on films that are held out, which are not used.
    pub left_out: usize,
}

impl Lessons {
    /// Reads the opinions of `files` on `corpus`, whose labelled reviews are split as `split` says, and on the lines of
    /// `phrases`. Texts without a word are left out.
    ///
    /// # Errors
    /// Those of [`OpinionFile::read`] and [`OpinionFile::texts`].
    pub fn read(
        files: &[PathBuf],
        phrases: Option<&Path>,
        (corpus, split, names): (&Corpus, &DataSplit, &RowNames),
        settings: &Settings,
        (config, vocabulary): (&Config, &Vocabulary),
    ) -> Result<Self> {
        let phrases = phrases.map(read_phrases).transpose()?.unwrap_or_default();
        let texts = Texts::new(corpus.train.iter().chain(&corpus.unlabelled), &phrases);
        let mut read = files.iter().map(|path| OpinionFile::read(path)).collect::<Result<Vec<_>>>()?;
        let (mut judged, mut left_out) = (Vec::new(), 0);
        for (path, file) in files.iter().zip(&mut read) {
            left_out += file.settle(path, names)?;
        }
        for (path, file) in files.iter().zip(&read) {
            judged.extend(file.texts(path, &texts)?);
        }
        let free = free_reviews(corpus, split, settings)?;
        let (mut lessons, mut long, mut short) =
            (Self { left_out, ..Self::default() }, Vec::new(), Vec::new());
        for (subject, text, logit) in mean_of_each(judged) {
            let (target, sharper) = (sigmoid(logit), sigmoid(settings.opinion_scale as f32 * logit));
            match subject {
                Subject::Text(_) | Subject::Row(_) | Subject::Id(_) => short.push((text, sharper)),
                Subject::Known(id) => match (id.source, id.range) {
                    (Source::Phrases, _) => short.push((text, sharper)),
                    (Source::Review(class), _) if !free.contains(&(class, id.number)) => {
                        lessons.left_out += 1
                    }
                    (Source::Review(_), Some(_)) => short.push((text, sharper)),
                    (Source::Review(Class::Unlabelled), None) => {
                        lessons.reviews.insert(id.number);
                        long.push((text, target));
                    }
                    (Source::Review(class), None) => {
                        let label = class.target().expect("a labelled class");
                        let share = settings.opinion_share as f32;
                        lessons.labelled.insert((class, id.number), label + share * (target - label));
                    }
                },
            }
        }
        let examples = |list: &[(&str, f32)]| -> Vec<Example> {
            let texts: Vec<&str> = list.iter().map(|(text, _)| *text).collect();
            let ids = encode_all(&texts, config, vocabulary).into_iter().zip(list);
            let worded = ids.filter(|(ids, _)| ids.len() > 1);
            worded
                .map(|(ids, (_, target))| Example { ids, target: *target, weight: 1.0, logit_offset: 0.0 })
                .collect()
        };
        lessons.long = examples(&long);
        let (more, mut short): (Vec<Example>, Vec<Example>) = examples(&short)
            .into_iter()
            .partition(|example| example.ids.len() > SHORT_TOKENS && example.ids.len() > settings.crop / 2);
        lessons.long.extend(more);
        short.shuffle(&mut stream_rng(settings.seed, Stream::Judged, 0));
        lessons.short = short;
        if lessons.labelled.is_empty() && lessons.long.is_empty() && lessons.short.is_empty() {
            return Err(Error::Data("no opinion is of a text that may be learnt from".into()));
        }
        Ok(lessons)
    }

    /// Puts the targets of judged reviews in the place of the labels of `examples`, which belong to `reviews`.
    pub fn apply(&self, examples: &mut [Example], reviews: &[&Review]) {
        for (example, review) in examples.iter_mut().zip(reviews) {
            if let Some(target) = self.labelled.get(&(review.class, review.id)) {
                example.target = *target;
            }
        }
    }
}

/// The reviews that may be learnt from, by class and id.
fn free_reviews(corpus: &Corpus, split: &DataSplit, settings: &Settings) -> Result<HashSet<(Class, u32)>> {
    let mut free: HashSet<(Class, u32)> =
        split.train.iter().map(|&at| (corpus.train[at].class, corpus.train[at].id)).collect();
    if !corpus.unlabelled.is_empty() {
        free.extend(unlabelled(&corpus.unlabelled, settings)?.iter().map(|review| (review.class, review.id)));
    }
    Ok(free)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Scheme;

    fn corpus() -> Corpus {
        let review = |class, id, film, text: &str| Review {
            class,
            id,
            rating: 0,
            film: Some(film),
            text: text.into(),
        };
        // By their fixed places film 4 is held out under the test's shares and film 1 is not.
        Corpus {
            train: vec![
                review(Class::Negative, 1, 1, "good bad"),
                review(Class::Positive, 2, 1, "bad good good"),
                review(Class::Positive, 3, 4, "good"),
            ],
            unlabelled: vec![
                review(Class::Unlabelled, 5, 1, "good. bad. bad."),
                review(Class::Unlabelled, 6, 4, "bad"),
            ],
            test: Vec::new(),
        }
    }

    #[test]
    fn opinions_become_targets_and_held_out_films_are_left_out() {
        let corpus = corpus();
        let places = [1, 4].map(crate::train::data::split::film_position);
        let settings = Settings {
            tokenizer: Scheme::Words,
            validation_share: (places[0] + places[1]) / 2.0,
            final_share: 0.0,
            opinion_scale: 2.0,
            opinion_share: 0.25,
            ..Settings::preset("imdb").unwrap()
        };
        assert!(places[1] < places[0], "choose other films: {places:?}");
        let split = DataSplit::of(&corpus.train, &settings).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (one, two, phrases) =
            (folder.path().join("a.jsonl"), folder.path().join("b.jsonl"), folder.path().join("p.txt"));
        let lines = ["neg/1", "unsup/5", "unsup/6", "pos/3", "unsup/5:0-5", "phrases/2"]
            .map(|id| format!("{{\"id\":\"{id}\",\"logit\":1}}\n"));
        std::fs::write(&one, lines.concat()).unwrap();
        std::fs::write(&two, "{\"id\":\"unsup/5\",\"logit\":-1}\n{\"text\":\"bad\",\"probability\":0.5}\n")
            .unwrap();
        std::fs::write(&phrases, "good\nbad good\n").unwrap();
        let vocabulary = Vocabulary::from_words(["good", "bad", "."]).unwrap();
        let config = Config { vocab_size: vocabulary.len(), ..settings.config() };
        let lessons = Lessons::read(
            &[one, two],
            Some(&phrases),
            (&corpus, &split, &RowNames::default()),
            &settings,
            (&config, &vocabulary),
        )
        .unwrap();
        assert_eq!(lessons.left_out, 2);
        assert_eq!(lessons.long.len(), 1);
        assert_eq!(lessons.long[0].target, 0.5, "1 and -1 are 0 in the mean");
        let sure = sigmoid(2.0);
        let mut targets: Vec<f32> = lessons.short.iter().map(|example| example.target).collect();
        targets.sort_by(f32::total_cmp);
        assert_eq!(targets, [0.5, sure, sure]);
        assert_eq!(lessons.labelled, HashMap::from([((Class::Negative, 1), 0.25 * sigmoid(1.0))]));
        assert_eq!(lessons.reviews, HashSet::from([5]));
        let reviews: Vec<&Review> = split.train.iter().map(|&at| &corpus.train[at]).collect();
        let mut examples = crate::train::score::examples(&reviews, &config, &vocabulary);
        lessons.apply(&mut examples, &reviews);
        assert_eq!(
            examples.iter().map(|example| example.target).collect::<Vec<_>>(),
            [0.25 * sigmoid(1.0), 1.0]
        );
    }
}

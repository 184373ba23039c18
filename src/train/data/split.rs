//! Which labelled reviews are held out for validation.

use rand::seq::SliceRandom;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::train::data::corpus::{Class, Corpus, Review};
use crate::train::random::{Stream, stream_rng};
use crate::train::settings::{Settings, Split};

/// The two sides of a split, as positions in the list of labelled reviews.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSplit {
    /// Reviews to learn from; in shuffled order for a random split, ascending for a split by film.
    pub train: Vec<usize>,
    /// Reviews held out.
    pub validation: Vec<usize>,
    /// Reviews set aside for one last look, of films that neither other side has.
    pub final_test: Vec<usize>,
}

impl DataSplit {
    /// Splits `reviews` (sorted, as a [`Corpus`] has them) as `settings` say.
    ///
    /// A random split shuffles by `split_seed` and holds out the last share, as the published tutorial does. A split
    /// by film sets aside the films whose [`film_position`] lies under `final_share` and holds out those that lie
    /// under it and `validation_share` together, whatever the seed.
    ///
    /// # Errors
    /// [`Error::Data`] when a split by film meets a review whose film is not known, or when a side stays empty.
    pub fn of(reviews: &[Review], settings: &Settings) -> Result<Self> {
        let share = settings.validation_share;
        let (train, validation, final_test) = match settings.split {
            Split::Random => {
                let mut order: Vec<usize> = (0..reviews.len()).collect();
                order.shuffle(&mut stream_rng(settings.split_seed, Stream::Split, 0));
                let validation = order.split_off((reviews.len() as f64 * (1.0 - share)).round() as usize);
                (order, validation, Vec::new())
            }
            Split::Stratified => {
                let (mut train, mut validation) = (Vec::new(), Vec::new());
                for (stream, positive) in [false, true].into_iter().enumerate() {
                    let of_class = |at: &usize| (reviews[*at].class == Class::Positive) == positive;
                    let mut order: Vec<usize> = (0..reviews.len()).filter(of_class).collect();
                    order.shuffle(&mut stream_rng(settings.split_seed, Stream::Split, 1 + stream as u64));
                    validation.extend(order.split_off((order.len() as f64 * (1.0 - share)).round() as usize));
                    train.extend(order);
                }
                train.sort_unstable();
                validation.sort_unstable();
                (train, validation, Vec::new())
            }
            Split::Film => {
                let positions = reviews.iter().map(|review| review.film.map(film_position));
                let positions: Option<Vec<f64>> = positions.collect();
                let positions = positions.ok_or_else(|| {
                    Error::Data(
                        "a split by film needs urls_pos.txt and urls_neg.txt in the data set; --split random --final-share 0 \
                         does without"
                            .into(),
                    )
                })?;
                let last = settings.final_share;
                let between = |low: f64, high: f64| {
                    (0..reviews.len()).filter(|&at| (low..high).contains(&positions[at])).collect()
                };
                (between(last + share, 1.0), between(last, last + share), between(0.0, last))
            }
        };
        if train.is_empty() || (validation.is_empty() && share > 0.0) {
            let reason = format!("{} reviews are too few to hold out {share} of them", reviews.len());
            return Err(Error::Data(reason));
        }
        Ok(Self { train, validation, final_test })
    }
}

/// The unlabelled reviews that may be learnt from: those of no film that is held out or set aside.
///
/// # Errors
/// [`Error::Data`] when a split by film meets a review whose film is not known, or none is left.
pub fn unlabelled<'r>(reviews: &'r [Review], settings: &Settings) -> Result<Vec<&'r Review>> {
    let held_out = match settings.split {
        Split::Random | Split::Stratified => 0.0,
        Split::Film => settings.final_share + settings.validation_share,
    };
    let mut free = Vec::with_capacity(reviews.len());
    for review in reviews {
        match review.film {
            None if held_out > 0.0 => {
                return Err(Error::Data("a split by film needs urls_unsup.txt in the data set".into()));
            }
            Some(film) if film_position(film) < held_out => {}
            _ => free.push(review),
        }
    }
    if free.is_empty() {
        return Err(Error::Data("the data set has no unlabelled reviews (train/unsup) to learn from".into()));
    }
    Ok(free)
}

/// A film's fixed place in 0 to 1: the first eight bytes of the SHA-256 of its number in decimal, as a fraction.
pub fn film_position(film: u32) -> f64 {
    let digest = Sha256::digest(film.to_string().as_bytes());
    let first: [u8; 8] = std::array::from_fn(|at| digest[at]);
    // 53 bits are what a double holds exactly.
    (u64::from_be_bytes(first) >> 11) as f64 / (1u64 << 53) as f64
}

/// The texts that a stage without labels learns from: those of the labelled reviews to learn from, then the unlabelled
/// ones that no held-out film has.
///
/// # Errors
/// As [`DataSplit::of`].
pub fn texts_to_learn_from<'c>(corpus: &'c Corpus, settings: &Settings) -> Result<Vec<&'c str>> {
    let sides = DataSplit::of(&corpus.train, settings)?;
    let labelled = sides.train.iter().map(|&at| &corpus.train[at]);
    Ok(labelled.chain(unlabelled(&corpus.unlabelled, settings)?).map(|review| review.text.as_str()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reviews(count: u32, film: impl Fn(u32) -> Option<u32>) -> Vec<Review> {
        let review =
            |id| Review { class: Class::Positive, id, rating: 9, film: film(id), text: format!("text {id}") };
        (0..count).map(review).collect()
    }

    fn settings(split: Split) -> Settings {
        Settings { split, ..Settings::preset("keras-imdb").unwrap() }
    }

    #[test]
    fn a_random_split_holds_out_the_share_and_every_review_stands_once() {
        let sides = DataSplit::of(&reviews(50, |_| None), &settings(Split::Random)).unwrap();
        assert_eq!((sides.train.len(), sides.validation.len()), (40, 10));
        let mut all = [sides.train.clone(), sides.validation.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
        let other = Settings { split_seed: 7, ..settings(Split::Random) };
        assert_ne!(DataSplit::of(&reviews(50, |_| None), &other).unwrap(), sides);
    }

    #[test]
    fn a_split_by_film_has_no_film_on_both_sides() {
        let reviews = reviews(3000, |id| Some(id / 3));
        let sides = DataSplit::of(&reviews, &settings(Split::Film)).unwrap();
        assert!((500..700).contains(&sides.validation.len()), "{}", sides.validation.len());
        let film = |at: &usize| reviews[*at].film;
        let held: std::collections::BTreeSet<_> = sides.validation.iter().map(film).collect();
        assert!(sides.train.iter().all(|at| !held.contains(&film(at))));
    }

    #[test]
    fn a_split_by_film_needs_films() {
        let fault = DataSplit::of(&reviews(10, |_| None), &settings(Split::Film)).unwrap_err();
        assert!(fault.to_string().contains("urls_pos.txt"));
    }
}

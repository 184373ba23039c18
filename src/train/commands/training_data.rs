//! What `trainer train` learns from, read and encoded.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::model::{Array, Config, NgramTable, Scratch};
use crate::predict::sigmoid;
use crate::text::Vocabulary;
use crate::train::data::corpus::Review;
use crate::train::data::digest::digest_of_reviews;
use crate::train::data::example::Example;
use crate::train::data::labelled::{DataSource, OwnArgs};
use crate::train::data::lessons::Lessons;
use crate::train::data::own::{Gathered, file_name, gather};
use crate::train::data::split::unlabelled as unlabelled_reviews;
use crate::train::data::start::{InitModel, init_model};
use crate::train::data::{sentences, vocabulary};
use crate::train::ngrams::stack;
use crate::train::pretrain::word_vectors::{Vectors, load_vectors};
use crate::train::report::record::DataRecord;
use crate::train::score::{self, examples};
use crate::train::settings::{ClassWeights, Settings};

/// Where a run's reviews, opinions and first weights come from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The public release, a table of one's own, or a folder of classes.
    pub data: DataSource,
    /// How data of one's own is read and split.
    pub own: OwnArgs,
    /// A model to start from.
    pub init: Option<PathBuf>,
    /// The published word index; `None` counts the words of the reviews learnt from.
    pub vocabulary: Option<PathBuf>,
    /// Word vectors to start from, as `trainer vectors` writes them; they bring their vocabulary.
    pub vectors: Option<PathBuf>,
    /// Models whose mean opinion of the unlabelled reviews is learnt from as well.
    pub teachers: Vec<PathBuf>,
    /// Files of opinions to learn from.
    pub opinions: Vec<PathBuf>,
    /// The phrases that some of the opinions are of.
    pub phrases: Option<PathBuf>,
}

/// The reviews of a run, ready to learn from.
pub struct TrainingData {
    pub vocabulary: Vocabulary,
    pub config: Config,
    pub train: Vec<Example>,
    /// Stretches with opinions of their own.
    pub judged: Vec<Example>,
    pub validation: Vec<Example>,
    pub validation_texts: Vec<String>,
    pub data: DataRecord,
    /// What was taken for what, and what was left out.
    pub notes: Vec<String>,
    /// Tensors to start from: word vectors, the LSTM of a language model.
    pub start: BTreeMap<String, Array>,
    /// Made-up sentences to learn from beside the reviews.
    pub sentences: Vec<Example>,
    /// The table of n-grams, where it is needed before the network is trained.
    pub ngrams: Option<NgramTable>,
    /// The table to go on from, where training starts from a model with one.
    pub start_ngrams: Option<NgramTable>,
}

impl TrainingData {
    /// Makes up the sentences that are learnt from beside the reviews, and, where there are short texts to learn from
    /// and n-grams to come, fits the n-grams first: the network has to know what they will say.
    pub fn make_up_sentences(&mut self, settings: &Settings) -> Result<()> {
        if settings.sentences > 0.0 {
            self.sentences = sentences::sentences(settings.seed, &self.config, &self.vocabulary)?;
        }
        if settings.ngrams == 0 || (self.sentences.is_empty() && self.judged.is_empty()) {
            return Ok(());
        }
        let table = self.fit_ngrams(settings)?;
        // The n-grams of a negated word say the opposite of the sentence: the network has to outweigh them.
        let mut scratch = Scratch::default();
        for short in self.sentences.iter_mut().chain(&mut self.judged) {
            let counts = stack::SHARE * self.config.ngram_share(short.ids.len());
            short.logit_offset = counts * table.score(&short.ids, &mut scratch);
        }
        self.ngrams = Some(table);
        Ok(())
    }

    /// The table of n-grams, and the share at which the network has learnt with it.
    pub fn ngram_table(&self, settings: &Settings) -> Result<(Cow<'_, NgramTable>, Option<f32>)> {
        match &self.ngrams {
            Some(table) => Ok((Cow::Borrowed(table), Some(stack::SHARE))),
            None => Ok((Cow::Owned(self.fit_ngrams(settings)?), None)),
        }
    }

    fn fit_ngrams(&self, settings: &Settings) -> Result<NgramTable> {
        stack::wide_part(
            &self.train,
            self.data.train,
            &self.judged,
            settings.ngrams,
            self.start_ngrams.as_ref(),
        )
    }
}

/// Reads and splits the reviews of `sources`, settles the vocabulary and encodes.
///
/// # Errors
/// Those of [`gather`], [`init_model`], [`load_vectors`] and [`Lessons::read`]; [`Error::Setting`] where vectors have another
/// length than the settings say.
pub fn prepare(sources: &Sources, settings: &Settings) -> Result<TrainingData> {
    let taught_too = !(sources.teachers.is_empty() && sources.opinions.is_empty());
    let Gathered { corpus, split, mut notes, names } =
        gather(&sources.data, taught_too, &sources.own, settings)?;
    let pick = |positions: &[usize]| positions.iter().map(|&at| &corpus.train[at]).collect::<Vec<&Review>>();
    let (train, validation) = (pick(&split.train), pick(&split.validation));
    let mut start = BTreeMap::new();
    let texts: Vec<&str> = train.iter().map(|review| review.text.as_str()).collect();
    let init =
        sources.init.as_ref().map(|directory| init_model(directory, &texts, settings.seed)).transpose()?;
    if let Some(init) = &init {
        notes.push(format!(
            "starts from {}, {} words added to its {}",
            init.name,
            init.added,
            init.vocabulary.len() - init.added
        ));
    }
    let (mut init_config, mut start_ngrams) = (None, None);
    let vocabulary = match (&sources.vocabulary, &sources.vectors) {
        _ if init.is_some() => {
            let InitModel { config, vocabulary, tensors, ngrams, .. } = init.expect("just seen");
            (start, init_config, start_ngrams) = (tensors, Some(config), ngrams);
            vocabulary
        }
        (_, Some(path)) => {
            let Vectors { vocabulary, dim, vectors, others } = load_vectors(path)?;
            if dim != settings.embedding_dim {
                let reason = format!("{} has vectors of length {dim}", path.display());
                return Err(Error::setting("embedding_dim", reason));
            }
            start = others;
            let shape = vec![vocabulary.len(), dim];
            start.insert("embedding.weight".to_string(), Array { shape, data: vectors });
            vocabulary
        }
        (Some(path), None) => Vocabulary::from_word_index(path, settings.vocab_size)?,
        (None, None) => {
            let texts = train.iter().map(|review| review.text.as_str());
            vocabulary::count_vocabulary(texts, settings.config().tokenizer, settings.vocab_size)?
        }
    };
    let config = init_config.unwrap_or_else(|| settings.config());
    let config = Config { vocab_size: vocabulary.len(), ngrams: false, ..config };
    let mut prepared = TrainingData {
        train: examples(&train, &config, &vocabulary),
        judged: Vec::new(),
        validation: examples(&validation, &config, &vocabulary),
        validation_texts: validation.iter().map(|review| review.text.clone()).collect(),
        data: DataRecord {
            name: match &sources.data {
                DataSource::Release(path) | DataSource::Folders(path) | DataSource::Table(path) => {
                    file_name(path)
                }
            },
            own: !matches!(sources.data, DataSource::Release(_)),
            group: sources.own.group_column.clone(),
            validation_data: sources.own.validation_data.as_ref().map(|path| file_name(path)),
            init: sources.init.as_ref().map(|path| file_name(path)),
            vocabulary: match (&sources.vocabulary, &sources.vectors) {
                (_, Some(path)) | (Some(path), None) => file_name(path),
                (None, None) if sources.init.is_some() => "of the model that training starts from".into(),
                (None, None) => "counted".into(),
            },
            train: train.len(),
            unlabelled: 0,
            teachers: sources.teachers.iter().map(|teacher| file_name(teacher)).collect(),
            opinions: sources.opinions.iter().map(|path| file_name(path)).collect(),
            judged: 0,
            judged_stretches: 0,
            validation: validation.len(),
            validation_sha256: digest_of_reviews(&validation),
        },
        vocabulary,
        config,
        start,
        notes,
        sentences: Vec::new(),
        ngrams: None,
        start_ngrams,
    };
    let mut judged = HashSet::new();
    if !sources.opinions.is_empty() {
        let by_ids = (&prepared.config, &prepared.vocabulary);
        let lessons = Lessons::read(
            &sources.opinions,
            sources.phrases.as_deref(),
            (&corpus, &split, &names),
            settings,
            by_ids,
        )?;
        lessons.apply(&mut prepared.train, &train);
        prepared.data.unlabelled = lessons.long.len();
        prepared.data.judged = lessons.labelled.len() + lessons.long.len();
        prepared.data.judged_stretches = lessons.short.len();
        if lessons.left_out > 0 {
            let count = lessons.left_out;
            prepared
                .notes
                .push(format!("{count} opinions on reviews that are held out or left out are not used"));
        }
        prepared.train.extend(lessons.long);
        prepared.judged = lessons.short;
        judged = lessons.reviews;
    }
    weigh_classes(&mut prepared.train, settings.class_weights);
    if !sources.teachers.is_empty() {
        let mut unlabelled = unlabelled_reviews(&corpus.unlabelled, settings)?;
        unlabelled.retain(|review| !judged.contains(&review.id));
        let soft = soft_labelled(&unlabelled, &sources.teachers, &prepared)?;
        prepared.data.unlabelled += soft.len();
        prepared.train.extend(soft);
    }
    Ok(prepared)
}

/// Gives labelled examples the weight of their class.
fn weigh_classes(examples: &mut [Example], weights: ClassWeights) {
    let positives = examples.iter().filter(|example| example.target >= 0.5).count() as f32;
    let (all, negatives) = (examples.len() as f32, examples.len() as f32 - positives);
    let (negative, positive) = match weights {
        ClassWeights::None => return,
        ClassWeights::Balanced => (all / (2.0 * negatives.max(1.0)), all / (2.0 * positives.max(1.0))),
        ClassWeights::Pair(negative, positive) => (negative, positive),
    };
    for example in examples {
        example.weight *= if example.target >= 0.5 { positive } else { negative };
    }
}

/// Unlabelled reviews with the mean opinion of `teachers` as their target. Reviews without a word are left out.
fn soft_labelled(reviews: &[&Review], teachers: &[PathBuf], prepared: &TrainingData) -> Result<Vec<Example>> {
    let texts: Vec<&str> = reviews.iter().map(|review| review.text.as_str()).collect();
    let opinions = score::mean_logits(teachers, &texts)?;
    let ids = score::encode_all(&texts, &prepared.config, &prepared.vocabulary);
    let soft = ids.into_iter().zip(opinions).filter(|(ids, _)| ids.len() > 1);
    let example = |(ids, logit): (Vec<u32>, f32)| Example {
        ids,
        target: sigmoid(logit),
        weight: 1.0,
        logit_offset: 0.0,
    };
    Ok(soft.map(example).collect())
}

//! Settings of a training run: a preset, overridden by a TOML file, overridden by flags.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::{Config, Padding, Pooling, Precision, RecurrentPrecision, load_directory};
use crate::text::Scheme;
use crate::train::data::labelled::DataSource;
use crate::train::data::own::OwnArgs;

/// The preset of every command that is told none: the shipped default.
pub const DEFAULT_PRESET: &str = "imdb";

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

/// Declares every setting once: in [`Settings`] it has a value, in [`Overrides`] it may have one.
macro_rules! settings {
    ($($(#[doc = $doc:literal])* $name:ident: $type:ty,)*) => {
        /// The resolved settings of a run; printed at the start and saved with the model.
        /// A record of another version is read as overrides over its preset: what it does not tell is the preset's.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(from = "Recorded")]
        pub struct Settings {
            /// The preset that the run started from.
            pub preset: String,
            $($(#[doc = $doc])* pub $name: $type,)*
        }

        /// Settings given by flags or by a file, each of them optional.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, clap::Args)]
        #[serde(deny_unknown_fields, default)]
        #[command(next_help_heading = "Settings (flags beat --settings, which beats the preset)")]
        pub struct Overrides {
            /// Where the settings start from: `imdb`, the shipped default (taken where none is named), or `keras-imdb`, the
            /// published tutorial.
            #[arg(long)]
            pub preset: Option<String>,
            $($(#[doc = $doc])* #[arg(long, value_name = "VALUE", value_parser = by_name::<$type>)]
            pub $name: Option<$type>,)*
        }

        /// Settings as a record tells them; what this version does not know is passed over.
        #[derive(Deserialize)]
        #[serde(default)]
        struct Recorded {
            preset: String,
            $($name: Option<$type>,)*
        }

        impl Default for Recorded {
            fn default() -> Self {
                Self { preset: DEFAULT_PRESET.into(), $($name: None,)* }
            }
        }

        impl From<Recorded> for Settings {
            fn from(recorded: Recorded) -> Self {
                let mut settings = Self::preset(&recorded.preset).unwrap_or_else(|_| Self::imdb());
                settings.preset = recorded.preset;
                // What a record tells nothing of was trained before there was a choice.
                settings.recurrent_precision = RecurrentPrecision::F32;
                $(if let Some(value) = recorded.$name { settings.$name = value; })*
                settings
            }
        }

        impl Settings {
            fn apply(&mut self, overrides: &Overrides) {
                $(if let Some(value) = overrides.$name.clone() { self.$name = value; })*
            }
        }
    };
}

settings! {
    /// The rules that cut a text into words: keras, or punctuation (which keeps it as words).
    tokenizer: Scheme,
    /// Number of ids, the special ones included.
    vocab_size: usize,
    /// Length of a word's vector.
    embedding_dim: usize,
    /// Units of the LSTM in each direction.
    hidden_size: usize,
    /// Stacked LSTM layers.
    num_layers: usize,
    /// Whether a second LSTM reads the review backwards: true or false.
    bidirectional: bool,
    /// How states become one vector: last or max_mean.
    pooling: Pooling,
    /// Ids of a review that are read, the start id included; the last ones are kept.
    max_length: usize,
    /// What stands in front of a shorter review: pre (zeros) or none.
    padding: Padding,
    /// Which reviews are held out: random, stratified or film (or group).
    split: Split,
    /// Share of the labelled training reviews that is set aside before the split, for one last look; 0 to 1, by film.
    final_share: f64,
    /// Share of the labelled training reviews that is held out, 0 to 1.
    validation_share: f64,
    /// Seed of the shuffle before a random split, apart from `seed` so that seeds are compared on the same reviews.
    split_seed: u64,
    /// Seed of the initial weights and of the batches.
    seed: u64,
    /// Threads to compute with; 0 takes every core. One seed gives one model for any given number of them.
    threads: usize,
    /// Passes over the training reviews.
    epochs: usize,
    /// Epochs without a lower validation loss after which training ends; 0 for none.
    patience: usize,
    /// Reviews per step.
    batch_size: usize,
    /// Whether the reviews of a step are of like length: true or false.
    bucketed: bool,
    /// Tokens of a review that a step learns from, a fresh stretch each time; 0 takes the whole review.
    crop: usize,
    /// Stretches of a few sentences, 5 to 60 tokens, that a step learns from beside its reviews, per review, so that
    /// short texts are learnt too.
    short_crops: f64,
    /// Factor of the logits of `--opinions` on short texts, of which a teacher of whole reviews is less sure than it is right.
    opinion_scale: f64,
    /// Share of the teacher's opinion in the target of a labelled review that it judged; the label has the rest.
    opinion_share: f64,
    /// Made-up sentences (negation, degrees, contrast) that a step learns from beside its reviews, per review.
    sentences: f64,
    /// What a review counts by its class: none, balanced (each class half), or two numbers, negative and positive, as 1,2.5.
    class_weights: ClassWeights,
    /// Share of the words of a step that are left out, 0 to 1.
    dropout_words: f64,
    /// Share of the components of a word's vector that are left out in a step, 0 to 1.
    dropout_embedding: f64,
    /// Share of what the classifier reads that is left out in a step, 0 to 1.
    dropout_features: f64,
    /// How gradients become steps: rms_prop or adam.
    optimizer: OptimizerKind,
    /// Size of a step at the start.
    learning_rate: f64,
    /// Size of a step at the end, reached in a straight line, as a share of that at the start; 1 keeps it.
    learning_rate_end: f64,
    /// RMSprop: decay of the mean square.
    rho: f64,
    /// Adam: decay of the mean.
    beta1: f64,
    /// Adam: decay of the mean square.
    beta2: f64,
    /// What keeps the division by a small root harmless.
    epsilon: f64,
    /// RMSprop: true divides by sqrt(v + epsilon) as Keras 2.11 and later do, false by sqrt(v) + epsilon.
    epsilon_in_root: bool,
    /// Largest norm of all gradients together; a longer one is scaled down to it; 0 leaves them.
    clip_norm: f64,
    /// Entries of the table of 1- to 3-grams that is added to the network, at most; 0 for none.
    ngrams: usize,
    /// Which epoch's weights are saved: best or last.
    keep: Keep,
    /// Whether the logits are divided by the temperature that fits the held-out reviews best: true or false.
    calibrate: bool,
    /// In how many bits the weights are stored: f32 or f16.
    precision: Precision,
    /// In which numbers the recurrence computes once trained, and is scored: f32 or int8 (recurrent weights and hidden
    /// states of 8 bits).
    recurrent_precision: RecurrentPrecision,
}

impl Settings {
    /// The settings of `preset`.
    ///
    /// # Errors
    /// [`Error::Setting`] when there is no such preset.
    pub fn preset(preset: &str) -> Result<Self> {
        match preset {
            "keras-imdb" => Ok(Self::keras_imdb()),
            "imdb" => Ok(Self::imdb()),
            _ => Err(Error::setting(
                "preset",
                format!("`{preset}` is unknown; there are `imdb` and `keras-imdb`"),
            )),
        }
    }

    /// The model that is shipped as the default; `models/imdb/README.md` says what led here.
    fn imdb() -> Self {
        Self {
            preset: "imdb".into(),
            tokenizer: Scheme::Typed,
            vocab_size: 30_000,
            embedding_dim: 128,
            hidden_size: 128,
            bidirectional: true,
            pooling: Pooling::MaxMean,
            max_length: 1500,
            padding: Padding::None,
            split: Split::Film,
            final_share: 0.2,
            validation_share: 0.12,
            epochs: 5,
            batch_size: 64,
            bucketed: true,
            crop: 400,
            short_crops: 0.25,
            opinion_share: 0.5,
            sentences: 0.0,
            dropout_words: 0.05,
            dropout_embedding: 0.2,
            dropout_features: 0.5,
            optimizer: OptimizerKind::Adam,
            learning_rate_end: 0.05,
            beta2: 0.98,
            clip_norm: 1.0,
            ngrams: 150_000,
            keep: Keep::Last,
            calibrate: true,
            precision: Precision::F16,
            recurrent_precision: RecurrentPrecision::Int8,
            ..Self::keras_imdb()
        }
    }

    fn keras_imdb() -> Self {
        let config = Config::keras_imdb();
        Self {
            preset: "keras-imdb".into(),
            tokenizer: config.tokenizer,
            vocab_size: config.vocab_size,
            embedding_dim: config.embedding_dim,
            hidden_size: config.hidden_size,
            num_layers: config.num_layers,
            bidirectional: config.bidirectional,
            pooling: config.pooling,
            max_length: config.max_length,
            padding: config.padding,
            split: Split::Random,
            final_share: 0.0,
            validation_share: 0.2,
            // The seed with which Keras's `imdb.load_data` shuffles.
            split_seed: 113,
            seed: 1,
            threads: 0,
            epochs: 10,
            patience: 0,
            class_weights: ClassWeights::None,
            batch_size: 128,
            bucketed: false,
            crop: 0,
            short_crops: 0.0,
            opinion_scale: 1.0,
            opinion_share: 0.0,
            sentences: 0.0,
            dropout_words: 0.0,
            dropout_embedding: 0.0,
            dropout_features: 0.0,
            optimizer: OptimizerKind::RmsProp,
            learning_rate: 0.001,
            learning_rate_end: 1.0,
            rho: 0.9,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-7,
            epsilon_in_root: false,
            clip_norm: 0.0,
            ngrams: 0,
            keep: Keep::Best,
            calibrate: false,
            precision: Precision::F32,
            recurrent_precision: RecurrentPrecision::F32,
        }
    }

    /// Settings from the preset that `flags` or `file` name ([`DEFAULT_PRESET`] otherwise), then `file`, then `flags`;
    /// checked, with the number of threads put in.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the setting that cannot be used.
    pub fn resolve(file: &Overrides, flags: &Overrides) -> Result<Self> {
        let preset = flags.preset.as_deref().or(file.preset.as_deref()).unwrap_or(DEFAULT_PRESET);
        let mut settings = Self::preset(preset)?;
        settings.apply(file);
        settings.apply(flags);
        settings.settled()
    }

    /// As [`Settings::resolve`], over what suits the data and the start: what file and flags say goes before.
    ///
    /// # Errors
    /// As [`Settings::resolve`].
    pub fn resolve_over(base: Base, file: &Overrides, flags: &Overrides) -> Result<Self> {
        let preset = flags.preset.as_deref().or(file.preset.as_deref()).unwrap_or(DEFAULT_PRESET);
        let mut settings = Self::preset(preset)?;
        settings.apply(&base.0);
        settings.apply(file);
        settings.apply(flags);
        settings.settled()
    }

    fn settled(mut self) -> Result<Self> {
        let settings = &mut self;
        if settings.threads == 0 {
            settings.threads = std::thread::available_parallelism().map_or(1, |count| count.get());
        }
        settings.check()?;
        Ok(self)
    }

    /// The size of a step.
    pub fn learning_rate(&self) -> LinearDecay {
        LinearDecay { start: self.learning_rate, end: self.learning_rate * self.learning_rate_end }
    }

    /// The network that these settings describe.
    pub fn config(&self) -> Config {
        Config {
            format: 1,
            tokenizer: self.tokenizer,
            vocab_size: self.vocab_size,
            embedding_dim: self.embedding_dim,
            hidden_size: self.hidden_size,
            num_layers: self.num_layers,
            bidirectional: self.bidirectional,
            pooling: self.pooling,
            max_length: self.max_length,
            padding: self.padding,
            temperature: 1.0,
            bias: 0.0,
            recurrent_precision: self.recurrent_precision,
            ngrams: false,
        }
    }

    fn check(&self) -> Result<()> {
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

/// What suits data of one's own, and a start from a model, better than a preset.
#[derive(Clone, Debug, Default)]
pub struct Base(Overrides);

impl Base {
    /// For `data` that is read as `own` says, and a start from the model in `init`.
    ///
    /// # Errors
    /// Those of reading the model's configuration.
    pub fn of(data: &DataSource, own: &OwnArgs, init: Option<&Path>) -> Result<Self> {
        let mut base = Overrides::default();
        if !matches!(data, DataSource::Release(_)) {
            base.split = Some(if own.group_column.is_some() { Split::Film } else { Split::Stratified });
            base.final_share = Some(0.0);
            base.validation_share = Some(0.15);
        }
        if let Some(directory) = init {
            let config = load_directory(directory)?.config;
            base.tokenizer = Some(config.tokenizer);
            base.embedding_dim = Some(config.embedding_dim);
            base.hidden_size = Some(config.hidden_size);
            base.num_layers = Some(config.num_layers);
            base.bidirectional = Some(config.bidirectional);
            base.pooling = Some(config.pooling);
            base.max_length = Some(config.max_length);
            base.padding = Some(config.padding);
            // A few thousand rows: some passes in small steps, the best of them kept.
            base.epochs = Some(8);
            base.patience = Some(3);
            base.keep = Some(Keep::Best);
            base.batch_size = Some(32);
            base.optimizer = Some(OptimizerKind::Adam);
            base.learning_rate = Some(5e-4);
            base.short_crops = Some(0.0);
            base.sentences = Some(0.0);
            base.dropout_words = Some(0.1);
            base.calibrate = Some(true);
            base.clip_norm = Some(1.0);
        }
        Ok(Self(base))
    }
}

impl Overrides {
    /// Reads a TOML file of settings.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Invalid`] naming an unknown key or a wrong value.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Self::from_toml(&text).map_err(|reason| Error::invalid(path, reason))
    }

    fn from_toml(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            format!("line {line}: {}", e.message().replace('\n', " "))
        })
    }
}

/// Reads a flag's value as the file would: numbers, `true`, `false`, or the name of a choice.
fn by_name<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let value = match serde_json::from_str(text) {
        Ok(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => value,
        _ => serde_json::Value::String(text.into()),
    };
    serde_json::from_value(value).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preset_is_the_published_model() {
        let settings = Settings::preset("keras-imdb").unwrap();
        assert_eq!(settings.config(), Config::keras_imdb());
        assert!(Settings::preset("other").unwrap_err().to_string().contains("keras-imdb"));
    }

    #[test]
    fn flags_beat_the_file_which_beats_the_preset() {
        let file = Overrides::from_toml(
            "preset = \"keras-imdb\"\nepochs = 3\nbatch_size = 16\noptimizer = \"adam\"",
        )
        .unwrap();
        let flags = Overrides { epochs: Some(5), ..Overrides::default() };
        let settings = Settings::resolve(&file, &flags).unwrap();
        assert_eq!((settings.epochs, settings.batch_size, settings.hidden_size), (5, 16, 32));
        assert_eq!(settings.optimizer, OptimizerKind::Adam);
        assert!(settings.threads > 0);
    }

    #[test]
    fn unknown_keys_and_wrong_values_fail_with_their_line() {
        let fault = |text: &str| Overrides::from_toml(text).unwrap_err();
        assert!(fault("epochs = 3\nepoch = 4").contains("line 2: unknown field `epoch`"));
        assert!(fault("epochs = \"many\"").contains("line 1"));
        assert!(fault("split = \"half\"").contains("expected one of `random`, `stratified`, `film`"));
        let wrong = Overrides { learning_rate: Some(-1.0), ..Overrides::default() };
        let reason = Settings::resolve(&Overrides::default(), &wrong).unwrap_err().to_string();
        assert!(reason.contains("learning_rate"), "{reason}");
    }

    #[test]
    fn a_flag_reads_numbers_and_names() {
        assert_eq!(by_name::<Split>("film"), Ok(Split::Film));
        assert_eq!(by_name::<f64>("1e-3"), Ok(0.001));
        assert_eq!(by_name::<bool>("true"), Ok(true));
        assert!(by_name::<usize>("-1").is_err());
    }

    #[test]
    fn a_record_without_a_setting_has_the_presets_and_one_with_more_is_read() {
        let settings = Settings { epochs: 7, ..Settings::preset("keras-imdb").unwrap() };
        let mut value = serde_json::to_value(&settings).unwrap();
        let object = value.as_object_mut().unwrap();
        object.remove("patience");
        object.remove("class_weights");
        object.insert("from_tomorrow".into(), 1.into());
        assert_eq!(serde_json::from_value::<Settings>(value).unwrap(), settings);
        assert!(serde_json::from_str::<Settings>("{\"epochs\": \"many\"}").is_err());
    }

    #[test]
    fn settings_survive_json_and_toml() {
        let settings = Settings::preset("keras-imdb").unwrap();
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(toml::from_str::<Settings>(&text).unwrap(), settings);
    }
}

//! Settings of a training run: a preset, overridden by a TOML file, overridden by flags.
//!
//! `choices` has the types, `presets` the values, `check` what can be used, `base` what suits data of one's own.

mod base;
mod check;
mod choices;
mod presets;

use std::fmt::Write;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use self::base::{Base, check_split, unused_beside};
pub use self::choices::{ClassWeights, Keep, LinearDecay, OptimizerKind, Split};
use crate::error::{Error, Result};
use crate::model::{Config, Padding, Pooling, Precision, RecurrentPrecision};
use crate::text::Scheme;

/// The preset of every command that is told none: the shipped default.
pub const DEFAULT_PRESET: &str = "imdb";

/// Declares every setting once, by group: in [`Settings`] it has a value, in [`Overrides`] it may have one.
macro_rules! settings {
    ($($heading:literal { $($(#[doc = $doc:literal])* $name:ident: $type:ty,)* })*) => {
        /// The resolved settings of a run; printed at the start and saved with the model.
        /// A record of another version is read as overrides over its preset: what it does not tell is the preset's.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(from = "Recorded")]
        pub struct Settings {
            /// The preset that the run started from.
            pub preset: String,
            $($($(#[doc = $doc])* pub $name: $type,)*)*
        }

        /// Every setting by its group: its name and what it means.
        const GROUPS: &[(&str, &[(&str, &str)])] =
            &[$(($heading, &[$((stringify!($name), concat!($($doc),*)),)*]),)*];

        /// Settings given by flags or by a file, each of them optional.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, clap::Args)]
        #[serde(deny_unknown_fields, default)]
        #[command(next_help_heading = "Settings (flags beat --settings, which beats the preset)")]
        pub struct Overrides {
            /// Where the settings start from: `imdb`, the shipped default (taken where none is named), or `keras-imdb`, the
            /// published tutorial.
            #[arg(long)]
            pub preset: Option<String>,
            $($($(#[doc = $doc])*
            #[arg(long, value_name = "VALUE", value_parser = by_name::<$type>, help_heading = concat!("Settings: ", $heading))]
            pub $name: Option<$type>,)*)*
        }

        /// Settings as a record tells them; what this version does not know is passed over.
        #[derive(Deserialize)]
        #[serde(default)]
        struct Recorded {
            preset: String,
            $($($name: Option<$type>,)*)*
        }

        impl Default for Recorded {
            fn default() -> Self {
                Self { preset: DEFAULT_PRESET.into(), $($($name: None,)*)* }
            }
        }

        impl From<Recorded> for Settings {
            fn from(recorded: Recorded) -> Self {
                let mut settings = Self::preset(&recorded.preset).unwrap_or_else(|_| Self::imdb());
                settings.preset = recorded.preset;
                // What a record tells nothing of was trained before there was a choice.
                settings.recurrent_precision = RecurrentPrecision::F32;
                $($(if let Some(value) = recorded.$name { settings.$name = value; })*)*
                settings
            }
        }

        impl Settings {
            fn apply(&mut self, overrides: &Overrides) {
                $($(if let Some(value) = overrides.$name.clone() { self.$name = value; })*)*
            }
        }
    };
}

settings! {
    "network" {
        /// The rules that cut a text into words: keras, words (which keeps punctuation) or typed (which knows how people type).
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
    }
    "held-out reviews" {
        /// Which reviews are held out: random, stratified or film (or group).
        split: Split,
        /// Share of the labelled training reviews that is set aside before the split, for one last look; 0 to 1, by film.
        final_share: f64,
        /// Share of the labelled training reviews that is held out, 0 to 1.
        validation_share: f64,
        /// Seed of the shuffle before a random split, apart from `seed` so that seeds are compared on the same reviews.
        split_seed: u64,
    }
    "passes" {
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
    }
    "what a step learns from" {
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
    }
    "size of a step" {
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
    }
    "what is saved" {
        /// Entries of the table of 1- to 3-grams that is added to the network, at most; 0 for none.
        ngrams: usize,
        /// Tokens over which the share of their score that counts rises to 1 - 1/e; 0 for all of it at any length.
        ngram_tokens: f64,
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
}

impl Settings {
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
        base.check(&settings)?;
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
            tokenizer: self.tokenizer,
            vocab_size: self.vocab_size,
            embedding_dim: self.embedding_dim,
            hidden_size: self.hidden_size,
            num_layers: self.num_layers,
            bidirectional: self.bidirectional,
            pooling: self.pooling,
            max_length: self.max_length,
            padding: self.padding,
            recurrent_precision: self.recurrent_precision,
            ngram_tokens: self.ngram_tokens as f32,
            // What is fitted to the answers of trained weights stays at none.
            ..Config::keras_imdb()
        }
    }

    /// Every setting with what it means, by group, as TOML for `--settings`.
    pub fn described(&self) -> String {
        let values = toml::Value::try_from(self).expect("plain data");
        let mut text = format!("preset = \"{}\"\n", self.preset);
        for (heading, settings) in GROUPS {
            let _ = write!(text, "\n# {heading}\n");
            for (name, doc) in *settings {
                let _ = write!(text, "\n#{doc}\n{name} = {}\n", values[*name]);
            }
        }
        text
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
    fn described_settings_are_settings() {
        let settings = Settings::preset("imdb").unwrap();
        let text = settings.described();
        assert!(
            text.contains("# network\n") && text.contains("\n# Stacked LSTM layers.\nnum_layers = 1\n"),
            "{text}"
        );
        assert_eq!(toml::from_str::<Settings>(&text).unwrap(), settings);
        let named: usize = GROUPS.iter().map(|(_, settings)| settings.len()).sum();
        assert_eq!(
            named + 1,
            text.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count()
        );
        assert_eq!(Overrides::from_toml(&text).unwrap().epochs, Some(settings.epochs));
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

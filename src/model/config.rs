//! `config.json`: what a model directory says about its network and its reading of a text.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ngrams::key::NGRAM_ID_LIMIT;
use super::pooling::Pooling;
use super::short_scale::ShortScale;
use crate::error::{Error, ModelFault, Result};
use crate::text::{SPECIAL_WORDS, Scheme};

/// What stands where a review is shorter than the model reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// Id 0 in front, up to `max_length`, and the network runs over it.
    #[default]
    Pre,
    /// Nothing: a review of n ids takes n steps.
    None,
}

/// In which numbers recurrent weights are held at inference. The weights themselves are stored as they were trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecurrentPrecision {
    /// As they are stored; with AVX-512 VNNI in 16 bits, which is as exact.
    #[default]
    F32,
    /// In 8 bits, hidden states too: the same bits on every processor.
    Int8,
}

impl std::str::FromStr for RecurrentPrecision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "f32" => Ok(Self::F32),
            "int8" => Ok(Self::Int8),
            _ => Err(format!(
                "{:?} is no precision; it can be f32 or int8",
                name.chars().take(40).collect::<String>()
            )),
        }
    }
}

/// The settings that weights, training and serving share; written as `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of the format; 1.
    pub format: u32,
    /// The tokenizer's rules.
    pub tokenizer: Scheme,
    /// Number of ids, the three special ones included.
    pub vocab_size: usize,
    /// Length of a word's vector.
    pub embedding_dim: usize,
    /// Units of the LSTM in each direction.
    pub hidden_size: usize,
    /// Stacked LSTM layers.
    #[serde(default = "one")]
    pub num_layers: usize,
    /// Whether a second LSTM reads the review backwards.
    #[serde(default)]
    pub bidirectional: bool,
    /// How states become one vector.
    #[serde(default)]
    pub pooling: Pooling,
    /// Ids that the network reads at most, the start id included.
    pub max_length: usize,
    /// What stands where a review is shorter.
    #[serde(default)]
    pub padding: Padding,
    /// The logit is divided by it before the sigmoid; 1 leaves it as trained.
    #[serde(default = "unit", skip_serializing_if = "is_unit")]
    pub temperature: f32,
    /// What is added to the logit after that: how much more often texts are positive than where the weights were fitted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bias: f32,
    /// How sure the model sounds of short texts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub short_texts: ShortScale,
    /// In which numbers the recurrence computes; the model was scored with it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub recurrent_precision: RecurrentPrecision,
    /// Whether a table of grams stands beside the weights, whose score is added to the logit.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ngrams: bool,
    /// The number of ids over which the share of that score which counts rises to `1 - 1/e`: of a text of `n` ids it is
    /// `1 - e^(-n / ngram_tokens)`, since a few words without their context say less than those of a review. With 0 all
    /// of it counts at any length.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ngram_tokens: f32,
}

fn one() -> usize {
    1
}

fn unit() -> f32 {
    1.0
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn is_zero(value: &f32) -> bool {
    *value == 0.0
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_unit(value: &f32) -> bool {
    *value == 1.0
}

/// The configuration in `bytes` whose fields of [`ShortScale`] stand beside the others, as they did at first (`short_gain`);
/// nothing where there are none.
fn from_older(bytes: &[u8]) -> Option<serde_json::Result<Config>> {
    let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).ok()?;
    let older = ["gain", "tokens", "threshold", "bias"].map(|name| (name, format!("short_{name}")));
    let short: serde_json::Map<_, _> = older
        .iter()
        .filter_map(|(name, older)| Some((name.to_string(), fields.remove(older.as_str())?)))
        .collect();
    if short.is_empty() || fields.contains_key("short_texts") {
        return None;
    }
    fields.insert("short_texts".into(), short.into());
    Some(serde_json::from_value(fields.into()))
}

impl Config {
    /// The reference model: Embedding 10,000 x 32, LSTM 32, Dense 1.
    pub fn keras_imdb() -> Self {
        Self {
            format: 1,
            tokenizer: Scheme::Keras,
            vocab_size: 10_000,
            embedding_dim: 32,
            hidden_size: 32,
            num_layers: 1,
            bidirectional: false,
            pooling: Pooling::Last,
            max_length: 500,
            padding: Padding::Pre,
            temperature: 1.0,
            bias: 0.0,
            short_texts: ShortScale::default(),
            recurrent_precision: RecurrentPrecision::F32,
            ngrams: false,
            ngram_tokens: 0.0,
        }
    }

    /// Directions of the LSTM: 1 or 2.
    pub fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    /// What the names of each direction's tensors end with, the forward one first.
    pub(super) fn direction_suffixes(&self) -> &'static [&'static str] {
        &["", "_reverse"][..self.directions()]
    }

    /// Length of the vector that the classifier reads.
    pub fn feature_dim(&self) -> usize {
        self.pooling.width() * self.directions() * self.hidden_size
    }

    /// The share of the n-grams' score that counts in a text of `ids` ids.
    pub fn ngram_share(&self, ids: usize) -> f32 {
        match self.ngram_tokens == 0.0 {
            true => 1.0,
            false => 1.0 - (-(ids as f32) / self.ngram_tokens).exp(),
        }
    }

    /// Reads and checks the bytes of `path`, a `config.json`.
    ///
    /// # Errors
    /// [`Error::Model`] naming the field that cannot be used.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self> {
        let invalid = |reason: String| Error::model(path)(ModelFault::Config { reason });
        let config: Self = serde_json::from_slice(bytes)
            .or_else(|fault| from_older(bytes).unwrap_or(Err(fault)))
            .map_err(|e| invalid(e.to_string()))?;
        config.check().map_err(invalid)?;
        Ok(config)
    }

    /// The text of `config.json`.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a configuration is plain data");
        text.push('\n');
        text
    }

    /// Whether every field has a value that can be used; the reason where one has not.
    ///
    /// # Errors
    /// The reason in words, the field's name first.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: usize, low: usize, high: usize| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(format!("{name} is {value}, it must lie between {low} and {high}"))
            }
        };
        if self.format != 1 {
            return Err(format!("format is {}, this version reads 1", self.format));
        }
        within("vocab_size", self.vocab_size, SPECIAL_WORDS.len(), 10_000_000)?;
        if self.ngrams {
            within("vocab_size (with ngrams)", self.vocab_size, SPECIAL_WORDS.len(), NGRAM_ID_LIMIT)?;
        }
        within("embedding_dim", self.embedding_dim, 1, 4096)?;
        within("hidden_size", self.hidden_size, 1, 1024)?;
        within("num_layers", self.num_layers, 1, 8)?;
        within("max_length", self.max_length, 1, 1_000_000)?;
        if self.recurrent_precision == RecurrentPrecision::Int8 {
            within("max_length (with int8)", self.max_length, 1, crate::kernel::MAX_INT8_STEPS)?;
        }
        if self.padding == Padding::Pre {
            // One state per possible padding length is kept, and only a forward reading starts from it.
            within("max_length (with padding)", self.max_length, 1, 10_000)?;
            if self.bidirectional || self.num_layers > 1 || self.pooling != Pooling::Last {
                return Err("padding `pre` goes with one layer, one direction and pooling `last`".into());
            }
        }
        if !(-100.0..=100.0).contains(&self.bias) {
            return Err(format!("bias is {}, it must lie between -100 and 100", self.bias));
        }
        // Beyond, a logit may leave the range of 32 bits.
        if !(1e-3..=1e3).contains(&self.temperature) {
            return Err(format!("temperature is {}, it must lie between 0.001 and 1000", self.temperature));
        }
        if !(0.0..=1e4).contains(&self.ngram_tokens) {
            return Err(format!("ngram_tokens is {}, it must lie between 0 and 10000", self.ngram_tokens));
        }
        self.short_texts.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_short_texts_are_told_is_read_in_its_older_form_too() {
        let with = |fields: &str| Config::keras_imdb().to_json().replacen('{', &format!("{{{fields},"), 1);
        let read = |fields: &str| Config::from_bytes(Path::new("config.json"), with(fields).as_bytes());
        let older =
            read(r#""short_gain": 2.2, "short_tokens": 40.0, "short_threshold": 0.6, "short_bias": -0.1"#)
                .unwrap();
        let expected =
            ShortScale { gain: 2.2, tokens: 40.0, threshold: 0.6, bias: -0.1, ..ShortScale::default() };
        assert_eq!(older.short_texts, expected);
        assert_eq!(read(r#""short_gain": 2"#).unwrap().short_texts.tokens, 30.0);
        let newer = Config::from_bytes(Path::new("config.json"), older.to_json().as_bytes()).unwrap();
        assert!(older == newer && newer.to_json().contains("short_texts"));
        assert!(!Config::keras_imdb().to_json().contains("short"));
        let fault = |fields: &str| read(fields).unwrap_err().to_string();
        for (fields, named) in [
            (r#""short_gain": 10"#, "short_texts.gain"),
            (r#""short_gain": "x""#, "expected f32"),
            (r#""short_gain": 1, "colour": 2"#, "colour"),
            (r#""short_gain": 1, "short_texts": {"gain": 1}"#, "short_gain"),
            (r#""short_texts": {"gain": 1, "colour": 2}"#, "colour"),
            (r#""short_texts": {"damping": 1.5}"#, "short_texts.damping"),
            (r#""short_texts": {"positive_gain": -1}"#, "short_texts.positive_gain"),
        ] {
            assert!(fault(fields).contains(named), "{fields}: {}", fault(fields));
        }
    }

    #[test]
    fn the_n_grams_count_whole_unless_the_model_says_from_which_length_on() {
        let config = Config { ngram_tokens: 40.0, ..Config::keras_imdb() };
        assert_eq!(Config::keras_imdb().ngram_share(1), 1.0);
        assert!((config.ngram_share(40) - (1.0 - (-1.0f32).exp())).abs() < 1e-6);
        assert!(config.ngram_share(4) < 0.1 && config.ngram_share(300) > 0.999);
        assert!(!Config::keras_imdb().to_json().contains("ngram_tokens"));
        assert_eq!(
            Config::from_bytes(Path::new("config.json"), config.to_json().as_bytes()).unwrap(),
            config
        );
        for odd in [-1.0, 1e5, f32::NAN] {
            assert!(
                Config { ngram_tokens: odd, ..config.clone() }.check().unwrap_err().contains("ngram_tokens")
            );
        }
    }

    #[test]
    fn a_precision_is_one_of_two_words() {
        let text = |precision: &str| {
            let field = format!("{{\n  \"recurrent_precision\": {precision},");
            Config::keras_imdb().to_json().replacen('{', &field, 1)
        };
        let read = |text: &str| Config::from_bytes(Path::new("config.json"), text.as_bytes());
        assert_eq!(read(&text("\"int8\"")).unwrap().recurrent_precision, RecurrentPrecision::Int8);
        assert_eq!(read(&text("\"f32\"")).unwrap(), Config::keras_imdb());
        for odd in ["\"int4\"", "\"INT8\"", "8", "null", "\"\"", "[\"int8\"]", "true"] {
            let fault = read(&text(odd)).unwrap_err().to_string();
            assert!(fault.contains("config.json"), "{odd}: {fault}");
        }
        // What says nothing of it is written as before.
        assert!(!Config::keras_imdb().to_json().contains("recurrent_precision"));
        let long = Config {
            max_length: 65_536,
            padding: Padding::None,
            recurrent_precision: RecurrentPrecision::Int8,
            ..Config::keras_imdb()
        };
        assert!(long.check().unwrap_err().contains("int8"));
        assert!(Config { recurrent_precision: RecurrentPrecision::F32, ..long }.check().is_ok());
        assert!("fp16".parse::<RecurrentPrecision>().unwrap_err().contains("f32 or int8"));
    }
}

//! What suits the data and the start of a run better than a preset.

use std::path::Path;

use super::choices::{Keep, OptimizerKind, Split};
use super::{Overrides, Settings};
use crate::error::{Error, Result};
use crate::model::load_directory;
use crate::train::data::labelled::{DataSource, OwnArgs};

/// The settings that have no say where data of one's own are split as `own` asks.
pub fn unused_beside(own: &OwnArgs) -> &'static [&'static str] {
    match own {
        OwnArgs { validation_data: Some(_), .. } => {
            &["split", "final_share", "validation_share", "split_seed"]
        }
        OwnArgs { group_column: Some(_), .. } => &["final_share", "split_seed"],
        _ => &[],
    }
}

/// Refuses flags that have no say beside those of `own`.
///
/// # Errors
/// [`Error::Setting`] naming the first.
pub fn check_split(own: &OwnArgs, flags: &Overrides) -> Result<()> {
    let given = [
        ("split", flags.split.is_some()),
        ("final_share", flags.final_share.is_some()),
        ("validation_share", flags.validation_share.is_some()),
        ("split_seed", flags.split_seed.is_some()),
    ];
    let unused = unused_beside(own);
    let Some((name, _)) = given.iter().find(|(name, given)| *given && unused.contains(name)) else {
        return Ok(());
    };
    let reason = match own.validation_data {
        Some(_) => {
            "has no say beside --validation-data, whose rows are those that are held out: leave one of the two out"
        }
        None => {
            "has no say beside --group-column, by which whole groups are held out: leave one of the two out"
        }
    };
    Err(Error::setting(*name, reason))
}

/// What suits data of one's own, and a start from a model, better than a preset.
#[derive(Clone, Debug, Default)]
pub struct Base(pub(super) Overrides);

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

    /// Whether `settings` leave the network its shape where training starts from a model.
    ///
    /// # Errors
    /// [`Error::Setting`] for one that asks for another.
    pub(super) fn check(&self, settings: &Settings) -> Result<()> {
        macro_rules! same {
            ($($name:ident),*) => {$(
                if let Some(given) = &self.0.$name && *given != settings.$name {
                    let reason = format!(
                        "the model that training starts from has {}, which stays as it is; leave it out, or train without --init",
                        serde_json::json!(given)
                    );
                    return Err(Error::setting(stringify!($name), reason));
                }
            )*};
        }
        // Of data alone none of these is set.
        same!(tokenizer, embedding_dim, hidden_size, num_layers, bidirectional, pooling, max_length, padding);
        Ok(())
    }
}

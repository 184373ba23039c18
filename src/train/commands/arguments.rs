//! What the trainer's command line may hold.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::rows::Part;
use super::texts::TextsArgs;
use crate::error::Result;
use crate::train::data::download::{Source, cached};
use crate::train::data::labelled::{OwnArgs, TableArgs};
use crate::train::data::reader::ReadArgs;
use crate::train::data::writer::WriteArgs;
use crate::train::pretrain::language_model::LanguageSettings;
use crate::train::pretrain::word_vectors::VectorSettings;
use crate::train::settings::{DEFAULT_PRESET, Overrides, Settings};
use crate::train::stage::{OutputArgs, ResumeArgs};

/// Trains, evaluates and inspects sentiment models of film reviews.
#[derive(Debug, Parser)]
#[command(name = "trainer", version)]
pub struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Train a model on the Large Movie Review Dataset and write its directory.
    Train(Box<TrainArgs>),
    /// Train word vectors on labelled and unlabelled reviews, for `train --vectors`.
    Vectors(VectorArgs),
    /// Train embedding and LSTM as a language model on labelled and unlabelled reviews, for `train --vectors`.
    Language(LanguageArgs),
    /// Compare models on minimal pairs: texts that differ in one thing (negation, intensity, contrast, a name).
    Pairs(PairsArgs),
    /// Print loss, accuracy, precision, recall, F1, AUC, calibration error, confusion matrix, and what is answered, how often
    /// rightly, from several scores on.
    Evaluate(EvaluateArgs),
    /// Write one page of HTML on a model: curves, calibration, accuracy by length and stars, mistakes, words that weigh most.
    Report(ReportArgs),
    /// Fit temperature and bias of a model, or its scale by length, to labelled rows of your own, its weights untouched; tell
    /// from which score on it is right as often as you want.
    Calibrate(CalibrateArgs),
    /// Add to a model directory what is missing beside its weights: golden reviews for the self-test, the baseline for drift,
    /// pictures, card.
    Complete(CompleteArgs),
    /// Print every setting with what it means and a preset's value, by group, as TOML for `train --settings`.
    Settings {
        /// The preset.
        #[arg(long, default_value = DEFAULT_PRESET)]
        preset: String,
    },
    /// Score the reviews of a file or of standard input, in order.
    Predict(PredictArgs),
    /// List the texts that a teacher is to judge, for `train --opinions`: whole reviews, single sentences, stretches.
    Texts(TextListArgs),
    /// Round a model's recurrent weights and hidden states to 8 bits, and say what that changes.
    Quantize(QuantizeArgs),
    /// Print a model's tensors, digests, settings and results.
    Inspect {
        /// The model directory.
        model: PathBuf,
    },
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

#[derive(Debug, Args)]
pub(super) struct DataArgs {
    /// The public release: its folder or its .tar.gz.
    #[arg(long, value_name = "PATH", required_unless_present = "download", conflicts_with = "download")]
    pub(super) data: Option<PathBuf>,
    #[command(flatten)]
    pub(super) download: DownloadArgs,
}

#[derive(Debug, Args)]
pub(super) struct DownloadArgs {
    /// Fetch the public release from its official address (84 MB) into the user's cache folder, once.
    #[arg(long)]
    pub(super) download: bool,
    #[arg(long, hide = true)]
    pub(super) download_url: Option<String>,
    #[arg(long, hide = true)]
    download_md5: Option<String>,
    #[arg(long, hide = true)]
    pub(super) download_size: Option<u64>,
    #[arg(long, hide = true)]
    pub(super) download_pause_ms: Option<u64>,
}

impl DataArgs {
    pub(super) fn path(&self) -> Result<PathBuf> {
        self.download.path(self.data.as_deref())
    }
}

impl DownloadArgs {
    /// `data`, or what is fetched where there is none.
    pub(super) fn path(&self, data: Option<&Path>) -> Result<PathBuf> {
        if let Some(path) = data {
            return Ok(path.to_path_buf());
        }
        let official = Source::default();
        let source = Source {
            url: self.download_url.clone().unwrap_or(official.url),
            md5: self.download_md5.clone().unwrap_or(official.md5),
            size_bytes: self.download_size.unwrap_or(official.size_bytes),
            pause: self.download_pause_ms.map_or(official.pause, Duration::from_millis),
        };
        cached(&source, None)
    }
}

#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    /// The public release (folder or .tar.gz), a table of your own with texts and labels (CSV, JSON lines, Parquet …), or a
    /// folder with a sub-folder for each class.
    #[arg(long, value_name = "PATH", required_unless_present = "download", conflicts_with = "download")]
    pub(super) data: Option<PathBuf>,
    #[command(flatten)]
    pub(super) download: DownloadArgs,
    /// A model to start from, such as models/imdb: it is fitted to your rows, its vocabulary extended.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["vocabulary", "vectors"])]
    pub(super) init: Option<PathBuf>,
    #[command(flatten)]
    pub(super) own: OwnArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// A published word index (JSON of word to rank) as vocabulary; otherwise the training reviews' words are counted.
    #[arg(long, value_name = "FILE")]
    pub(super) vocabulary: Option<PathBuf>,
    /// Word vectors to start from (a directory that `trainer vectors` wrote); they bring their vocabulary.
    #[arg(long, value_name = "DIR", conflicts_with = "vocabulary")]
    pub(super) vectors: Option<PathBuf>,
    /// A model whose opinion of the unlabelled reviews is learnt from as well; several are averaged.
    #[arg(long = "teacher", value_name = "DIR")]
    pub(super) teachers: Vec<PathBuf>,
    /// Opinions of a teacher (`.jsonl`, `.csv`, `.safetensors`) on reviews, labelled or not, and on stretches of them, to
    /// learn from; may be given more than once, opinions on one text are averaged.
    #[arg(long = "opinions", value_name = "FILE")]
    pub(super) opinions: Vec<PathBuf>,
    /// The file of phrases that `trainer texts --phrases` listed, where there are opinions on them.
    #[arg(long, value_name = "FILE", requires = "opinions")]
    pub(super) phrases: Option<PathBuf>,
    #[command(flatten)]
    pub(super) resume: ResumeArgs,
    /// Train with so many seeds in a row, that of `--seed` first: mean and spread of the figures go into the card, the weights
    /// are those of the first.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(super) seeds: u16,
    /// A TOML file of settings, named as the flags below with `_` for `-`.
    #[arg(long, value_name = "FILE")]
    pub(super) settings: Option<PathBuf>,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

#[derive(Debug, Args)]
pub(super) struct VectorArgs {
    #[command(flatten)]
    pub(super) data: DataArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    pub(super) preset: PresetArgs,
    #[command(flatten)]
    pub(super) settings: VectorSettings,
}

#[derive(Debug, Args)]
pub(super) struct PresetArgs {
    /// The preset whose network, tokenizer, vocabulary size and split apply.
    #[arg(long, default_value = DEFAULT_PRESET)]
    pub(super) preset: String,
    /// Share of the films that are set aside for one last look, where it is to be another than the preset's.
    #[arg(long)]
    pub(super) final_share: Option<f64>,
    /// Share of the films that are held out, where it is to be another than the preset's.
    #[arg(long)]
    pub(super) validation_share: Option<f64>,
}

impl PresetArgs {
    pub(super) fn settings(self) -> Result<Settings> {
        let overrides = Overrides {
            preset: Some(self.preset),
            final_share: self.final_share,
            validation_share: self.validation_share,
            ..Overrides::default()
        };
        Settings::resolve(&Overrides::default(), &overrides)
    }
}

#[derive(Debug, Args)]
pub(super) struct LanguageArgs {
    #[command(flatten)]
    pub(super) data: DataArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// Word vectors to start from (a directory that `trainer vectors` wrote).
    #[arg(long, value_name = "DIR")]
    pub(super) vectors: PathBuf,
    #[command(flatten)]
    pub(super) preset: PresetArgs,
    #[command(flatten)]
    pub(super) resume: ResumeArgs,
    #[command(flatten)]
    pub(super) settings: LanguageSettings,
}

#[derive(Debug, Args)]
pub(super) struct TextListArgs {
    #[command(flatten)]
    pub(super) data: DataArgs,
    #[command(flatten)]
    pub(super) preset: PresetArgs,
    #[command(flatten)]
    pub(super) texts: TextsArgs,
}

#[derive(Debug, Args)]
pub(super) struct PairsArgs {
    /// Model directories.
    #[arg(required = true, value_name = "MODEL")]
    pub(super) models: Vec<PathBuf>,
    /// Pairs of your own, one JSON object a line: kind, a, b, expect (`a>b`, `a=b`, or `a=.5` with an empty b).
    #[arg(long, value_name = "FILE")]
    pub(super) pairs: Option<PathBuf>,
    /// List the pairs that are not as expected.
    #[arg(long)]
    pub(super) failures: bool,
}

#[derive(Debug, Args)]
pub(super) struct EvaluateArgs {
    /// The model directory; of several, the mean opinion is measured, from which a student would learn.
    #[arg(long = "model", value_name = "DIR", required = true)]
    pub(super) models: Vec<PathBuf>,
    /// Which reviews of the public release; validation where nothing is said. Of a table or a folder of classes, all rows are
    /// measured.
    #[arg(long = "on", value_name = "PART")]
    pub(super) part: Option<Part>,
    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
    /// The public release (folder or .tar.gz), a table with texts and labels (CSV, JSON lines, Parquet …), or a folder with a
    /// sub-folder for each class.
    #[arg(long, value_name = "PATH", required_unless_present = "download", conflicts_with = "download")]
    pub(super) data: Option<PathBuf>,
    #[command(flatten)]
    pub(super) download: DownloadArgs,
    #[command(flatten)]
    pub(super) table: TableArgs,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The model directory.
    #[arg(long, value_name = "DIR")]
    pub(super) model: PathBuf,
    /// The public release (folder or .tar.gz), a table with texts and labels (CSV, JSON lines, Parquet …), or a folder with a
    /// sub-folder for each class.
    #[arg(long, value_name = "PATH", required_unless_present = "download", conflicts_with = "download")]
    pub(super) data: Option<PathBuf>,
    #[command(flatten)]
    pub(super) download: DownloadArgs,
    /// Which reviews of the public release; validation where nothing is said.
    #[arg(long = "on", value_name = "PART")]
    pub(super) part: Option<Part>,
    /// The file to write, such as report.html. It holds texts of the data.
    #[arg(long, value_name = "FILE")]
    pub(super) output: PathBuf,
    /// Replace a file that is no report.
    #[arg(long)]
    pub(super) force: bool,
    /// Mistakes that are listed, the most confident first.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub(super) mistakes: usize,
    #[command(flatten)]
    pub(super) table: TableArgs,
}

#[derive(Debug, Args)]
pub(super) struct CalibrateArgs {
    /// The model directory.
    #[arg(long, value_name = "DIR")]
    pub(super) model: PathBuf,
    /// A table with texts and labels, or a folder with a sub-folder for each class.
    #[arg(long, value_name = "PATH")]
    pub(super) data: PathBuf,
    /// The share of right answers that is wanted among those that are given, such as 0.95.
    #[arg(long, value_name = "SHARE")]
    pub(super) precision: Option<f64>,
    /// Leave temperature and bias, and fit how much surer short texts are made than long ones; the rows are to be of many
    /// lengths, short ones above all.
    #[arg(long)]
    pub(super) by_length: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    pub(super) table: TableArgs,
}

#[derive(Debug, Args)]
pub(super) struct CompleteArgs {
    /// The model directory.
    pub(super) model: PathBuf,
    /// Labelled reviews that it has not learnt from, for the baseline and the calibration picture: the public release, a table,
    /// or a folder with a sub-folder for each class.
    #[arg(long, value_name = "PATH")]
    pub(super) data: Option<PathBuf>,
    /// Which reviews of the public release; validation where nothing is said.
    #[arg(long = "on", value_name = "PART")]
    pub(super) part: Option<Part>,
    /// Write anew what is there; a card never is.
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) table: TableArgs,
}

#[derive(Debug, Args)]
pub(super) struct PredictArgs {
    /// The model directory.
    #[arg(long, value_name = "DIR")]
    pub(super) model: PathBuf,
    /// The reviews: a file, or a pattern of files such as 'data/*.csv'; standard input otherwise. CSV and its dialects, JSON
    /// lines or an array, one text a line, Parquet; packed as .gz or .zst or not.
    #[arg(long, value_name = "FILES")]
    pub(super) input: Option<PathBuf>,
    /// Where the answers go, by its name as .csv, .tsv, .jsonl or .parquet (.gz, .zst); standard output as JSON lines
    /// otherwise.
    #[arg(long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Replace a file that holds no answers of this command, or answers with columns of another.
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) read: ReadArgs,
    #[command(flatten)]
    pub(super) write: WriteArgs,
}

#[derive(Debug, Args)]
pub(super) struct QuantizeArgs {
    /// The model directory.
    #[arg(long, value_name = "DIR")]
    pub(super) model: PathBuf,
    #[command(flatten)]
    pub(super) data: DataArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

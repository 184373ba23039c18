//! A model of one's own: from a table to a model directory, from a model to one that fits other data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use imdb_sentiment::model::load_directory;
use imdb_sentiment::predict::Predictor;
use serde_json::Value;

use crate::common::reviews::text;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trainer")).current_dir(folder).args(arguments).output().unwrap()
}

fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Rows about vacuum cleaners; whether one is liked hangs on one word.
fn rows(count: usize) -> String {
    let mut table = String::from("product,stars,review\n");
    for n in 0..count {
        let (stars, word) = if n % 2 == 0 { (5, "quiet") } else { (1, "noisy") };
        let (noun, verb) =
            (["vacuum", "hose", "brush", "bag"][n / 2 % 4], ["is", "seems", "stays"][n / 8 % 3]);
        table += &format!("p{},{stars},\"The {noun} number {n} {verb} {word} and clean\"\n", n / 2 % 10);
    }
    table
}

const SMALL: [&str; 12] = [
    "--vocab-size",
    "400",
    "--max-length",
    "30",
    "--embedding-dim",
    "8",
    "--hidden-size",
    "8",
    "--threads",
    "2",
    "--batch-size",
    "8",
];

fn train(folder: &Path, data: &str, output: &str, more: &[&str]) -> Output {
    run(folder, &[&["train", "--data", data, "--output", output], &SMALL[..], more].concat())
}

/// Trains the model `own` on the table `own.csv`, long enough to tell the words apart.
fn train_own(folder: &Path) {
    fs::write(folder.join("own.csv"), rows(120)).unwrap();
    let more = ["--epochs", "6", "--learning-rate", "0.01", "--ngrams", "0"];
    let output = train(folder, "own.csv", "own", &more);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn record(model: &Path) -> Value {
    serde_json::from_slice(&fs::read(model.join("training.json")).unwrap()).unwrap()
}

#[test]
fn a_table_becomes_a_model_whose_card_says_what_it_learnt_from() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    let repeated = "p1,5,\"The vacuum number 0 is QUIET and clean\"\np1,3,\"Neither nor\"\np1,1,\"...\"\np2,,\"No stars here\"\n";
    fs::write(at("own.csv"), rows(120) + repeated).unwrap();
    let output = train(
        folder.path(),
        "own.csv",
        "own",
        &["--epochs", "12", "--learning-rate", "0.01", "--ngrams", "0"],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    for note in
        ["text from `review`, label from `stars`", "texts that stand there already", "without a word", "`3`"]
    {
        assert!(told.contains(note), "{note}: {told}");
    }
    let record = record(&at("own"));
    assert_eq!(
        (record["data"]["train"].as_u64(), record["data"]["validation"].as_u64()),
        (Some(102), Some(18))
    );
    let predictor = Predictor::load(at("own")).unwrap();
    let probability = |text: &str| predictor.predict(text).unwrap().probability;
    assert!(probability("The hose is quiet") > probability("The hose is noisy"));
    let card = fs::read_to_string(at("own/README.md")).unwrap();
    assert!(card.starts_with("---\n") && card.contains("the rows of own.csv alone"), "{card}");
    assert!(!card.to_lowercase().contains("film") && !card.contains("Maas"), "{card}");
    let history = fs::read_to_string(at("own/history.csv")).unwrap();
    assert!(history.starts_with("epoch,loss,") && history.lines().count() > 2);
    // Equal rows give an equal model.
    let again = train(
        folder.path(),
        "own.csv",
        "again",
        &["--epochs", "12", "--learning-rate", "0.01", "--ngrams", "0"],
    );
    assert!(again.status.success());
    assert_eq!(
        fs::read(at("own/model.safetensors")).unwrap(),
        fs::read(at("again/model.safetensors")).unwrap()
    );
}

#[test]
fn groups_stay_on_one_side_and_a_table_of_its_own_validates() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("own.csv"), rows(200)).unwrap();
    fs::write(folder.path().join("valid.csv"), rows(30)).unwrap();
    let common = ["--epochs", "1", "--ngrams", "0"];
    let output = train(
        folder.path(),
        "own.csv",
        "grouped",
        &[&common[..], &["--group-column", "product", "--validation-share", "0.3"]].concat(),
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let grouped = record(&folder.path().join("grouped"));
    // Ten products of twenty rows each.
    assert_eq!(grouped["data"]["validation"].as_u64().unwrap() % 20, 0);
    assert_eq!(grouped["data"]["group"], "product");
    let output = train(
        folder.path(),
        "own.csv",
        "validated",
        &[&common[..], &["--validation-data", "valid.csv"]].concat(),
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let validated = record(&folder.path().join("validated"));
    // What stands in both is learnt from in neither.
    assert_eq!(
        (validated["data"]["train"].as_u64(), validated["data"]["validation"].as_u64()),
        (Some(170), Some(30))
    );
    let card = fs::read_to_string(folder.path().join("validated/README.md")).unwrap();
    assert!(card.contains("30 reviews, those of valid.csv"), "{card}");
    // What has no say is neither listed nor taken.
    let listed = text(&output.stdout);
    assert!(listed.contains("seed = ") && !listed.contains("validation_share"), "{listed}");
    for (given, other) in [
        (["--validation-data", "valid.csv"], ["--validation-share", "0.3"]),
        (["--validation-data", "valid.csv"], ["--split", "random"]),
        (["--group-column", "product"], ["--split-seed", "3"]),
    ] {
        let output = train(folder.path(), "own.csv", "none", &[&common[..], &given, &other].concat());
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("has no say beside"), "{said}");
        assert!(said.contains(given[0]) && said.contains(&other[0][2..].replace('-', "_")), "{said}");
    }
    // Nothing is left where the same rows are held out: no model comes of that.
    let output = train(
        folder.path(),
        "valid.csv",
        "none",
        &[&common[..], &["--validation-data", "valid.csv"]].concat(),
    );
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains("none is left to learn from"), "{said}");
    assert!(said.contains("30 rows left out that the validation data hold as well"), "{said}");
    assert!(!folder.path().join("none").exists());
    let output = train(folder.path(), "own.csv", "x", &["--group-column", "shop"]);
    assert!(text(&output.stderr).contains("no column `shop`"), "{}", text(&output.stderr));
}

#[test]
fn rows_of_no_group_are_learnt_from() {
    let folder = tempfile::tempdir().unwrap();
    let row = |at: usize, group: &str| {
        let (word, label) = if at.is_multiple_of(2) { ("quiet", 1) } else { ("noisy", 0) };
        format!("{group},{label},The hose number {at} is {word}\n")
    };
    // Most have none; two groups of ten are named.
    let rows: String = (0..80)
        .map(|at| {
            row(
                at,
                if at < 60 {
                    " "
                } else if at < 70 {
                    "p1"
                } else {
                    "p2"
                },
            )
        })
        .collect();
    fs::write(folder.path().join("own.csv"), format!("product,label,text\n{rows}")).unwrap();
    let more = ["--epochs", "1", "--ngrams", "0", "--group-column", "product"];
    let output = train(folder.path(), "own.csv", "own", &more);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("60 rows of no group (their `product` is empty) are learnt from"));
    assert_eq!(record(&folder.path().join("own"))["data"]["validation"].as_u64().unwrap() % 10, 0);
}

#[test]
fn where_few_rows_are_left_it_is_said_what_became_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let rows = |row: &dyn Fn(usize) -> String| (0..40).map(row).collect::<String>();
    let both = |at: usize| format!("{},The hose number {} is fine\n", at % 2, at / 2);
    for (header, rows, named) in [
        ("label,text", rows(&both), "texts with both labels"),
        ("stars,text", rows(&|at| format!("3,The hose number {at}\n")), "neither positive nor negative"),
        ("label,text", rows(&|at| format!("{},{}\n", at % 2, ".".repeat(at + 1))), "without a word"),
        ("label,text", rows(&|at| format!("{},The same\n", at % 2)), "texts with both labels"),
    ] {
        fs::write(folder.path().join("own.csv"), format!("{header}\n{rows}")).unwrap();
        let output = train(folder.path(), "own.csv", "own", &[]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("too few") && message.contains(named), "{named}: {message}");
    }
}

#[test]
fn a_model_is_fitted_to_other_data_from_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    fs::write(at("first.csv"), rows(120)).unwrap();
    let other = rows(120).replace("quiet", "zippy").replace("noisy", "laggy").replace("vacuum", "router");
    fs::write(at("other.csv"), other).unwrap();
    let output = train(
        folder.path(),
        "first.csv",
        "first",
        &["--epochs", "8", "--learning-rate", "0.01", "--ngrams", "300", "--tokenizer", "words"],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let fitted = [
        "train",
        "--data",
        "other.csv",
        "--init",
        "first",
        "--output",
        "second",
        "--epochs",
        "20",
        "--learning-rate",
        "0.01",
        "--threads",
        "2",
    ];
    let told = done(folder.path(), &fitted);
    assert!(told.contains("starts from first"), "{told}");
    // Its shape stays; whoever asks for another is told so.
    let output = run(folder.path(), &[&fitted[..], &["--hidden-size", "16", "--force"]].concat());
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains("hidden_size") && said.contains("has 8"), "{said}");
    let (first, second) = (load_directory(&at("first")).unwrap(), load_directory(&at("second")).unwrap());
    assert!(second.vocabulary.id("zippy").is_some() && second.vocabulary.len() > first.vocabulary.len());
    assert_eq!(first.vocabulary.word(5), second.vocabulary.word(5));
    let accuracy = |model: &str| -> f64 {
        let json = done(folder.path(), &["evaluate", "--model", model, "--data", "other.csv", "--json"]);
        serde_json::from_str::<Value>(&json).unwrap()["accuracy"].as_f64().unwrap()
    };
    let (before, after) = (accuracy("first"), accuracy("second"));
    assert!(after > 0.9 && after > before + 0.1, "{before} {after}");
    let card = fs::read_to_string(at("second/README.md")).unwrap();
    assert!(card.contains("the weights of `first`"), "{card}");
}

#[test]
fn calibrating_leaves_the_weights_and_fits_how_sure_they_sound() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    train_own(folder.path());
    // Elsewhere a third of the labels is turned round, so that nobody may be so sure; and most are positive.
    let turned: String = rows(240)
        .lines()
        .enumerate()
        .map(|(n, line)| if n % 3 == 2 { line.replace(",1,", ",5,") } else { line.to_string() } + "\n")
        .collect();
    fs::write(at("other.csv"), turned).unwrap();
    let told = done(
        folder.path(),
        &["calibrate", "--model", "own", "--data", "other.csv", "--output", "sure", "--precision", "0.6"],
    );
    assert!(told.contains("temperature") && told.contains("--abstain"), "{told}");
    let (own, sure) = (load_directory(&at("own")).unwrap(), load_directory(&at("sure")).unwrap());
    assert_eq!(own.tensors, sure.tensors);
    assert!(sure.config.bias != 0.0 && sure.config.temperature != own.config.temperature);
    let loss = |model: &str| -> f64 {
        let json = done(folder.path(), &["evaluate", "--model", model, "--data", "other.csv", "--json"]);
        serde_json::from_str::<Value>(&json).unwrap()["loss"].as_f64().unwrap()
    };
    assert!(loss("sure") < loss("own"));
    assert!(
        fs::read_to_string(at("sure/README.md")).unwrap().contains("| calibrated on | other.csv: 240 rows")
    );
    let refused =
        run(folder.path(), &["calibrate", "--model", "own", "--data", "other.csv", "--output", "own"]);
    assert!(text(&refused.stderr).contains("--force"), "{}", text(&refused.stderr));
}

#[test]
fn short_texts_are_told_by_length_and_by_whether_they_hold_an_opinion() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    train_own(folder.path());
    fs::write(at("later.csv"), rows(100)).unwrap();
    let calibrate = |model, output| {
        ["calibrate", "--model", model, "--data", "later.csv", "--by-length", "--output", output]
    };
    let told = done(folder.path(), &calibrate("own", "sure"));
    assert!(told.contains("each half told by a scale fitted to the other"), "{told}");
    let (own, sure) = (load_directory(&at("own")).unwrap(), load_directory(&at("sure")).unwrap());
    assert!(!sure.config.short_texts.is_nothing() && own.config.short_texts.is_nothing());
    // The weights stay; what tells that a text holds an opinion stands beside them.
    let mut weights = sure.tensors.clone();
    assert_eq!(weights.remove("subjectivity.weight").unwrap().shape, [1, own.config.feature_dim()]);
    assert_eq!(weights.remove("subjectivity.bias").unwrap().shape, [1]);
    assert_eq!(weights, own.tensors);
    let record = record(&at("sure"));
    assert!(record["calibration"]["other_half"]["ece_by_chance"].as_f64().unwrap() > 0.0);
    assert!(fs::read_to_string(at("sure/README.md")).unwrap().contains("| on others | ECE "));
    // What it says of itself holds where it is served, and fitting it anew is fitting it once.
    let probability =
        |model: &str, text: &str| Predictor::load(at(model)).unwrap().predict(text).unwrap().probability;
    assert_ne!(probability("sure", "The hose is quiet"), probability("own", "The hose is quiet"));
    done(folder.path(), &calibrate("sure", "again"));
    for file in ["model.safetensors", "config.json", "golden.json"] {
        assert_eq!(
            fs::read(at("sure").join(file)).unwrap(),
            fs::read(at("again").join(file)).unwrap(),
            "{file}"
        );
    }
    // Training goes on from the weights alone.
    let further = run(
        folder.path(),
        &[
            "train",
            "--data",
            "own.csv",
            "--output",
            "further",
            "--init",
            "sure",
            "--epochs",
            "1",
            "--threads",
            "2",
        ],
    );
    assert!(further.status.success(), "{}", text(&further.stderr));
    let further = load_directory(&at("further")).unwrap();
    assert!(further.config.short_texts.is_nothing() && !further.tensors.contains_key("subjectivity.weight"));
}

#[test]
fn settings_are_told_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let told = done(folder.path(), &["settings", "--preset", "keras-imdb"]);
    fs::write(folder.path().join("settings.toml"), &told).unwrap();
    fs::write(folder.path().join("own.csv"), rows(40)).unwrap();
    let output = run(
        folder.path(),
        &["train", "--data", "own.csv", "--output", "own", "--settings", "settings.toml", "--epochs", "1"],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let patient = train(
        folder.path(),
        "own.csv",
        "patient",
        &[
            "--epochs",
            "40",
            "--patience",
            "1",
            "--learning-rate",
            "0.5",
            "--class-weights",
            "balanced",
            "--ngrams",
            "0",
        ],
    );
    assert!(patient.status.success(), "{}", text(&patient.stderr));
    assert!(record(&folder.path().join("patient"))["epochs"].as_array().unwrap().len() < 40);
}

#[test]
fn several_seeds_are_told_of_in_the_card() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("own.csv"), rows(120)).unwrap();
    let output = train(folder.path(), "own.csv", "own", &["--epochs", "2", "--ngrams", "0", "--seeds", "3"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let record = record(&folder.path().join("own"));
    let seeds = record["seeds"].as_array().unwrap();
    assert_eq!(seeds.iter().map(|seed| seed["seed"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(seeds[0]["validation"], record["results"]["validation"]);
    let card = fs::read_to_string(folder.path().join("own/README.md")).unwrap();
    assert!(card.contains("3 seeds (1 to 3)") && card.contains("| accuracy | 0."), "{card}");
    // The weights are those of one seed alone.
    let one = train(folder.path(), "own.csv", "one", &["--epochs", "2", "--ngrams", "0"]);
    assert!(one.status.success());
    let weights = |name: &str| fs::read(folder.path().join(name).join("model.safetensors")).unwrap();
    assert_eq!(weights("own"), weights("one"));
}

#[test]
fn opinions_name_rows_of_a_table_by_number_or_id() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::from("id,stars,review\n");
    for n in 1..=120 {
        let (stars, word) = if n % 2 == 0 { (5, "quiet") } else { (1, "noisy") };
        // A third has no label.
        let stars = if n % 3 == 0 { String::new() } else { stars.to_string() };
        table += &format!("r{n},{stars},\"The vacuum number {n} is {word} and clean\"\n");
    }
    fs::write(folder.path().join("own.csv"), table).unwrap();
    let opinions =
        "{\"row\": 3, \"probability\": 0.1}\n{\"id\": \"r6\", \"logit\": 2.0}\n{\"row\": 1, \"logit\": -1}\n";
    fs::write(folder.path().join("said.jsonl"), opinions).unwrap();
    let more = ["--epochs", "1", "--ngrams", "0", "--opinions", "said.jsonl"];
    let output = train(folder.path(), "own.csv", "own", &more);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let record = record(&folder.path().join("own"));
    let judged = record["data"]["judged"].as_u64().unwrap();
    assert!(record["data"]["unlabelled"] == 2 && (2..=3).contains(&judged), "{}", record["data"]);
    for (said, fault) in [
        ("{\"row\": 121, \"logit\": 1}", "row 121: the data have 120 rows"),
        ("{\"logit\": 1}", "neither `id`, `row` nor `text`"),
    ] {
        fs::write(folder.path().join("wrong.jsonl"), said).unwrap();
        let output =
            train(folder.path(), "own.csv", "wrong", &["--ngrams", "0", "--opinions", "wrong.jsonl"]);
        assert!(text(&output.stderr).contains(fault), "{}", text(&output.stderr));
    }
    // A table of them, as a spreadsheet writes it.
    fs::write(folder.path().join("said.csv"), "\u{feff}Row;Probability\r\n3;0,1\r\n1;0,25\r\n").unwrap();
    let more = ["--epochs", "1", "--ngrams", "0", "--opinions", "said.csv"];
    let output = train(folder.path(), "own.csv", "table", &more);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for (name, said, fault) in [
        ("wrong.csv", "row,logit\n1,2\n2,1,0\n", "line 3: 3 fields, the header has 2"),
        ("wrong.csv", "row,logit\n1,two\n", "line 2: `logit` is `two`, no number"),
        ("wrong.csv", "row,logit\n1.5,2\n", "line 2: `row` is `1.5`, no number of a row"),
        ("wrong.csv", "number,says\n1,2\n", "its columns are `number`, `says`"),
        ("wrong.csv", "row,probability\n1,93\n", "line 2: `probability` 93 does not lie in 0 to 1"),
        ("wrong.jsonl", "{\"row\": 1, \"logit\": [1]}\n", "line 1: `logit` is neither a text nor a number"),
        (
            "wrong.jsonl",
            "{\"row\": 1, \"logit\": 1\n",
            "line 1: is no JSON: EOF while parsing an object at column 21",
        ),
        ("wrong.jsonl", "\n[1]\n", "line 2: is no JSON object"),
    ] {
        fs::write(folder.path().join(name), said).unwrap();
        let output = train(folder.path(), "own.csv", "wrong", &["--ngrams", "0", "--opinions", name]);
        assert!(text(&output.stderr).contains(fault), "{fault}: {}", text(&output.stderr));
    }
}

#[test]
fn a_model_directory_is_completed_and_what_is_there_stays() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("own.csv"), rows(120)).unwrap();
    assert!(train(folder.path(), "own.csv", "own", &["--epochs", "2", "--ngrams", "0"]).status.success());
    let at = |name: &str| folder.path().join("own").join(name);
    let made = ["golden.json", "baseline.json", "calibration.svg", "curve.svg", "history.csv", "README.md"];
    let before: Vec<Vec<u8>> = made.iter().map(|name| fs::read(at(name)).unwrap()).collect();
    made.iter().for_each(|name| fs::remove_file(at(name)).unwrap());
    let told = done(folder.path(), &["complete", "own", "--data", "own.csv"]);
    assert!(made.iter().all(|name| told.contains(name)), "{told}");
    for (name, before) in made.iter().zip(&before) {
        let same = fs::read(at(name)).unwrap() == *before;
        // Baseline and picture are of other rows here than when it was trained.
        assert!(same || ["baseline.json", "calibration.svg"].contains(name), "{name}");
    }
    fs::write(at("golden.json"), "{}").unwrap();
    assert!(done(folder.path(), &["complete", "own"]).contains("nothing is missing"));
    assert_eq!(fs::read(at("golden.json")).unwrap(), b"{}");
    assert!(done(folder.path(), &["complete", "own", "--force"]).contains("golden.json"));
    assert_eq!(fs::read(at("golden.json")).unwrap(), before[0]);
    // While another process writes the directory, nothing is added to it.
    let lock = fs::File::create(folder.path().join(".own.lock")).unwrap();
    lock.lock().unwrap();
    fs::remove_file(at("golden.json")).unwrap();
    let output = run(folder.path(), &["complete", "own"]);
    assert!(
        !output.status.success() && text(&output.stderr).contains("is writing it"),
        "{}",
        text(&output.stderr)
    );
    assert!(!at("golden.json").exists());
    drop(lock);
    // What a killed one left half written goes with the directory that it lies in.
    let dead = {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    };
    let left = at(&format!(".golden.json.{dead}.partial"));
    fs::write(&left, "{").unwrap();
    assert!(done(folder.path(), &["complete", "own"]).contains("golden.json"));
    assert!(!left.exists());
    fs::write(&left, "{").unwrap();
    let again = ["--epochs", "1", "--ngrams", "0", "--force"];
    let output = train(folder.path(), "own.csv", "own", &again);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(at("golden.json").exists() && !left.exists());
}

#[test]
fn settings_are_grouped_and_described() {
    let folder = tempfile::tempdir().unwrap();
    let settings = done(folder.path(), &["settings", "--preset", "imdb"]);
    assert!(
        settings.contains("# size of a step\n") && settings.contains("\nlearning_rate = 0.001\n"),
        "{settings}"
    );
    let help = done(folder.path(), &["train", "--help"]);
    for heading in ["Settings: network:", "Settings: held-out reviews:", "Settings: what is saved:"] {
        assert!(help.contains(heading), "{heading}: {help}");
    }
    fs::write(folder.path().join("s.toml"), settings).unwrap();
    fs::write(folder.path().join("own.csv"), rows(60)).unwrap();
    // The described settings are a file of settings; flags go before.
    let output = train(
        folder.path(),
        "own.csv",
        "own",
        &[
            "--settings",
            "s.toml",
            "--epochs",
            "1",
            "--ngrams",
            "0",
            "--split",
            "stratified",
            "--final-share",
            "0",
        ],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
}
